//! The Debian package: what is in it, and what installing, upgrading, removing and purging it do, on a system whose root is that
//! of this machine with a layer over it that is thrown away.

use super::system;
use gateway_tests::binary;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The package, built once of the binary under test; `None` after saying why not.
fn package() -> Option<&'static Path> {
    static PACKAGE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let cargo_deb = gateway_tests::judge::judge("cargo/bin/cargo-deb")?;
        let (strip, dpkg) = (system("strip"), system("dpkg-deb"));
        let (_, _) = (strip?, dpkg?);
        let folder = project().join("target/debian/tests");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = [cargo_deb.parent().unwrap().to_owned()].into_iter().chain(std::env::split_paths(&path));
        let output = Command::new(project().join("systemd/debian/build"))
            .env("ANALYZER_GATEWAY_BIN", binary())
            .env("OUT", &folder)
            .env("FAST", "1")
            .env("PATH", std::env::join_paths(paths).unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
        Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    };
    PACKAGE.get_or_init(build).as_deref()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn everything_that_a_gateway_needs_is_in_the_package() {
    let Some(package) = package() else { return };
    let listed = Command::new("dpkg-deb").arg("--contents").arg(package).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let has =
        |path: &str| assert!(listed.lines().any(|line| line.ends_with(&format!(" ./{path}"))), "{path}: {listed}");
    for entry in fs::read_dir(project().join("systemd")).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if [".service", ".path", ".timer", ".socket", ".target"].iter().any(|kind| name.ends_with(kind)) {
            has(&format!("usr/lib/systemd/system/{name}"));
        }
    }
    for path in [
        "usr/bin/analyzer-gateway",
        "usr/lib/sysusers.d/analyzer-gateway.conf",
        "usr/lib/tmpfiles.d/analyzer-gateway.conf",
        "usr/lib/systemd/system-preset/90-analyzer-gateway.preset",
        "usr/lib/udev/rules.d/60-analyzer-gateway.rules",
        "usr/share/man/man1/analyzer-gateway.1.gz",
        "usr/share/bash-completion/completions/analyzer-gateway",
        "usr/share/doc/analyzer-gateway/copyright",
        "usr/share/doc/analyzer-gateway/examples/gateway.yaml",
    ] {
        has(path);
    }
    // Nothing of the image: a package does not change the system of others.
    assert!(
        !listed.contains("fstab") && !listed.contains("journald.conf.d") && !listed.contains("sysctl.d"),
        "{listed}"
    );
}

