//! What this machine says of itself: `/proc`, `/sys` and the file system.
//!
//! Invariant: what is not there is absent, and nothing here fails.

use super::kernel::particulars;
use super::{BoxFuture, Machine, Particulars, devices, privileged, reach, told};
use gateway_core::appliance::{Appliance, layout};
use gateway_core::config::Port;
use gateway_core::overview::{CertificateLeft, Vitals};
use gateway_core::time::Now;
use gateway_core::vitals::CertificateFile;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs;
use std::path::{Path, PathBuf};
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// The Pi's firmware as its kernel shows it: bits in hexadecimal.
const THROTTLED: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";
/// Those bits (Raspberry Pi documentation, vcgencmd `get_throttled`); 16 places higher: the same since the boot.
const THROTTLED_BITS: [(u32, &str); 4] =
    [(0, "under_voltage"), (1, "frequency_capped"), (2, "throttled"), (3, "soft_temperature_limit")];
/// What sensors of the processor are called.
const CPU_ZONES: [&str; 4] = ["cpu", "soc", "x86_pkg", "acpitz"];

/// The machine that the gateway runs on.
pub struct ThisMachine {
    /// Where `proc`, `sys` and the files of the box are found.
    root: PathBuf,
}

impl Default for ThisMachine {
    fn default() -> Self {
        ThisMachine::below(PathBuf::from("/"))
    }
}

impl ThisMachine {
    /// With another folder in place of `/`.
    pub fn below(root: PathBuf) -> ThisMachine {
        ThisMachine { root }
    }
}

impl Machine for ThisMachine {
    fn vitals(&self, state_dir: &Path) -> BoxFuture<'static, Vitals> {
        let (root, state_dir) = (self.root.clone(), state_dir.to_owned());
        Box::pin(
            async move { tokio::task::spawn_blocking(move || vitals(&root, &state_dir)).await.unwrap_or_default() },
        )
    }

    fn certificates(&self, files: &[CertificateFile], now: Now) -> BoxFuture<'static, Vec<CertificateLeft>> {
        let files = files.to_vec();
        let seconds = now.wall.as_seconds();
        let reading = move || files.iter().filter_map(|file| left(file, seconds)).collect();
        Box::pin(async move { tokio::task::spawn_blocking(reading).await.unwrap_or_default() })
    }

    fn particulars(&self) -> BoxFuture<'static, Particulars> {
        let root = self.root.clone();
        Box::pin(async move { tokio::task::spawn_blocking(move || particulars(&root)).await.unwrap_or_default() })
    }

    fn appliance(&self) -> BoxFuture<'static, Appliance> {
        let root = self.root.clone();
        Box::pin(async move { tokio::task::spawn_blocking(move || privileged::said(&root)).await.unwrap_or_default() })
    }

    fn addresses(&self) -> Option<Vec<String>> {
        Some(reach::own_address().map(|address| address.to_string()).into_iter().collect())
    }

    fn spare_ports(&self, used: Vec<Port>, known: usize) -> BoxFuture<'static, Vec<String>> {
        let root = self.root.clone();
        let looking = move || devices::spare(&root, &used, known);
        Box::pin(async move { tokio::task::spawn_blocking(looking).await.unwrap_or_default() })
    }

    fn is_appliance(&self) -> bool {
        privileged::below(&self.root, layout::IMAGE).is_file()
    }

    fn leave(&self, name: &'static str, bytes: Vec<u8>) -> BoxFuture<'static, Result<(), String>> {
        let root = self.root.clone();
        let work = move || told::leave(&root, name, &bytes);
        Box::pin(async move {
            tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err("cut off while writing".to_owned()))
        })
    }

    fn ask(&self, name: &'static str, bytes: Vec<u8>) -> BoxFuture<'static, Result<Option<Vec<u8>>, String>> {
        let root = self.root.clone();
        let work = move || told::ask(&root, name, &bytes);
        Box::pin(async move {
            tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err("cut off while writing".to_owned()))
        })
    }

    fn host_name(&self) -> Option<String> {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        name.split('.').next().filter(|name| !name.is_empty()).map(str::to_owned)
    }
}

/// A machine of which nothing is known: that of a simulation.
pub struct Unmeasured;

impl Machine for Unmeasured {
    fn vitals(&self, _: &Path) -> BoxFuture<'static, Vitals> {
        Box::pin(std::future::ready(Vitals::default()))
    }
}

fn vitals(root: &Path, state_dir: &Path) -> Vitals {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (own, memory) = (text("proc/self/status"), text("proc/meminfo"));
    let disk = rustix::fs::statvfs(state_dir).ok();
    let first = |path: &str| text(path).split_whitespace().next()?.parse::<f64>().ok();
    let throttled = u32::from_str_radix(text(THROTTLED).trim().trim_start_matches("0x"), 16).unwrap_or(0);
    Vitals {
        cpu_celsius: cpu_celsius(root),
        throttled: words(throttled),
        throttled_since_boot: words(throttled >> 16),
        load: first("proc/loadavg"),
        process_bytes: kilobytes(&own, "VmRSS:"),
        process_anonymous_bytes: kilobytes(&own, "RssAnon:"),
        memory_total_bytes: kilobytes(&memory, "MemTotal:"),
        memory_available_bytes: kilobytes(&memory, "MemAvailable:"),
        disk_total_bytes: disk.as_ref().map(|disk| disk.f_blocks * disk.f_frsize),
        disk_free_bytes: disk.as_ref().map(|disk| disk.f_bavail * disk.f_frsize),
        card_wear_percent: card_wear_percent(root),
        uptime_seconds: first("proc/uptime").map(|seconds| seconds as u64),
        ..Vitals::default()
    }
}

