//! Real ports: serial adapters through tokio-serial, and TCP both ways.
//!
//! What was learnt on real adapters: the port is opened with O_NOCTTY (else unplugging kills the daemon by SIGHUP), an
//! unplugged one reads 0 bytes, and its descriptor must be dropped before it is opened again (else it comes back under
//! another name). tokio-serial does the first; the link does the other two.

mod called;

use super::{BoxFuture, PortError, SerialBus, Stream, devices, input};
use called::Listening;
use gateway_core::config::{FlowControl, Line, Parity, Port};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio_serial::{SerialPort, SerialPortBuilderExt, SerialStream};

/// The machine's ports.
#[derive(Default)]
pub struct SystemSerialBus {
    /// Listeners stay bound between two connections, so that an analyzer that calls again at once is not refused.
    listeners: Arc<Mutex<HashMap<String, Arc<Listening>>>>,
}

impl SerialBus for SystemSerialBus {
    fn open(&self, port: &Port, line: &Line) -> BoxFuture<'static, Result<Box<dyn Stream>, PortError>> {
        let (port, line) = (port.clone(), *line);
        let listeners = self.listeners.clone();
        Box::pin(async move {
            match port {
                Port::TcpListen(address) => called::accept(&listeners, &address).await,
                Port::TcpConnect(address) => connect(&address).await,
                Port::Path(path) => open_serial(&path, line),
                Port::Input(path) => input::open(&path),
                Port::Usb { .. } | Port::ByPath(_) => {
                    let path: PathBuf = devices::resolve(Path::new("/"), &port)?;
                    open_serial(&path, line)
                }
            }
        })
    }

    fn turned_away(&self, port: &Port) -> Option<IpAddr> {
        let Port::TcpListen(address) = port else { return None };
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.get(address).and_then(|listening| listening.turned_away())
    }

    fn forget(&self, port: &Port) {
        if let Port::TcpListen(address) = port {
            self.listeners.lock().unwrap_or_else(PoisonError::into_inner).remove(address);
        }
    }
}

/// Raises or drops one of a port's lines.
type SetLine = fn(&mut SerialStream, bool) -> tokio_serial::Result<()>;

fn open_serial(path: &Path, line: Line) -> Result<Box<dyn Stream>, PortError> {
    let name = path.to_string_lossy();
    let data_bits = match line.data_bits {
        5 => tokio_serial::DataBits::Five,
        6 => tokio_serial::DataBits::Six,
        7 => tokio_serial::DataBits::Seven,
        _ => tokio_serial::DataBits::Eight,
    };
    let parity = match line.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    };
    let stop_bits = if line.stop_bits == 2 { tokio_serial::StopBits::Two } else { tokio_serial::StopBits::One };
    let flow_control = match line.flow_control {
        FlowControl::None => tokio_serial::FlowControl::None,
        FlowControl::XonXoff => tokio_serial::FlowControl::Software,
        FlowControl::RtsCts => tokio_serial::FlowControl::Hardware,
    };
    let mut stream = tokio_serial::new(name.clone(), line.baud)
        .data_bits(data_bits)
        .parity(parity)
        .stop_bits(stop_bits)
        .flow_control(flow_control)
        .open_native_async()
        .map_err(|error| PortError(explain(&name, &error)))?;
    // Who sets these lines needs them: a port without them is told, not ignored.
    let lines: [(&str, Option<bool>, SetLine); 2] = [
        ("dtr", line.dtr, SerialStream::write_data_terminal_ready),
        ("rts", line.rts, SerialStream::write_request_to_send),
    ];
    for (key, level, set) in lines {
        if let Some(level) = level {
            set(&mut stream, level).map_err(|error| {
                PortError(format!("{name} cannot set the line `{key}`: {}; remove `{key}`", error.description))
            })?;
        }
    }
    Ok(Box::new(stream))
}

/// The words for a port that does not open.
fn explain(name: &str, error: &tokio_serial::Error) -> String {
    match error.kind() {
        // serialport counts EBUSY among the devices that are not there.
        _ if error.description.contains("busy") => {
            format!("{name} is in use by another program: stop that one, or another gateway that has it")
        }
        tokio_serial::ErrorKind::NoDevice | tokio_serial::ErrorKind::Io(std::io::ErrorKind::NotFound) => {
            format!("nothing is plugged in at {name}")
        }
        tokio_serial::ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => {
            format!("no permission for {name}: the gateway's user must be in the group dialout")
        }
        _ => format!("{name} does not open: {}", error.description),
    }
}

async fn connect(address: &str) -> Result<Box<dyn Stream>, PortError> {
    let connecting = tokio::time::timeout(std::time::Duration::from_secs(10), TcpStream::connect(address));
    match connecting.await {
        Ok(Ok(stream)) => {
            keep_alive(&stream);
            Ok(Box::new(stream))
        }
        Ok(Err(error)) => Err(PortError(format!("{address} does not answer: {error}"))),
        Err(_) => Err(PortError(format!("{address} does not answer within 10 s"))),
    }
}

/// Small answers (ACK) go out at once, and a peer whose cable was pulled is noticed within about a minute.
fn keep_alive(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_socket_keepalive(stream, true);
    let _ = rustix::net::sockopt::set_tcp_keepidle(stream, std::time::Duration::from_secs(30));
    let _ = rustix::net::sockopt::set_tcp_keepintvl(stream, std::time::Duration::from_secs(10));
    let _ = rustix::net::sockopt::set_tcp_keepcnt(stream, 3);
}
