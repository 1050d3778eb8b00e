FILESEXTRAPATHS:prepend:analyzer-gateway := "${THISDIR}/../../../../recipes-kernel/linux/files:"

SRC_URI:append:analyzer-gateway = " file://gateway.cfg"
