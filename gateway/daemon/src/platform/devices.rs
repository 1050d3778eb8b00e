//! Serial ports as the kernel shows them in /sys and udev in /dev/serial, and which of them a `port:` means.
//!
//! Every function takes the root folder, `/` on a real machine, so that all of it is tried on a tree of a test's own.

pub mod paste;

use super::PortError;
use gateway_core::config::Port;
use std::fs;
use std::path::{Path, PathBuf};

/// A serial port that the kernel offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialPort {
    /// `/dev/ttyUSB0`, under the root folder.
    pub device: PathBuf,
    /// What the USB adapter says of itself; `None` for a port on the board.
    pub usb: Option<Usb>,
    /// Its name in /dev/serial/by-path.
    pub by_path: Option<String>,
    /// Its name in /dev/serial/by-id.
    pub by_id: Option<String>,
}

/// What a USB device says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usb {
    pub vendor: u16,
    pub product: u16,
    /// `None` if it has none or an empty one.
    pub serial: Option<String>,
    /// Maker and product, as far as they are given.
    pub name: Option<String>,
    /// Its folder below /sys, the same for every port of one adapter.
    pub folder: PathBuf,
}

/// A USB device that looks like a serial adapter and has no port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbound {
    pub vendor: u16,
    pub product: u16,
    pub name: Option<String>,
    /// The kernel module that speaks with this maker's chips.
    pub module: &'static str,
    /// The same in /sys/bus/usb-serial/drivers.
    pub driver: &'static str,
    /// What it is, if these ids are in our table; the udev rule then tells the driver.
    pub known_as: Option<&'static str>,
}

/// A device that types like a keyboard: a barcode scanner, or a keyboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typing {
    /// `/dev/input/by-id/usb-...-event-kbd`, under the root folder.
    pub device: PathBuf,
}

/// The ids that the kernel does not know: vendor, product, module, driver, what it is, source; tabs between them.
const UNKNOWN_IDS: &str = include_str!("../../../../systemd/udev/usb-serial-ids.tsv");

/// Makers of serial chips: USB vendor, kernel module, name in /sys/bus/usb-serial/drivers.
const CHIP_MAKERS: [(u16, &str, &str); 4] = [
    (0x0403, "ftdi_sio", "ftdi_sio"),
    (0x067b, "pl2303", "pl2303"),
    (0x10c4, "cp210x", "cp210x"),
    (0x1a86, "ch341", "ch341-uart"),
];

/// The device file that this port means at this moment.
pub fn resolve(root: &Path, port: &Port) -> Result<PathBuf, PortError> {
    match port {
        Port::Path(path) | Port::Input(path) => Ok(path.clone()),
        Port::Usb { vendor, product, serial } => by_usb(root, *vendor, *product, serial.as_deref()),
        Port::ByPath(name) => {
            let name = name.rsplit('/').next().unwrap_or(name);
            let link = root.join("dev/serial/by-path").join(name);
            target(root, &link).ok_or_else(|| PortError(format!("nothing is plugged into the socket {name}")))
        }
        Port::TcpListen(address) | Port::TcpConnect(address) => {
            Err(PortError(format!("{address} is a network address, not a device")))
        }
    }
}

fn by_usb(root: &Path, vendor: u16, product: u16, serial: Option<&str>) -> Result<PathBuf, PortError> {
    let shown = match serial {
        Some(serial) => format!("{vendor:04x}:{product:04x} with serial {serial}"),
        None => format!("{vendor:04x}:{product:04x}"),
    };
    let meant = |usb: &Usb| {
        (usb.vendor, usb.product) == (vendor, product)
            && serial.is_none_or(|serial| usb.serial.as_deref() == Some(serial))
    };
    let mut found: Vec<SerialPort> = ports(root);
    found.retain(|port| port.usb.as_ref().is_some_and(meant));
    match found.as_slice() {
        [] => Err(PortError(format!("no USB adapter {shown} is plugged in"))),
        [port] => Ok(port.device.clone()),
        // To read the wrong analyzer would be worse than to read none.
        several => Err(PortError(format!(
            "{} ports belong to USB adapter {shown}: name one of them with by_path (see `analyzer-gateway devices`)",
            several.len()
        ))),
    }
}

/// Every serial port, in the order of the device files.
pub fn ports(root: &Path) -> Vec<SerialPort> {
    let by_path = links(root, "dev/serial/by-path");
    let by_id = links(root, "dev/serial/by-id");
    let name_of = |links: &[(String, PathBuf)], device: &Path| {
        links.iter().find(|(_, target)| target == device).map(|(name, _)| name.clone())
    };
    let mut ports: Vec<SerialPort> = names(&root.join("sys/class/tty"))
        .into_iter()
        .filter_map(|name| {
            let class = root.join("sys/class/tty").join(&name);
            // Consoles have no device; a UART of type 0 is a slot without a chip.
            let folder = fs::canonicalize(class.join("device")).ok()?;
            if fs::read_to_string(class.join("type")).is_ok_and(|kind| kind.trim() == "0") {
                return None;
            }
            let device = root.join("dev").join(&name);
            Some(SerialPort {
                usb: usb_above(root, &folder),
                by_path: name_of(&by_path, &device),
                by_id: name_of(&by_id, &device),
                device,
            })
        })
        .collect();
    ports.sort_by_key(|port| natural(&port.device));
    ports
}

