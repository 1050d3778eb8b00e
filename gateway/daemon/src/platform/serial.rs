//! Real ports: serial adapters through tokio-serial, and TCP both ways.
//!
//! What was learnt on real adapters: the port is opened with O_NOCTTY (else unplugging kills the daemon by SIGHUP), an
//! unplugged one reads 0 bytes, and its descriptor must be dropped before it is opened again (else it comes back under
//! another name). tokio-serial does the first; the link does the other two.

use super::{BoxFuture, PortError, SerialBus, Stream, devices, input};
use gateway_core::config::{Line, Parity, Port};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio_serial::SerialPortBuilderExt;

/// The machine's ports.
#[derive(Default)]
pub struct SystemSerialBus {
    /// Listeners stay bound between two connections, so that an analyzer that calls again at once is not refused.
    listeners: Arc<Mutex<HashMap<String, Arc<TcpListener>>>>,
}

impl SerialBus for SystemSerialBus {
    fn open(&self, port: &Port, line: &Line) -> BoxFuture<'static, Result<Box<dyn Stream>, PortError>> {
        let (port, line) = (port.clone(), *line);
        let listeners = self.listeners.clone();
        Box::pin(async move {
            match port {
                Port::TcpListen(address) => accept(&listeners, &address).await,
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

    fn forget(&self, port: &Port) {
        if let Port::TcpListen(address) = port {
            self.listeners.lock().unwrap_or_else(PoisonError::into_inner).remove(address);
        }
    }
}

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
    let stream = tokio_serial::new(name.clone(), line.baud)
        .data_bits(data_bits)
        .parity(parity)
        .stop_bits(stop_bits)
        .open_native_async()
        .map_err(|error| PortError(explain(&name, &error)))?;
    Ok(Box::new(stream))
}

/// The words for a port that does not open.
fn explain(name: &str, error: &tokio_serial::Error) -> String {
    match error.kind() {
        tokio_serial::ErrorKind::NoDevice | tokio_serial::ErrorKind::Io(std::io::ErrorKind::NotFound) => {
            format!("nothing is plugged in at {name}")
        }
        tokio_serial::ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => {
            format!("no permission for {name}: the gateway's user must be in the group dialout")
        }
        _ if error.description.contains("busy") => format!("{name} is in use by another program"),
        _ => format!("{name} does not open: {}", error.description),
    }
}

async fn accept(
    listeners: &Mutex<HashMap<String, Arc<TcpListener>>>,
    address: &str,
) -> Result<Box<dyn Stream>, PortError> {
    let bound = listeners.lock().unwrap_or_else(PoisonError::into_inner).get(address).cloned();
    let listener = match bound {
        Some(listener) => listener,
        None => {
            let listener = TcpListener::bind(address)
                .await
                .map_err(|error| PortError(format!("cannot listen on {address}: {error}")))?;
            let listener = Arc::new(listener);
            let mut listeners = listeners.lock().unwrap_or_else(PoisonError::into_inner);
            listeners.insert(address.to_owned(), listener.clone());
            listener
        }
    };
    let (stream, _) = listener
        .accept()
        .await
        .map_err(|error| PortError(format!("cannot accept a connection on {address}: {error}")))?;
    Ok(keep_alive(stream))
}

async fn connect(address: &str) -> Result<Box<dyn Stream>, PortError> {
    let connecting = tokio::time::timeout(std::time::Duration::from_secs(10), TcpStream::connect(address));
    match connecting.await {
        Ok(Ok(stream)) => Ok(keep_alive(stream)),
        Ok(Err(error)) => Err(PortError(format!("{address} does not answer: {error}"))),
        Err(_) => Err(PortError(format!("{address} does not answer within 10 s"))),
    }
}

/// Small answers (ACK) go out at once, and a peer whose cable was pulled is noticed within about a minute.
fn keep_alive(stream: TcpStream) -> Box<dyn Stream> {
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
    let _ = rustix::net::sockopt::set_tcp_keepidle(&stream, std::time::Duration::from_secs(30));
    let _ = rustix::net::sockopt::set_tcp_keepintvl(&stream, std::time::Duration::from_secs(10));
    let _ = rustix::net::sockopt::set_tcp_keepcnt(&stream, 3);
    Box::new(stream)
}
