//! A port as it is written on the command line: `/dev/ttyUSB0`, `tcp:HOST:PORT`, `listen:HOST:PORT`.

use gateway_core::config::Port;
use std::path::PathBuf;

/// The port of these words, or what to write instead.
pub fn port(text: &str) -> Result<Port, String> {
    let address = |rest: &str| {
        let well = rest.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        well.then(|| rest.to_owned()).ok_or_else(|| format!("\"{rest}\" is no address: write HOST:PORT"))
    };
    // Also as an address of the web is written.
    let after = |word: &str| text.strip_prefix(word).map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    if let Some(rest) = after("tcp:") {
        return address(rest).map(Port::TcpConnect);
    }
    if let Some(rest) = after("listen:") {
        return address(rest).map(Port::TcpListen);
    }
    if text.starts_with('/') {
        return Ok(Port::Path(PathBuf::from(text)));
    }
    Err(format!("\"{text}\" is no port: write a device such as /dev/ttyUSB0, tcp:HOST:PORT or listen:HOST:PORT"))
}

/// The same port in the settings.
pub fn yaml(port: &Port) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match port {
        Port::TcpConnect(address) => format!("{{ tcp: {{ connect: {} }} }}", quoted(address)),
        Port::TcpListen(address) => format!("{{ tcp: {{ listen: {} }} }}", quoted(address)),
        Port::Path(path) | Port::Input(path) => format!("{{ path: {} }}", quoted(&path.to_string_lossy())),
        Port::ByPath(name) => format!("{{ by_path: {} }}", quoted(name)),
        Port::Usb { vendor, product, .. } => format!("{{ usb: \"{vendor:04x}:{product:04x}\" }}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_device_or_an_address() {
        assert_eq!(port("/dev/ttyS0"), Ok(Port::Path("/dev/ttyS0".into())));
        for written in ["tcp:10.0.0.7:5600", "tcp://10.0.0.7:5600"] {
            assert_eq!(port(written), Ok(Port::TcpConnect("10.0.0.7:5600".to_owned())));
        }
        assert_eq!(port("listen:0.0.0.0:5600"), Ok(Port::TcpListen("0.0.0.0:5600".to_owned())));
        for wrong in ["ttyUSB0", "tcp:host", "tcp:host:x", "listen::5", ""] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
        assert_eq!(yaml(&Port::TcpListen("0.0.0.0:5600".to_owned())), "{ tcp: { listen: \"0.0.0.0:5600\" } }");
    }
}
