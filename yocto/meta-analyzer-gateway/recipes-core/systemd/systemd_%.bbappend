# Nobody asks a public server for names or time unless the settings say so, and nothing is suspended or imported on this box.
PACKAGECONFIG:remove:analyzer-gateway-box = "backlight binfmt hibernate localed machined nss-mymachines osc-context quotacheck userdb vconsole"
PACKAGECONFIG:append:analyzer-gateway-box = " no-dns-fallback"
