FILESEXTRAPATHS:prepend:analyzer-gateway := "${THISDIR}/files:"
