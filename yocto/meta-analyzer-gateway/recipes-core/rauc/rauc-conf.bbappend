FILESEXTRAPATHS:prepend:analyzer-gateway-box := "${GATEWAY_SOURCE}/systemd/image/rauc:${THISDIR}/rauc-conf:${GATEWAY_KEYS}:"

SRC_URI:append:analyzer-gateway-box = " file://system-${GATEWAY_BOOT}.conf"
PACKAGE_ARCH:analyzer-gateway-box = "${MACHINE_ARCH}"

do_install:prepend:analyzer-gateway-box() {
    install -m 0644 ${UNPACKDIR}/system-${GATEWAY_BOOT}.conf ${UNPACKDIR}/system.conf
}

# Where the gateway looks for it, on every box.
do_install:append:analyzer-gateway-box() {
    install -d ${D}${sysconfdir}/rauc
    mv ${D}${nonarch_libdir}/rauc/* ${D}${sysconfdir}/rauc/
    rm -r ${D}${prefix}
}
FILES:${PN}:append:analyzer-gateway-box = " ${sysconfdir}/rauc"