/// The value of a line such as `VmRSS:     9640 kB`, in bytes.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line[key.len()..].split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn words(bits: u32) -> Vec<String> {
    THROTTLED_BITS.iter().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, word)| (*word).to_owned()).collect()
}

/// The hottest of the processor's sensors (thermal/sysfs-api in the kernel's documentation: thousandths of a degree).
fn cpu_celsius(root: &Path) -> Option<f64> {
    let zones = fs::read_dir(root.join("sys/class/thermal")).ok()?.flatten().map(|entry| entry.path());
    let hottest = zones.filter_map(|zone| {
        let kind = fs::read_to_string(zone.join("type")).ok()?.to_lowercase();
        if !CPU_ZONES.iter().any(|word| kind.contains(word)) {
            return None;
        }
        let thousandths: i32 = fs::read_to_string(zone.join("temp")).ok()?.trim().parse().ok()?;
        Some(thousandths)
    });
    hottest.max().map(|thousandths| f64::from(thousandths) / 1000.0)
}

/// How much of the most worn card's life is used. An eMMC says it in tenths for each of its two kinds of memory, 11 for more
/// than all, and how much of its reserve is gone: 2 for most, 3 for nearly all (JEDEC JESD84-B51, EXT_CSD 267 to 269).
fn card_wear_percent(root: &Path) -> Option<u8> {
    let cards = fs::read_dir(root.join("sys/block")).ok()?.flatten();
    let cards = cards.filter(|entry| entry.file_name().to_string_lossy().starts_with("mmcblk"));
    let wear = cards.filter_map(|card| {
        let byte = |word: &str| u8::from_str_radix(word.trim_start_matches("0x"), 16).ok();
        let read = |name: &str| fs::read_to_string(card.path().join("device").join(name)).ok();
        let life = read("life_time")?;
        // Zero is undefined: the card does not say.
        let tenths = life.split_whitespace().filter_map(byte).filter(|tenths| *tenths > 0).max();
        let reserve = match read("pre_eol_info").as_deref().map(str::trim).and_then(byte) {
            Some(2) => Some(9),
            Some(3) => Some(10),
            _ => None,
        };
        tenths.max(reserve).map(|tenths| tenths.min(10) * 10)
    });
    wear.max()
}

/// Of the gateway's own certificate the first in the file counts, of authorities the one that holds longest: while one is
/// replaced by another both are there.
fn left(file: &CertificateFile, now_seconds: i64) -> Option<CertificateLeft> {
    let all = CertificateDer::pem_file_iter(&file.path).ok()?;
    let ends = all.filter_map(|der| {
        let certificate = Certificate::from_der(&der.ok()?).ok()?;
        i64::try_from(certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs()).ok()
    });
    let ends: Vec<i64> = ends.collect();
    let end = if file.what == "ca_file" { ends.iter().max() } else { ends.first() };
    let days_left = (end? - now_seconds).div_euclid(86_400);
    Some(CertificateLeft { of: file.of.clone(), what: file.what.to_owned(), days_left })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like `/`; it goes when this does.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Root {
            let root = std::env::temp_dir().join(format!("machine-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder of our own");
                fs::write(path, text).expect("a folder of our own");
            }
            fs::create_dir_all(&root).expect("a folder of our own");
            Root(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_pi_says_how_it_is() {
        let root = Root::new(
            "pi",
            &[
                ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
                ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
                ("sys/class/thermal/thermal_zone1/type", "battery\n"),
                ("sys/class/thermal/thermal_zone1/temp", "99000\n"),
                (THROTTLED, "50005\n"),
                ("sys/block/mmcblk0/device/life_time", "0x02 0x09\n"),
                ("sys/block/mmcblk0/device/pre_eol_info", "0x01\n"),
                ("sys/block/sda/device/life_time", "0x0b 0x0b\n"),
                ("proc/self/status", "VmRSS:\t    9640 kB\nRssAnon:\t    5000 kB\n"),
                ("proc/meminfo", "MemTotal:        1000 kB\nMemAvailable:     400 kB\n"),
                ("proc/loadavg", "0.25 0.1 0.0 1/100 7\n"),
                ("proc/uptime", "3601.44 7000.1\n"),
            ],
        );
        let vitals = vitals(&root.0, &root.0);
        assert_eq!(vitals.cpu_celsius, Some(48.312));
        assert_eq!(vitals.throttled, ["under_voltage", "throttled"]);
        assert_eq!(vitals.throttled_since_boot, ["under_voltage", "throttled"]);
        assert_eq!(vitals.card_wear_percent, Some(90));
        assert_eq!((vitals.process_bytes, vitals.process_anonymous_bytes), (Some(9640 << 10), Some(5000 << 10)));
        assert_eq!((vitals.memory_total_bytes, vitals.memory_available_bytes), (Some(1000 << 10), Some(400 << 10)));
        assert_eq!((vitals.load, vitals.uptime_seconds), (Some(0.25), Some(3601)));
        assert!(vitals.disk_free_bytes > Some(0) && vitals.disk_total_bytes >= vitals.disk_free_bytes);
    }

    #[test]
    fn a_machine_without_any_of_it_says_nothing() {
        let root = Root::new("bare", &[("sys/block/mmcblk0/device/life_time", "0x00 0x00\n"), (THROTTLED, "nonsense")]);
        let vitals = vitals(&root.0, Path::new("/nowhere"));
        assert_eq!(vitals, Vitals::default());
        let file = CertificateFile { of: "mqtt".to_owned(), what: "ca_file", path: root.0.join("nowhere.pem") };
        assert_eq!(left(&file, 0), None);
    }
}
