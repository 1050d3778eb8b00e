SUMMARY = "What stands on the partition that any laptop can read"
DESCRIPTION = "The settings to begin with, the manual of all settings, and on a Raspberry Pi 4 or 5 which system is started."
HOMEPAGE = "https://analyzer-gateway.invalid"
SECTION = "base"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"
CVE_PRODUCT = ""

PV = "${DISTRO_VERSION}"
S = "${UNPACKDIR}"
PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit deploy nopackages

INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[noexec] = "1"

do_deploy() {
    install -D -m 0644 ${GATEWAY_SOURCE}/config/card.yaml ${DEPLOYDIR}/gateway-card/gateway.yaml
    install -D -m 0644 ${GATEWAY_SOURCE}/config/gateway.yaml ${DEPLOYDIR}/gateway-card/gateway.manual.yaml
    if [ "${GATEWAY_BOOT}" = tryboot ]; then
        install -m 0644 ${GATEWAY_SOURCE}/systemd/image/rauc/autoboot.txt ${DEPLOYDIR}/gateway-card/
    fi
}
do_deploy[file-checksums] += "${GATEWAY_SOURCE}/config/card.yaml:True ${GATEWAY_SOURCE}/config/gateway.yaml:True ${GATEWAY_SOURCE}/systemd/image/rauc/autoboot.txt:True"

addtask deploy before do_build after do_install
