SUMMARY = "An update of the box, signed"
DESCRIPTION = "The file that boxes take from a URL or a stick, made of analyzer-gateway-image-development."
HOMEPAGE = "https://analyzer-gateway.invalid"
SECTION = "base"
LICENSE = "Apache-2.0"

require analyzer-gateway-bundle.inc

RAUC_SLOT_rootfs = "analyzer-gateway-image-development"
