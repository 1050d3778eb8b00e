SUMMARY = "All that is in the box"
DESCRIPTION = "The gateway, the broker it publishes to, updates, the network, and what repairs and grows the card's file systems."
HOMEPAGE = "https://analyzer-gateway.invalid"
SECTION = "base"
LICENSE = "Apache-2.0"

PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit packagegroup

RDEPENDS:${PN} = "\
    analyzer-gateway \
    avahi-daemon \
    dosfstools \
    e2fsprogs-e2fsck \
    e2fsprogs-mke2fs \
    e2fsprogs-resize2fs \
    gateway-box \
    iproute2-ip \
    kernel-modules \
    mosquitto \
    packagegroup-core-boot \
    rauc \
    util-linux-fsck \
    util-linux-mount \
    util-linux-partx \
    util-linux-sfdisk \
    wireless-regdb-static \
    wpa-supplicant \
"
# The kernel of these boards lies in the copy of the system, where U-Boot finds it.
RDEPENDS:${PN}:append:boot-uboot = " kernel-image"
RDEPENDS:${PN}:append:key-otp = " gateway-encryption"
RDEPENDS:${PN}:append:key-usb = " gateway-encryption"
# Firmware of the network chips; which there is depends on the board.
RRECOMMENDS:${PN} = "${MACHINE_EXTRA_RRECOMMENDS}"
