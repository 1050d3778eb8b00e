SUMMARY = "/data encrypted, with the key in the chip or on a stick"
DESCRIPTION = "Makes the partition of a new card an encrypted one and opens it at each start. docs/encryption.md says what that protects."
HOMEPAGE = "https://analyzer-gateway.invalid"
SECTION = "base"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"
CVE_PRODUCT = ""

PV = "${DISTRO_VERSION}"
SRC_URI = "\
    file://analyzer-gateway-encrypt.service \
    file://analyzer-gateway-encrypted-data.service \
    file://run-gatewaykey.mount \
"
S = "${UNPACKDIR}"
PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit systemd

INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"

# The firmware's OTP driver shows the key of the chip as a file of 32 bytes; a stick carries it as a file.
KEY_FILE = "/sys/bus/nvmem/devices/nvmem_priv0/nvmem"
KEY_FILE:key-usb = "/run/gatewaykey/gateway.key"
DATA_DEVICE = "/dev/disk/by-partlabel/data"
DATA_DEVICE:boot-uboot = "/dev/mmcblk0p4"
DATA_UNIT = "dev-disk-by\\x2dpartlabel-data.device"
DATA_UNIT:boot-uboot = "dev-mmcblk0p4.device"

SYSTEMD_SERVICE:${PN} = "analyzer-gateway-encrypt.service analyzer-gateway-encrypted-data.service"

do_install() {
    for unit in ${S}/*.service ${S}/*.mount; do
        install -D -m 0644 "$unit" ${D}${systemd_system_unitdir}/"$(basename "$unit")"
    done
    sed -i 's|@KEY@|${KEY_FILE}|g; s|@DEVICE@|${DATA_DEVICE}|g; s|@DEVICE_UNIT@|${@d.getVar("DATA_UNIT").replace("\\", "\\\\")}|g' \
        ${D}${systemd_system_unitdir}/analyzer-gateway-encrypt.service ${D}${systemd_system_unitdir}/analyzer-gateway-encrypted-data.service
    install -d ${D}${sysconfdir}
    echo "data ${DATA_DEVICE} ${KEY_FILE} luks,keyfile-size=32,nofail,headless=true" >${D}${sysconfdir}/crypttab
}

FILES:${PN} += "${systemd_system_unitdir}/run-gatewaykey.mount"

# diffutils: its cmp knows -n and -i, busybox's may not.
RDEPENDS:${PN} = "cryptsetup diffutils e2fsprogs-mke2fs util-linux-blkid"
