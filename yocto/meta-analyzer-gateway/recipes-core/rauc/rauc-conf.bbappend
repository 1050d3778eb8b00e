FILESEXTRAPATHS:prepend:analyzer-gateway := "${THISDIR}/rauc-conf:${GATEWAY_KEYS}:"

SRC_URI:append:analyzer-gateway = " file://system-${GATEWAY_BOOT}.conf"
PACKAGE_ARCH:analyzer-gateway = "${MACHINE_ARCH}"

do_install:prepend:analyzer-gateway() {
    sed 's|@COMPATIBLE@|${GATEWAY_COMPATIBLE}|' ${UNPACKDIR}/system-${GATEWAY_BOOT}.conf >${UNPACKDIR}/system.conf
}
