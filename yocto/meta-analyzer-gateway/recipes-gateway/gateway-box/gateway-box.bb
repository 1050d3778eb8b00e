SUMMARY = "What makes a system the box: mounts, limits, what it says of itself"
DESCRIPTION = "The files of systemd/image, the same as in every other image of the box, and image.json with version and kind."
HOMEPAGE = "https://analyzer-gateway.invalid"
SECTION = "base"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"
CVE_PRODUCT = ""

PV = "${DISTRO_VERSION}"
SRC_URI = ""
PACKAGE_ARCH = "${MACHINE_ARCH}"

INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    cp -R --no-dereference --preserve=mode,links ${GATEWAY_SOURCE}/systemd/image/rootfs/. ${D}/
    # An MBR has no names.
    if [ "${GATEWAY_BOOT}" = uboot ]; then
        sed -i 's|^PARTLABEL=BOOT |/dev/mmcblk0p1 |; s|^PARTLABEL=data |/dev/mmcblk0p4 |' ${D}${sysconfdir}/fstab
    fi
    # An older, unencrypted `data` on a card that is used again must not be taken for it.
    if [ "${GATEWAY_ENCRYPTION}" = otp ] || [ "${GATEWAY_ENCRYPTION}" = usb ]; then
        sed -i 's|^[^ ]* /data |/dev/mapper/data /data |' ${D}${sysconfdir}/fstab
    fi
    install -d ${D}/data ${D}/boot/firmware
    install -d ${D}${localstatedir}/lib/analyzer-gateway ${D}${localstatedir}/lib/systemd ${D}${localstatedir}/log
    install -d ${D}${nonarch_libdir}/analyzer-gateway
    if [ "${GATEWAY_BOOT}" = tryboot ]; then
        install -m 0755 ${GATEWAY_SOURCE}/systemd/image/rauc/boot-slot ${D}${nonarch_libdir}/analyzer-gateway/boot-slot
    fi
    install -D -m 0644 ${GATEWAY_SOURCE}/systemd/avahi/analyzer-gateway.service \
        ${D}${sysconfdir}/avahi/services/analyzer-gateway.service
    printf '{"version":"%s","compatible":"%s"}\n' "${DISTRO_VERSION}" "${GATEWAY_COMPATIBLE}" \
        >${D}${nonarch_libdir}/analyzer-gateway/image.json
}
do_install[file-checksums] += "${GATEWAY_SOURCE}/systemd/image/rootfs:True ${GATEWAY_SOURCE}/systemd/image/rauc/boot-slot:True ${GATEWAY_SOURCE}/systemd/avahi/analyzer-gateway.service:True"

FILES:${PN} += "\
    /boot/firmware \
    /data \
    ${nonarch_libdir} \
"
