//! Where the analyzer plays: an own pseudo-terminal, a device, a connection.

use crate::commands::place;
use crate::platform::pty::Pty;
use crate::platform::{Platform, PortError, Stream};
use gateway_core::config::{Line, Port};
use std::path::PathBuf;
use std::time::Duration;

/// Between two attempts to reach the other side.
const PAUSE: Duration = Duration::from_secs(1);

/// The far end of the analyzer's cable.
pub struct Socket {
    place: Place,
    platform: Platform,
}

enum Place {
    Pty { link: Option<PathBuf>, first: Option<Pty>, name: PathBuf },
    Port { port: Port, line: Line },
}

impl Socket {
    pub fn new(text: &str, link: Option<PathBuf>, line: Line) -> Result<Socket, String> {
        let place = match (text, link) {
            ("pty", link) => Place::Pty { link, first: None, name: PathBuf::new() },
            (_, Some(_)) => return Err("--link names a pseudo-terminal: write --port pty".to_owned()),
            (text, None) => Place::Port { port: place::port(text).map_err(|told| format!("{told}, or pty"))?, line },
        };
        Ok(Socket { place, platform: Platform::real() })
    }

    /// Whether what is plugged in again has another name.
    pub fn is_nameless(&self) -> bool {
        matches!(self.place, Place::Pty { link: None, .. })
    }

    /// What to write into the settings; a pseudo-terminal is made for it.
    pub fn words(&mut self) -> Result<String, PortError> {
        if let Place::Pty { link, first, name } = &mut self.place {
            let pty = new_pty(link.as_ref())?;
            *name = link.clone().unwrap_or_else(|| pty.path().to_owned());
            *first = Some(pty);
        }
        Ok(match &self.place {
            Place::Pty { name, .. } => format!("port: {}", place::yaml(&Port::Path(name.clone()))),
            Place::Port { port: Port::TcpConnect(address), .. } => format!("calls {address}"),
            Place::Port { port: Port::TcpListen(address), .. } => format!("waits for a call at {address}"),
            Place::Port { port, .. } => format!("at {}", place::yaml(port)),
        })
    }

    /// Opens it, and waits for the other side where there is one.
    pub async fn open(&mut self) -> Result<Box<dyn Stream>, PortError> {
        match &mut self.place {
            Place::Pty { link, first, .. } => Ok(Box::new(match first.take() {
                Some(pty) => pty,
                None => new_pty(link.as_ref())?,
            })),
            Place::Port { port: port @ Port::TcpConnect(_), line } => loop {
                match self.platform.serial.open(port, line).await {
                    Ok(stream) => return Ok(stream),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            },
            Place::Port { port, line } => self.platform.serial.open(port, line).await,
        }
    }
}

fn new_pty(link: Option<&PathBuf>) -> Result<Pty, PortError> {
    let pty = Pty::open().map_err(|error| PortError(format!("no pseudo-terminal to be had: {error}")))?;
    if let Some(link) = link {
        pty.link(link).map_err(|error| PortError(format!("cannot make {}: {error}", link.display())))?;
    }
    Ok(pty)
}
