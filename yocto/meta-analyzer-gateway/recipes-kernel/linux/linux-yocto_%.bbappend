FILESEXTRAPATHS:prepend:analyzer-gateway-box := "${THISDIR}/files:"

SRC_URI:append:analyzer-gateway-box = " file://gateway.cfg"
