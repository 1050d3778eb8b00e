SUMMARY = "Reads laboratory analyzers, keeps what they say, and forwards it"
DESCRIPTION = "The gateway of this repository with its units, its user and its udev rules, as it is checked out beside the layer."
HOMEPAGE = "https://analyzer-gateway.invalid"
SECTION = "science"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"
CVE_PRODUCT = "analyzer-gateway"

require analyzer-gateway-crates.inc

PV = "${DISTRO_VERSION}"

inherit cargo cargo-update-recipe-crates externalsrc systemd useradd

EXTERNALSRC = "${GATEWAY_SOURCE}"
# No links into the build are left in the source.
EXTERNALSRC_SYMLINKS = ""

# The symbols go into the -dbg package, which no image holds.
export CARGO_PROFILE_RELEASE_STRIP = "none"
# The same binary wherever it was built.
RUSTFLAGS:append = " --remap-path-prefix=${S}=${TARGET_DBGSRC_DIR}"

# /data outlives the system: the numbers are the same in every version of the image.
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system --gid 970 analyzer-gateway"
USERADD_PARAM:${PN} = "--system --uid 970 --gid analyzer-gateway --groups dialout,input --comment 'Analyzer gateway' \
                       --home-dir ${localstatedir}/lib/analyzer-gateway --no-create-home --shell ${base_sbindir}/nologin analyzer-gateway"

# Whatever systemd/ can switch on is switched on, as the preset says; each unit knows itself on which machines it does anything.
def units_to_enable(source):
    from pathlib import Path
    kinds = (".path", ".service", ".timer")
    units = [unit for unit in sorted(Path(source, "systemd").iterdir()) if unit.suffix in kinds and "@" not in unit.name]
    return " ".join(unit.name for unit in units if "[Install]" in unit.read_text())

SYSTEMD_SERVICE:${PN} = "${@units_to_enable(d.getVar('GATEWAY_SOURCE'))}"

do_install:append() {
    for unit in ${S}/systemd/*.path ${S}/systemd/*.service ${S}/systemd/*.timer; do
        [ ! -e "$unit" ] || install -D -m 0644 "$unit" ${D}${systemd_system_unitdir}/"$(basename "$unit")"
    done
    install -D -m 0644 ${S}/systemd/newer-systemd.conf \
        ${D}${systemd_system_unitdir}/analyzer-gateway.service.d/newer-systemd.conf
    install -D -m 0644 ${S}/systemd/analyzer-gateway.preset \
        ${D}${systemd_unitdir}/system-preset/90-analyzer-gateway.preset
    install -D -m 0644 ${S}/systemd/sysusers.conf ${D}${nonarch_libdir}/sysusers.d/analyzer-gateway.conf
    install -D -m 0644 ${S}/systemd/tmpfiles.conf ${D}${nonarch_libdir}/tmpfiles.d/analyzer-gateway.conf
    for rules in ${S}/systemd/udev/*.rules; do
        install -D -m 0644 "$rules" ${D}${nonarch_libdir}/udev/rules.d/"$(basename "$rules")"
    done
    install -d -m 0755 ${D}${sysconfdir}/analyzer-gateway
    install -d -m 0700 ${D}${sysconfdir}/analyzer-gateway/secrets
}

FILES:${PN} += "\
    ${systemd_system_unitdir} \
    ${systemd_unitdir}/system-preset \
    ${nonarch_libdir}/sysusers.d \
    ${nonarch_libdir}/tmpfiles.d \
    ${nonarch_libdir}/udev/rules.d \
"

# Whom TLS trusts, and what a time zone means.
RDEPENDS:${PN} += "ca-certificates tzdata-core"