/// Items to paste for each USB adapter whose port none of these uses. `known`: how many analyzers there are already.
pub fn spare(root: &Path, used: &[Port], known: usize) -> Vec<String> {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let used: Vec<PathBuf> = used.iter().filter_map(|port| Some(real(&resolve(root, port).ok()?))).collect();
    let all = ports(root);
    let spare = all.iter().filter(|port| port.usb.is_some() && !used.contains(&real(&port.device)));
    spare.enumerate().map(|(index, port)| paste::item(port, known + index + 1, &all)).collect()
}

/// USB devices of serial chip makers without a port: the kernel does not know their ids.
pub fn unbound(root: &Path, ports: &[SerialPort]) -> Vec<Unbound> {
    let folder = root.join("sys/bus/usb/devices");
    let devices = names(&folder).into_iter().filter_map(|name| usb_at(&fs::canonicalize(folder.join(name)).ok()?));
    devices
        .filter(|usb| !has_driver(&usb.folder))
        .filter(|usb| !ports.iter().any(|port| port.usb.as_ref().is_some_and(|other| other.folder == usb.folder)))
        .filter_map(|usb| {
            let known = known_ids().find(|(vendor, product, ..)| (*vendor, *product) == (usb.vendor, usb.product));
            let (module, driver, known_as) = match known {
                Some((_, _, module, driver, what)) => (module, driver, Some(what)),
                None => {
                    let (_, module, driver) = CHIP_MAKERS.into_iter().find(|(vendor, ..)| *vendor == usb.vendor)?;
                    (module, driver, None)
                }
            };
            Some(Unbound { vendor: usb.vendor, product: usb.product, name: usb.name, module, driver, known_as })
        })
        .collect()
}

/// Vendor, product, module, driver and what it is.
fn known_ids() -> impl Iterator<Item = (u16, u16, &'static str, &'static str, &'static str)> {
    UNKNOWN_IDS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut columns = line.split('\t');
        let mut id = || u16::from_str_radix(columns.next()?, 16).ok();
        let ids = (id()?, id()?);
        Some((ids.0, ids.1, columns.next()?, columns.next()?, columns.next()?))
    })
}

/// What types like a keyboard and has a name that survives a reboot.
pub fn typing(root: &Path) -> Vec<Typing> {
    let folder = root.join("dev/input/by-id");
    let names = names(&folder).into_iter().filter(|name| name.ends_with("-event-kbd"));
    names.map(|name| Typing { device: folder.join(name) }).collect()
}

/// Whether a driver has taken one of the device's interfaces (the folders such as `1-1:1.0`).
fn has_driver(folder: &Path) -> bool {
    names(folder).iter().any(|name| name.contains(':') && folder.join(name).join("driver").exists())
}

/// The nearest folder above that is a USB device.
fn usb_above(root: &Path, folder: &Path) -> Option<Usb> {
    let top = fs::canonicalize(root.join("sys")).ok()?;
    folder.ancestors().take_while(|above| above.starts_with(&top)).find_map(usb_at)
}

fn usb_at(folder: &Path) -> Option<Usb> {
    let read = |name: &str| {
        let text = fs::read_to_string(folder.join(name)).ok()?;
        let text = text.trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    let id = |name: &str| u16::from_str_radix(&read(name)?, 16).ok();
    let words: Vec<String> = [read("manufacturer"), read("product")].into_iter().flatten().collect();
    Some(Usb {
        vendor: id("idVendor")?,
        product: id("idProduct")?,
        serial: read("serial"),
        name: (!words.is_empty()).then(|| words.join(" ")),
        folder: folder.to_owned(),
    })
}

/// The links of a folder with what they lead to, sorted; empty if there is no such folder.
fn links(root: &Path, folder: &str) -> Vec<(String, PathBuf)> {
    let folder = root.join(folder);
    let name_and_target = |name: String| target(root, &folder.join(&name)).map(|target| (name, target));
    names(&folder).into_iter().filter_map(name_and_target).collect()
}

/// The device file below the root's `dev` that a link leads to. The link alone counts: udev removes it with the device.
fn target(root: &Path, link: &Path) -> Option<PathBuf> {
    let target = fs::read_link(link).ok()?;
    Some(root.join("dev").join(target.file_name()?))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let mut names: Vec<String> = entries.iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// ttyUSB2 before ttyUSB10.
fn natural(device: &Path) -> (String, u64) {
    let name = device.to_string_lossy().into_owned();
    let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (word.to_owned(), name[word.len()..].parse().unwrap_or(0))
}
