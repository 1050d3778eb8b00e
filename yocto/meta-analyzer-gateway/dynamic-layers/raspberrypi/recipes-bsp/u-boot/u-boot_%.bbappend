FILESEXTRAPATHS:prepend:analyzer-gateway := "${THISDIR}/files:"

SRC_URI:append:boot-uboot = " file://gateway.cfg"
