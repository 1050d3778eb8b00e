FILESEXTRAPATHS:prepend:analyzer-gateway-box := "${THISDIR}/files:"

SRC_URI:append:boot-uboot = " file://gateway.cfg"
