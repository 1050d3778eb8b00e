SUMMARY = "The boot partition that belongs to one copy of the system"
DESCRIPTION = "Firmware, kernel and device trees of a Raspberry Pi 4 or 5 as a FAT image: half of a slot, and of each bundle."
HOMEPAGE = "https://analyzer-gateway.invalid"
SECTION = "bsp"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"
CVE_PRODUCT = ""

DEPENDS = "dosfstools-native mtools-native"

PV = "${DISTRO_VERSION}"
SRC_URI = ""
PACKAGE_ARCH = "${MACHINE_ARCH}"
COMPATIBLE_MACHINE = "^rpi$"

inherit deploy nopackages

INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[noexec] = "1"

# In KiB. Its partition has 128 MiB; a smaller image is written faster.
BOOT_SIZE = "98304"
# "file" or "file;its/name/on/the/partition", as in IMAGE_BOOT_FILES.
BOOT_FILES = "${@make_dtb_boot_files(d)} ${KERNEL_IMAGETYPE};${SDIMG_KERNELIMAGE}"

do_deploy() {
    image=${DEPLOYDIR}/gateway-boot.vfat
    mkfs.vfat --invariant -F 32 -n SYSTEM -C "$image" ${BOOT_SIZE}
    mcopy -i "$image" -s -m ${DEPLOY_DIR_IMAGE}/${BOOTFILES_DIR_NAME}/* ::/
    mmd -i "$image" ::/overlays
    echo "${BOOT_FILES}" | tr ' ' '\n' | sed '/^$/d; /;/!s/.*/&;&/' | while IFS=';' read -r file name; do
        mcopy -i "$image" -m "${DEPLOY_DIR_IMAGE}/$file" "::/$name"
    done
}
do_deploy[depends] += "virtual/kernel:do_deploy rpi-bootfiles:do_deploy"

addtask deploy before do_build after do_install
