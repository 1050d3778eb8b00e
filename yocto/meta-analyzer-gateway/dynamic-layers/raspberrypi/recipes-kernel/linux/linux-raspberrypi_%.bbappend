FILESEXTRAPATHS:prepend:analyzer-gateway-box := "${THISDIR}/../../../../recipes-kernel/linux/files:"

SRC_URI:append:analyzer-gateway-box = " file://gateway.cfg"