#[test]
fn lintian_finds_no_error() {
    let Some(package) = package() else { return };
    let Some(lintian) = system("lintian") else { return };
    // A debug build stands for the release here: its size and its sections are not the package's fault.
    let output = Command::new(lintian).args(["--fail-on", "error", "--allow-root"]).arg(package).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn the_program_asks_for_no_newer_library_than_the_package_says() {
    let Some(package) = package() else { return };
    let Some(readelf) = system("readelf") else { return };
    let depends = Command::new("dpkg-deb").arg("--field").arg(package).arg("Depends").output().unwrap();
    let depends = said(&depends);
    let (_, least) = depends.split_once("libc6 (>= ").unwrap();
    let parts = |version: &str| version.split('.').map(|part| part.parse().unwrap()).collect::<Vec<u32>>();
    let least = parts(least.split(')').next().unwrap());
    let symbols = Command::new(readelf).arg("--version-info").arg(binary()).output().unwrap();
    let symbols = String::from_utf8_lossy(&symbols.stdout).into_owned();
    let wanted = symbols.lines().filter_map(|line| line.split_once("Name: GLIBC_")?.1.split_whitespace().next());
    let newest = wanted.map(parts).max().unwrap();
    assert!(newest <= least, "the program needs GLIBC {newest:?}, the package asks for {least:?}");
}

/// What happens between installing and purging; each line that begins with `#` is told by the test.
const LIFE: &str = r#"
set -euo pipefail
layer=$(mktemp -d)
mount -t tmpfs tmpfs "$layer"
mkdir "$layer/upper" "$layer/work" "$layer/system"
mount -t overlay overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" "$layer/system"
mount --bind /dev "$layer/system/dev"
mount -t proc proc "$layer/system/proc"
cp "$1" "$layer/system/package.deb"
in_it() { chroot "$layer/system" env DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
is() { if in_it test "$@"; then echo "is $*"; else echo "is not $*"; fi; }

echo '# installed'
in_it dpkg --no-triggers -i /package.deb
in_it id analyzer-gateway
in_it systemctl is-enabled analyzer-gateway.service
is -d /etc/analyzer-gateway/secrets
echo '# upgraded by one who has settings, data and a unit switched off'
in_it sh -c 'echo "gateway: { id: kept }" >/etc/analyzer-gateway/gateway.yaml'
in_it sh -c 'mkdir -p /var/lib/analyzer-gateway && echo kept >/var/lib/analyzer-gateway/events.db'
in_it systemctl disable analyzer-gateway.service
in_it dpkg --no-triggers -i /package.deb
in_it systemctl is-enabled analyzer-gateway.service || true
in_it cat /etc/analyzer-gateway/gateway.yaml
in_it stat -c '%a %G' /etc/analyzer-gateway/gateway.yaml
echo '# removed'
in_it dpkg --no-triggers -r analyzer-gateway
is -e /usr/bin/analyzer-gateway
is -e /var/lib/analyzer-gateway/events.db
echo '# purged'
in_it dpkg --no-triggers -P analyzer-gateway
is -e /var/lib/analyzer-gateway/events.db
is -e /etc/analyzer-gateway/gateway.yaml
echo '# purged with the data'
in_it dpkg --no-triggers -i /package.deb
in_it env ANALYZER_GATEWAY_PURGE_DATA=1 dpkg --no-triggers -P analyzer-gateway
is -e /var/lib/analyzer-gateway
is -e /etc/analyzer-gateway
(cd "$layer/upper" && find etc usr var/lib -name '*analyzer-gateway*' -not -path 'var/lib/dpkg/*' -not -type c)
echo '# end'
"#;

#[test]
fn a_package_comes_and_goes_and_what_people_stored_stays() {
    let Some(package) = package() else { return };
    if !rustix::process::geteuid().is_root() {
        return super::skipped("root is needed to install a package into a layer over this system");
    }
    let output = Command::new("unshare").args(["--mount", "bash", "-c", LIFE, "bash"]).arg(package).output().unwrap();
    let told = said(&output);
    assert!(output.status.success(), "{told}");
    let part = |name: &str| {
        let (_, rest) = told.split_once(&format!("# {name}\n")).unwrap_or_else(|| panic!("{name}: {told}"));
        rest.split("\n# ").next().unwrap().to_owned()
    };
    let installed = part("installed");
    assert!(installed.contains("(dialout)") && installed.contains("(input)"), "{told}");
    assert!(installed.contains("\nenabled\n") && installed.contains("is -d /etc/analyzer-gateway/secrets"), "{told}");
    assert!(
        installed.contains("install -m 640 -g analyzer-gateway /usr/share/doc/analyzer-gateway/examples/gateway.yaml"),
        "{told}"
    );
    let upgraded = part("upgraded by one who has settings, data and a unit switched off");
    assert!(upgraded.contains("\ndisabled\n") && upgraded.contains("gateway: { id: kept }"), "{told}");
    assert!(upgraded.contains("640 analyzer-gateway"), "{told}");
    let removed = part("removed");
    assert!(removed.contains("is not -e /usr/bin/analyzer-gateway"), "{told}");
    assert!(removed.contains("is -e /var/lib/analyzer-gateway/events.db"), "{told}");
    let purged = part("purged");
    assert!(purged.contains("were kept") && purged.contains("ANALYZER_GATEWAY_PURGE_DATA=1"), "{told}");
    assert!(purged.contains("is -e /var/lib/analyzer-gateway/events.db"), "{told}");
    assert!(purged.contains("is -e /etc/analyzer-gateway/gateway.yaml"), "{told}");
    let all = part("purged with the data");
    assert!(
        all.contains("is not -e /var/lib/analyzer-gateway") && all.contains("is not -e /etc/analyzer-gateway"),
        "{told}"
    );
    let left: Vec<&str> = all.lines().filter(|line| line.starts_with("etc/") || line.starts_with("usr/")).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
