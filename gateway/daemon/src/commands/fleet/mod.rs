//! `fleet`: many gateways at one broker, for those who look after them: `watch` says which need a person, `simulate` plays a
//! fleet to size a broker with.

mod simulate;
mod table;
mod watch;

use crate::platform::listening::BrokerAt;
use gateway_core::config::is_loopback;
use gateway_core::dialects::Secret;
use std::io::Write;
use std::path::PathBuf;

/// Nobody could be reached.
const EXIT_UNREACHABLE: u8 = 3;

#[derive(Debug, clap::Subcommand)]
pub enum Fleet {
    /// Which gateways need a person, and why; exits 0 if none does, 1 if some do, 3 if the broker cannot be reached
    Watch(watch::Args),
    /// Play a fleet of gateways, to size a broker or to see `fleet watch` at work
    Simulate(simulate::Args),
}

/// The broker that the gateways' `monitoring.url` names.
#[derive(Debug, Clone, clap::Args)]
pub struct At {
    /// The broker: mqtts://host:8883 or mqtt://host:1883
    #[arg(long, value_name = "URL")]
    url: String,
    /// First part of every topic, as in monitoring.topic_prefix
    #[arg(long, value_name = "WORD", default_value = "analyzer-gateway")]
    prefix: String,
    /// The user name at the broker
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A file that holds that user's password on its first line
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// Who signed the broker's certificate (PEM), if it is no public authority
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The certificate to show the broker (PEM)
    #[arg(long, value_name = "FILE", requires = "key_file")]
    certificate_file: Option<PathBuf>,
    /// The key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate_file")]
    key_file: Option<PathBuf>,
    /// Speak without encryption to a broker on another machine
    #[arg(long)]
    allow_plain: bool,
}

impl At {
    /// The error is a sentence; it does not quote the address, which may hold a password.
    fn broker(&self) -> Result<BrokerAt, String> {
        let url = url::Url::parse(&self.url).map_err(|_| "--url: write mqtts://HOST:8883".to_owned())?;
        let tls = match url.scheme() {
            "mqtts" => true,
            "mqtt" => false,
            _ => {
                return Err("--url: write mqtts://HOST:8883, or mqtt://HOST:1883 for one without encryption".to_owned());
            }
        };
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return Err("--url: names no host".to_owned());
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("--url: holds a user or a password: use --user and --password-file".to_owned());
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err("--url: has something after the host: write only mqtts://HOST:PORT".to_owned());
        }
        if !tls && !is_loopback(host) && !self.allow_plain {
            return Err(
                "--url: would go through the network unencrypted: write mqtts://, or add --allow-plain".to_owned()
            );
        }
        if self.prefix.is_empty() || self.prefix.contains(['+', '#', '\0']) {
            return Err("--prefix: must be a topic without + and #".to_owned());
        }
        Ok(BrokerAt {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: url.port().unwrap_or(if tls { 8883 } else { 1883 }),
            tls,
            user: self.user.clone(),
            password: self.password()?,
            ca_file: self.ca_file.clone(),
            certificate_file: self.certificate_file.clone(),
            key_file: self.key_file.clone(),
        })
    }

    fn password(&self) -> Result<Option<Secret>, String> {
        let Some(path) = &self.password_file else { return Ok(None) };
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let line = text.lines().next().unwrap_or_default().trim_end();
        Ok(Some(Secret::new(line)))
    }
}

/// Runs the command; see [`Fleet`] for its exit status.
pub fn run(command: Fleet, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match command {
        Fleet::Watch(args) => watch::run(args, out, err),
        Fleet::Simulate(args) => simulate::run(args, out, err),
    }
}

/// A duration such as 500ms, 10s or 2m.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    gateway_core::config::duration::parse(text).ok_or_else(|| "write it as 500ms, 10s or 2m".to_owned())
}

/// When somebody asks the process to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).ok();
    let terminated = async {
        match &mut terminate {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
