FILESEXTRAPATHS:prepend:analyzer-gateway-box := "${THISDIR}/files:"
