# It starts only where the settings ask for a broker: `analyzer-gateway appliance apply` writes its configuration and starts it.
SYSTEMD_AUTO_ENABLE:${PN}:analyzer-gateway-box = "disable"
