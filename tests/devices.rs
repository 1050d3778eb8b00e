//! Serial ports: what `devices` shows and what a `port:` means, on a tree laid out as /sys and /dev are on a Raspberry Pi.

use gateway_core::config::Port;
use gateway_daemon::commands::devices::{Args, run};
use gateway_daemon::platform::devices::resolve;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A tree of a machine's own.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Tree {
        Tree(tempfile::tempdir().expect("a temporary folder"))
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        symlink(target, path).expect("a link");
    }

    /// A USB device in a socket such as `1-1.2`.
    fn usb(&self, socket: &str, ids: &str, serial: &str, name: &str) {
        let (vendor, product) = ids.split_once(':').expect("two ids");
        let folder = format!("sys/devices/usb1/{socket}");
        for (file, text) in [("idVendor", vendor), ("idProduct", product), ("serial", serial), ("product", name)] {
            if !text.is_empty() {
                self.write(&format!("{folder}/{file}"), &format!("{text}\n"));
            }
        }
        self.link(&format!("sys/bus/usb/devices/{socket}"), &format!("../../../devices/usb1/{socket}"));
    }

    /// A port of that device, with the names that udev gives it.
    fn port(&self, socket: &str, interface: u8, tty: &str) {
        let folder = format!("sys/devices/usb1/{socket}/{socket}:1.{interface}");
        self.write(&format!("{folder}/{tty}/tty/{tty}/dev"), "188:0\n");
        self.write("sys/bus/usb/drivers/ftdi_sio/module", "");
        self.link(&format!("{folder}/driver"), "../../../../bus/usb/drivers/ftdi_sio");
        self.link(&format!("{folder}/{tty}/tty/{tty}/device"), &format!("../../../{tty}"));
        self.link(
            &format!("sys/class/tty/{tty}"),
            &format!("../../devices/usb1/{socket}/{socket}:1.{interface}/{tty}/tty/{tty}"),
        );
        self.link(&format!("dev/serial/by-path/pci-usb-0:{socket}:1.{interface}-port0"), &format!("../../{tty}"));
        self.write(&format!("dev/{tty}"), "");
    }

    /// Takes the device and its port away again, names and all.
    fn unplug(&self, socket: &str, interface: u8, tty: &str) {
        let gone = [
            format!("sys/class/tty/{tty}"),
            format!("sys/bus/usb/devices/{socket}"),
            format!("dev/serial/by-path/pci-usb-0:{socket}:1.{interface}-port0"),
            format!("dev/{tty}"),
        ];
        gone.iter().for_each(|path| fs::remove_file(self.root().join(path)).expect("it was there"));
        fs::remove_dir_all(self.root().join(format!("sys/devices/usb1/{socket}"))).expect("it was there");
    }

    fn listing(&self) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(Args { root: self.root().to_owned() }, &mut out, &mut err), 0);
        let text = String::from_utf8(out).expect("text");
        text.replace(&format!("{}/", self.root().display()), "/")
    }

    fn resolve(&self, port: Port) -> Result<PathBuf, String> {
        let found = resolve(self.root(), &port).map_err(|error| error.0)?;
        Ok(Path::new("/").join(found.strip_prefix(self.root()).unwrap_or(&found)))
    }
}

fn usb(vendor: u16, product: u16, serial: Option<&str>) -> Port {
    Port::Usb { vendor, product, serial: serial.map(str::to_owned) }
}

/// Two adapters alike without serial numbers, one with, one with two ports, a port on the board and consoles.
fn clinic() -> Tree {
    let tree = Tree::new();
    tree.usb("1-1", "0403:6001", "A50285BI", "FT232R USB UART");
    tree.port("1-1", 0, "ttyUSB10");
    tree.link("dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0", "../../ttyUSB10");
    tree.usb("1-2", "1a86:7523", "", "USB Serial");
    tree.port("1-2", 0, "ttyUSB0");
    tree.usb("1-3", "1a86:7523", "", "USB Serial");
    tree.port("1-3", 0, "ttyUSB1");
    tree.usb("1-4", "0403:6010", "FT7", "Dual RS232");
    tree.port("1-4", 0, "ttyUSB2");
    tree.port("1-4", 1, "ttyUSB3");
    tree.write("sys/devices/platform/uart0/tty/ttyAMA0/type", "32\n");
    tree.link("sys/devices/platform/uart0/tty/ttyAMA0/device", "../../../uart0");
    tree.link("sys/class/tty/ttyAMA0", "../../devices/platform/uart0/tty/ttyAMA0");
    tree.write("sys/devices/platform/uart8/tty/ttyS0/type", "0\n");
    tree.link("sys/devices/platform/uart8/tty/ttyS0/device", "../../../uart8");
    tree.link("sys/class/tty/ttyS0", "../../devices/platform/uart8/tty/ttyS0");
    tree.write("sys/class/tty/console/dev", "5:1\n");
    tree
}

