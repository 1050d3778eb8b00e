FILESEXTRAPATHS:prepend:analyzer-gateway := "${THISDIR}/files:"

SRC_URI:append:analyzer-gateway = " file://gateway.cfg"
