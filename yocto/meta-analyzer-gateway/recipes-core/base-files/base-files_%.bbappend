# The table of mounts is the box's (gateway-box), the same file in every image.
do_install:append:analyzer-gateway-box() {
    rm -f ${D}${sysconfdir}/fstab
}
