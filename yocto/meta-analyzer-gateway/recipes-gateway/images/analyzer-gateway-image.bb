SUMMARY = "The card of a box in a clinic"
DESCRIPTION = "Read-only, two copies of the system, no ssh, no password, no console: there is no way in but the page and the card."
HOMEPAGE = "https://analyzer-gateway.invalid"
SECTION = "base"
LICENSE = "Apache-2.0"

require analyzer-gateway-image.inc

# Nobody can log in, so nobody is asked.
mask_consoles() {
    for unit in autovt@ console-getty getty@ serial-getty@; do
        ln -sf /dev/null ${IMAGE_ROOTFS}${sysconfdir}/systemd/system/"$unit".service
    done
}
mask_consoles[doc] = "Takes away every login prompt."
ROOTFS_POSTPROCESS_COMMAND += "mask_consoles"
