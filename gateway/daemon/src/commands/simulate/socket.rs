//! Where the analyzer plays: an own pseudo-terminal, a device, a connection.

use crate::commands::place;
use crate::platform::pty::{Opening, Pty};
use crate::platform::{Platform, PortError, Stream};
use gateway_core::config::{Line, Port};
use std::path::PathBuf;
use std::time::Duration;

/// Between two attempts to reach the other side.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the other side is waited for where a number of messages is to be said.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks whether the pseudo-terminal is opened.
const LOOK: Duration = Duration::from_millis(100);
/// Who opens a port sets it first, and may throw away what came before.
const SETTLING: Duration = Duration::from_millis(300);

/// The far end of the analyzer's cable.
pub struct Socket {
    place: Place,
    platform: Platform,
    /// How long the other side is waited for; `None`: until it is there.
    patience: Option<Duration>,
}

enum Place {
    Pty { link: Option<PathBuf>, first: Option<(Pty, Opening)>, name: PathBuf },
    Port { port: Port, line: Line },
}

impl Socket {
    pub fn new(text: &str, link: Option<PathBuf>, line: Line, count: Option<u64>) -> Result<Socket, String> {
        let place = match (text, link) {
            ("pty", link) => Place::Pty { link, first: None, name: PathBuf::new() },
            (_, Some(_)) => return Err("--link names a pseudo-terminal: write --port pty".to_owned()),
            (text, None) => Place::Port { port: place::port(text).map_err(|told| format!("{told}, or pty"))?, line },
        };
        Ok(Socket { place, platform: Platform::real(), patience: count.map(|_| PATIENCE) })
    }

    /// Whether what is plugged in again has another name.
    pub fn is_nameless(&self) -> bool {
        matches!(self.place, Place::Pty { link: None, .. })
    }

    /// What to write into the settings; a pseudo-terminal is made for it.
    pub fn words(&mut self) -> Result<String, PortError> {
        if let Place::Pty { link, first, name } = &mut self.place {
            let pty = new_pty(link.as_ref())?;
            *name = link.clone().unwrap_or_else(|| pty.0.path().to_owned());
            *first = Some(pty);
        }
        Ok(match &self.place {
            Place::Pty { name, .. } => format!("port: {}", place::yaml(&Port::Path(name.clone()))),
            Place::Port { port: Port::TcpConnect(address), .. } => format!("calls {address}"),
            Place::Port { port: Port::TcpListen(address), .. } => format!("waits for a call at {address}"),
            Place::Port { port, .. } => format!("at {}", place::yaml(port)),
        })
    }

    /// How long nothing is said.
    pub fn waits(&self) -> String {
        let what = match &self.place {
            Place::Pty { .. } => "waits until the pseudo-terminal is opened",
            Place::Port { port: Port::TcpConnect(_) | Port::TcpListen(_), .. } => "waits until it is connected",
            Place::Port { .. } => "waits until the port can be opened",
        };
        match self.patience {
            Some(patience) => format!("{what}, for {} s at most", patience.as_secs()),
            None => what.to_owned(),
        }
    }

    /// Opens it, and waits for the other side.
    pub async fn open(&mut self) -> Result<Box<dyn Stream>, PortError> {
        let Some(patience) = self.patience else { return self.reach().await };
        let missing = match &self.place {
            Place::Pty { name, .. } => format!("nobody has opened {}", name.display()),
            Place::Port { port: Port::TcpConnect(address), .. } => format!("nobody answers at {address}"),
            Place::Port { port: Port::TcpListen(address), .. } => format!("nobody has called {address}"),
            Place::Port { port, .. } => format!("{} could not be opened", place::yaml(port)),
        };
        let late = |_| PortError(format!("{missing} within {} s: the rest was not said", patience.as_secs()));
        tokio::time::timeout(patience, self.reach()).await.map_err(late)?
    }

    async fn reach(&mut self) -> Result<Box<dyn Stream>, PortError> {
        match &mut self.place {
            Place::Pty { link, first, .. } => {
                let (pty, opening) = match first.take() {
                    Some(made) => made,
                    None => new_pty(link.as_ref())?,
                };
                while !opening.has_happened() {
                    tokio::time::sleep(LOOK).await;
                }
                tokio::time::sleep(SETTLING).await;
                Ok(Box::new(pty))
            }
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

fn new_pty(link: Option<&PathBuf>) -> Result<(Pty, Opening), PortError> {
    let failed = |error| PortError(format!("no pseudo-terminal to be had: {error}"));
    let pty = Pty::open().map_err(failed)?;
    // Before anybody can know its name.
    let opening = pty.watch().map_err(failed)?;
    if let Some(link) = link {
        pty.link(link).map_err(|error| PortError(format!("cannot make {}: {error}", link.display())))?;
    }
    Ok((pty, opening))
}