#[test]
fn each_port_is_shown_with_what_survives_a_reboot() {
    let expected = "\
# Copy what you need into the settings file. Change the id to what you call the analyzer, and baud
# and driver to what its manual says.
analyzers:
  # /dev/ttyAMA0
  - id: analyzer-1
    driver: astm
    port: { path: \"/dev/ttyAMA0\" }
    baud: 9600
  # /dev/ttyUSB0, usb 1a86:7523, no serial number, USB Serial
  # /dev/serial/by-path/pci-usb-0:1-2:1.0-port0
  - id: analyzer-2
    driver: astm
    port: { by_path: \"pci-usb-0:1-2:1.0-port0\" }
    baud: 9600
  # /dev/ttyUSB1, usb 1a86:7523, no serial number, USB Serial
  # /dev/serial/by-path/pci-usb-0:1-3:1.0-port0
  - id: analyzer-3
    driver: astm
    port: { by_path: \"pci-usb-0:1-3:1.0-port0\" }
    baud: 9600
  # /dev/ttyUSB2, usb 0403:6010, serial FT7, Dual RS232
  # /dev/serial/by-path/pci-usb-0:1-4:1.0-port0
  - id: analyzer-4
    driver: astm
    port: { by_path: \"pci-usb-0:1-4:1.0-port0\" }
    baud: 9600
  # /dev/ttyUSB3, usb 0403:6010, serial FT7, Dual RS232
  # /dev/serial/by-path/pci-usb-0:1-4:1.1-port0
  - id: analyzer-5
    driver: astm
    port: { by_path: \"pci-usb-0:1-4:1.1-port0\" }
    baud: 9600
  # /dev/ttyUSB10, usb 0403:6001, serial A50285BI, FT232R USB UART
  # /dev/serial/by-path/pci-usb-0:1-1:1.0-port0
  # /dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0
  - id: analyzer-6
    driver: astm
    port: { usb: \"0403:6001\", serial: \"A50285BI\" }
    baud: 9600
";
    assert_eq!(clinic().listing(), expected);
}

#[test]
fn what_is_shown_can_be_pasted_and_finds_the_same_ports() {
    let tree = clinic();
    tree.write("gateway.yaml", &tree.listing());
    let source =
        gateway_daemon::configuration::Source { file: Some(tree.root().join("gateway.yaml")), ..Default::default() };
    let config = gateway_daemon::configuration::load(&source).unwrap_or_else(|failure| panic!("{failure}")).config;
    let found: Vec<String> = config
        .analyzers
        .into_iter()
        .map(|analyzer| {
            tree.resolve(analyzer.port).expect("a device").file_name().expect("a name").to_string_lossy().into_owned()
        })
        .collect();
    assert_eq!(found, ["ttyAMA0", "ttyUSB0", "ttyUSB1", "ttyUSB2", "ttyUSB3", "ttyUSB10"]);
}

#[test]
fn nothing_plugged_in_is_said_plainly() {
    assert!(Tree::new().listing().starts_with("# No serial port was found."));
}

#[test]
fn an_adapter_that_the_kernel_does_not_know_is_named_with_what_to_do() {
    let tree = Tree::new();
    tree.usb("1-1", "0403:cd18", "P1", "Piccolo Xpress");
    // A disk of a maker of serial chips has its driver.
    tree.usb("1-2", "067b:2773", "", "Disk");
    tree.write("sys/bus/usb/drivers/usb-storage/module", "");
    tree.write("sys/devices/usb1/1-2/1-2:1.0/bInterfaceClass", "08\n");
    tree.link("sys/devices/usb1/1-2/1-2:1.0/driver", "../../../../bus/usb/drivers/usb-storage");
    tree.usb("1-3", "046d:c31c", "", "Keyboard");
    let text = tree.listing();
    assert!(text.starts_with("# No serial port was found."));
    assert!(text.contains("# USB device 0403:cd18 (Piccolo Xpress) looks like a serial adapter"), "{text}");
    assert!(text.contains("# It is known: Abaxis Piccolo Xpress"), "{text}");
    let hint = "modprobe ftdi_sio && echo 0403 cd18 > /sys/bus/usb-serial/drivers/ftdi_sio/new_id";
    assert!(text.contains(hint), "{text}");
    assert!(!text.contains("067b") && !text.contains("046d"), "{text}");
    assert!(text.lines().all(|line| line.starts_with('#')), "it stays YAML: {text}");
}

#[test]
fn names_from_a_device_cannot_add_lines() {
    let tree = Tree::new();
    tree.usb("1-1", "0403:6001", "A\"\u{1b}B", "evil\n  - id: x");
    tree.port("1-1", 0, "ttyUSB0");
    let text = tree.listing();
    assert!(text.contains("serial: \"A\\\"\\u001bB\""), "{text}");
    assert!(text.contains("evil?  - id: x"), "{text}");
}

#[test]
fn a_port_is_found_by_its_adapter_or_its_socket() {
    let tree = clinic();
    let device = |name: &str| Ok(PathBuf::from(name));
    assert_eq!(tree.resolve(usb(0x0403, 0x6001, None)), device("/dev/ttyUSB10"));
    assert_eq!(tree.resolve(usb(0x0403, 0x6001, Some("A50285BI"))), device("/dev/ttyUSB10"));
    assert_eq!(tree.resolve(Port::ByPath("pci-usb-0:1-3:1.0-port0".into())), device("/dev/ttyUSB1"));
    assert_eq!(tree.resolve(Port::Path("/dev/ttyS5".into())), device("/dev/ttyS5"));
}

#[test]
fn a_port_that_is_not_there_or_not_the_only_one_is_said_in_words() {
    let tree = clinic();
    let check = |port, expected: &str| assert_eq!(tree.resolve(port), Err(expected.to_owned()));
    check(usb(0x0403, 0x6001, Some("other")), "no USB adapter 0403:6001 with serial other is plugged in");
    check(
        usb(0x1a86, 0x7523, None),
        "2 ports belong to USB adapter 1a86:7523: name one of them with by_path (see `analyzer-gateway devices`)",
    );
    check(
        usb(0x0403, 0x6010, Some("FT7")),
        "2 ports belong to USB adapter 0403:6010 with serial FT7: name one of them with by_path (see `analyzer-gateway devices`)",
    );
    check(Port::ByPath("pci-usb-0:9:1.0-port0".into()), "nothing is plugged into the socket pci-usb-0:9:1.0-port0");
    check(Port::TcpListen("0.0.0.0:5600".into()), "0.0.0.0:5600 is a network address, not a device");
}

#[test]
fn a_scanner_that_types_is_shown_switched_off() {
    let tree = clinic();
    tree.link("dev/input/by-id/usb-Example_Scanner_0001-event-kbd", "../event3");
    tree.link("dev/input/by-id/usb-Example_Mouse-event-mouse", "../event4");
    let text = tree.listing();
    assert!(!text.contains("Mouse"), "{text}");
    let lines = "  #- id: scanner-1\n  #  driver: scanner\n  #  port: { input: \"/dev/input/by-id/usb-Example_Scanner_0001-event-kbd\" }\n";
    assert!(text.contains(lines), "{text}");
    let switched_on = text.replace("  #- ", "  - ").replace("  #  ", "    ");
    tree.write("gateway.yaml", &switched_on);
    let source =
        gateway_daemon::configuration::Source { file: Some(tree.root().join("gateway.yaml")), ..Default::default() };
    let config = gateway_daemon::configuration::load(&source).unwrap_or_else(|failure| panic!("{failure}")).config;
    assert_eq!(config.analyzers.last().map(|analyzer| analyzer.driver.as_str()), Some("scanner"));
}

#[test]
fn an_adapter_is_found_wherever_it_is_plugged_in_again() {
    let tree = clinic();
    let ftdi = || usb(0x0403, 0x6001, Some("A50285BI"));
    assert_eq!(tree.resolve(ftdi()), Ok(PathBuf::from("/dev/ttyUSB10")));
    // Unplugged: nothing else is taken for it.
    tree.unplug("1-1", 0, "ttyUSB10");
    assert!(tree.resolve(ftdi()).is_err());
    // Into another socket, under another name of the kernel's.
    tree.usb("1-5", "0403:6001", "A50285BI", "FT232R USB UART");
    tree.port("1-5", 0, "ttyUSB7");
    assert_eq!(tree.resolve(ftdi()), Ok(PathBuf::from("/dev/ttyUSB7")));
    // Two alike without serial numbers change places: the socket decides, whatever the kernel calls them.
    let socket = |socket: &str| Port::ByPath(format!("pci-usb-0:{socket}:1.0-port0"));
    tree.unplug("1-2", 0, "ttyUSB0");
    tree.unplug("1-3", 0, "ttyUSB1");
    for (place, tty) in [("1-3", "ttyUSB0"), ("1-2", "ttyUSB1")] {
        tree.usb(place, "1a86:7523", "", "USB Serial");
        tree.port(place, 0, tty);
    }
    assert_eq!(tree.resolve(socket("1-2")), Ok(PathBuf::from("/dev/ttyUSB1")));
    assert_eq!(tree.resolve(socket("1-3")), Ok(PathBuf::from("/dev/ttyUSB0")));
}

#[test]
fn the_udev_rule_says_what_the_table_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/udev");
    let table = fs::read_to_string(folder.join("usb-serial-ids.tsv")).expect("the table");
    let rule = fs::read_to_string(folder.join("60-analyzer-gateway.rules")).expect("the rule");
    let mut expected = Vec::new();
    for row in table.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [vendor, product, module, driver, what, source] = columns[..] else { panic!("six columns: {row}") };
        assert!(!what.is_empty() && !source.is_empty(), "{row}");
        expected.push(format!(
            "ACTION==\"add\", SUBSYSTEM==\"usb\", ENV{{DEVTYPE}}==\"usb_device\", ATTR{{idVendor}}==\"{vendor}\", \
             ATTR{{idProduct}}==\"{product}\", RUN+=\"/sbin/modprobe {module}\", RUN+=\"/bin/sh -c 'echo {vendor} {product} > \
             /sys/bus/usb-serial/drivers/{driver}/new_id'\""
        ));
    }
    assert!(!expected.is_empty());
    assert_eq!(rule.lines().filter(|line| line.contains("new_id")).collect::<Vec<_>>(), expected);
}
