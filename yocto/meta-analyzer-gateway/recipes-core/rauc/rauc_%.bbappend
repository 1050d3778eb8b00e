# A slot is marked good by the gateway's own health, not because Linux came up.
RRECOMMENDS:${PN}:remove:analyzer-gateway-box = "${PN}-mark-good"
