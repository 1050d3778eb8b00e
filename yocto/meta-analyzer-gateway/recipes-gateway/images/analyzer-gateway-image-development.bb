SUMMARY = "The card of a box on a developer's desk"
DESCRIPTION = "The production image with ssh, consoles, an empty password for root and tools that look inside. Never for a clinic."
HOMEPAGE = "https://analyzer-gateway.invalid"
SECTION = "base"
LICENSE = "Apache-2.0"

require analyzer-gateway-image.inc

# nooelint: oelint.var.badimagefeature
IMAGE_FEATURES += "allow-empty-password allow-root-login empty-root-password ssh-server-openssh"
IMAGE_INSTALL += "htop mosquitto-clients strace tcpdump usbutils"
