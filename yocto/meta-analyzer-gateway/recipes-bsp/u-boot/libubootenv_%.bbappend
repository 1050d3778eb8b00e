FILESEXTRAPATHS:prepend:analyzer-gateway-box := "${GATEWAY_SOURCE}/systemd/image/rauc:"

SRC_URI:append:boot-uboot = " file://fw_env.config"

do_install:append:boot-uboot() {
    install -D -m 0644 ${UNPACKDIR}/fw_env.config ${D}${sysconfdir}/fw_env.config
}

FILES:${PN}-bin:append:boot-uboot = " ${sysconfdir}/fw_env.config"
