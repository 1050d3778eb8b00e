FILESEXTRAPATHS:prepend:analyzer-gateway-box := "${GATEWAY_SOURCE}/systemd/image/rauc:"

SRC_URI:append:boot-uboot = " file://boot.cmd"

# The recipe makes boot.scr of the file that it knows.
do_compile:prepend:boot-uboot() {
    cp "${UNPACKDIR}/boot.cmd" "${UNPACKDIR}/boot.cmd.in"
}
