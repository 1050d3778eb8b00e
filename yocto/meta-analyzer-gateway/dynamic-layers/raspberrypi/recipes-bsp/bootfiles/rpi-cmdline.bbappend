# Read-only, a start anew after a panic, and gpt_auto: what is mounted is fstab's to say.
CMDLINE:append:analyzer-gateway-box = " ro panic=10 fsck.repair=yes systemd.gpt_auto=0"
# gpt: the second table counts if the power went while the first was written, when /data grew.
CMDLINE:append:boot-tryboot = " gpt"
# One line for each slot; the slot's partition is found by its name, so a disk at USB does as well as a card.
CMDLINE_ROOTFS:boot-tryboot = "root=PARTLABEL=rootfs-@SLOT@ rootfstype=ext4 rootwait analyzer-gateway.slot=@NAME@ rauc.slot=@NAME@"
# U-Boot's script adds them.
CMDLINE_ROOTFS:boot-uboot = ""

do_deploy:append:boot-tryboot() {
    sed 's/@SLOT@/a/g; s/@NAME@/A/g' "${WORKDIR}/cmdline.txt" >"${DEPLOYDIR}/${BOOTFILES_DIR_NAME}/cmdline-a.txt"
    sed 's/@SLOT@/b/g; s/@NAME@/B/g' "${WORKDIR}/cmdline.txt" >"${DEPLOYDIR}/${BOOTFILES_DIR_NAME}/cmdline-b.txt"
    # Firmware that does not know from which partition it reads starts the first system.
    cp "${DEPLOYDIR}/${BOOTFILES_DIR_NAME}/cmdline-a.txt" "${DEPLOYDIR}/${BOOTFILES_DIR_NAME}/cmdline.txt"
}
