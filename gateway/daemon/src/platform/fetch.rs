//! A large file from a web server, in pieces: what is there already is not fetched again, and one look at its end is enough to
//! know what it is.
//!
//! Invariants: no more is written than the server has said and the bound allows; what was fetched of another file is not
//! continued; a connection that stands still ends.

use super::http::find_io;
use super::tls::{Identity, client_config, trusting_nobody};
use reqwest::header::{CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Client, Response, StatusCode};
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

/// For a connection, and between two pieces of an answer.
const STILL_SECONDS_MAX: u64 = 30;
/// Tries in a row that bring nothing.
const TRIES_MAX: u32 = 5;

/// The server's file.
pub struct Fetch {
    client: Client,
    url: String,
    bytes_max: u64,
}

/// What the server says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub bytes: u64,
    /// Whether parts of it can be had.
    pub in_parts: bool,
    /// Changes when the file does.
    mark: Option<String>,
}

impl Fetch {
    /// `proxy`: the way to the server, if it is not a straight one. The error is a sentence.
    pub fn new(url: &str, proxy: Option<&str>, bytes_max: u64) -> Result<Fetch, String> {
        let encrypted = url.starts_with("https:") || proxy.is_some_and(|proxy| proxy.starts_with("https:"));
        let tls = if encrypted { client_config(Identity::default()) } else { Ok(trusting_nobody()) };
        let tls = tls.map_err(|reason| reason.detail)?;
        let patience = Duration::from_secs(STILL_SECONDS_MAX);
        let builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(patience)
            .read_timeout(patience)
            .user_agent(concat!("analyzer-gateway/", env!("CARGO_PKG_VERSION")));
        let builder = match proxy {
            // An error here could quote the password.
            Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy).map_err(|_| "the proxy's address cannot be used")?),
            None => builder.no_proxy(),
        };
        let client = builder.build().map_err(|_| "the way to the server cannot be made")?;
        Ok(Fetch { client, url: url.to_owned(), bytes_max })
    }

    /// Asks how large the file is.
    pub async fn offer(&self) -> Result<Offer, String> {
        let answer =
            self.client.get(&self.url).header(RANGE, "bytes=0-0").send().await.map_err(|error| told(&error))?;
        let in_parts = answer.status() == StatusCode::PARTIAL_CONTENT;
        let whole =
            answer.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()?.rsplit('/').next()?.parse().ok());
        let bytes = if in_parts { whole } else { answer.content_length() };
        good(&answer)?;
        let mark = [ETAG, LAST_MODIFIED].iter().find_map(|name| answer.headers().get(name)?.to_str().ok());
        // A weak mark does not vouch for the bytes (RFC 9110 section 13.1.5).
        let mark = mark.filter(|mark| !mark.starts_with("W/")).map(str::to_owned);
        let bytes = bytes.ok_or("the server does not say how large the bundle is: put it on another one")?;
        if bytes == 0 || bytes > self.bytes_max {
            let (has, most) = (bytes >> 20, self.bytes_max >> 20);
            return Err(format!(
                "what is at the address has {has} MiB and a bundle has at most {most}: check the address"
            ));
        }
        Ok(Offer { bytes, in_parts, mark })
    }

    /// Makes a file of the offer's length in which only the last `bytes` are filled.
    pub async fn end_of(&self, offer: &Offer, bytes: u64, path: &Path) -> Result<(), String> {
        let from = offer.bytes.saturating_sub(bytes);
        let mut file = File::create(path).map_err(|error| unwritten(path, &error))?;
        file.set_len(offer.bytes).map_err(|error| unwritten(path, &error))?;
        Ok(self.piece(offer, from, &mut file, path, &mut |_| {}).await.map(|_| ())?)
    }

    /// Fetches all of it, going on where an earlier try has ended. `progress` is told the per cent that is there.
    pub async fn all(&self, offer: &Offer, path: &Path, progress: &mut dyn FnMut(u8)) -> Result<(), String> {
        let beside = path.with_extension("mark");
        let mark = format!("{}\n{}\n{}\n", self.url, offer.bytes, offer.mark.as_deref().unwrap_or_default());
        let same = offer.mark.is_some() && fs::read_to_string(&beside).is_ok_and(|kept| kept == mark);
        if !same || !offer.in_parts {
            let _ = fs::remove_file(path);
        }
        fs::write(&beside, &mark).map_err(|error| unwritten(&beside, &error))?;
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(path);
        let mut file = open.map_err(|error| unwritten(path, &error))?;
        let mut tries = 0;
        loop {
            let had = file.metadata().map_err(|error| unwritten(path, &error))?.len();
            if had == offer.bytes {
                return file.sync_all().map_err(|error| unwritten(path, &error));
            }
            let from = if offer.in_parts && had < offer.bytes { had } else { 0 };
            let mut seen = |at: u64| progress(u8::try_from(at * 100 / offer.bytes.max(1)).unwrap_or(100));
            match self.piece(offer, from, &mut file, path, &mut seen).await {
                Ok(_) => {}
                Err(Cut::Final(why)) => return Err(why),
                Err(Cut::Passing(why)) => {
                    let has = file.metadata().map_or(had, |data| data.len());
                    tries = if has > had { 0 } else { tries + 1 };
                    if tries == TRIES_MAX {
                        return Err(why);
                    }
                    tokio::time::sleep(Duration::from_secs(1 << tries)).await;
                }
            }
        }
    }

    /// From this byte to the end.
    async fn piece(
        &self,
        offer: &Offer,
        from: u64,
        file: &mut File,
        path: &Path,
        seen: &mut dyn FnMut(u64),
    ) -> Result<u64, Cut> {
        let mut request = self.client.get(&self.url);
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
            if let Some(mark) = &offer.mark {
                request = request.header(IF_RANGE, mark);
            }
        }
        let mut answer = request.send().await.map_err(|error| Cut::Passing(told(&error)))?;
        good(&answer)
            .map_err(|why| if answer.status().is_server_error() { Cut::Passing(why) } else { Cut::Final(why) })?;
        if from > 0 && answer.status() != StatusCode::PARTIAL_CONTENT {
            return Err(Cut::Final(
                "the bundle at the address was exchanged while it was fetched: try again".to_owned(),
            ));
        }
        let mut at = from;
        let unwritten = |error: std::io::Error| Cut::Final(unwritten(path, &error));
        file.seek(SeekFrom::Start(at)).map_err(unwritten)?;
        while let Some(piece) = answer.chunk().await.map_err(|error| Cut::Passing(told(&error)))? {
            at += piece.len() as u64;
            if at > offer.bytes {
                return Err(Cut::Final("the server sends more than it has said: try again".to_owned()));
            }
            file.write_all(&piece).map_err(unwritten)?;
            seen(at);
        }
        match at == offer.bytes {
            true => Ok(at),
            false => Err(Cut::Passing("the server broke off in the middle of the bundle".to_owned())),
        }
    }
}

/// Why a piece is not whole.
enum Cut {
    /// Trying again may help.
    Passing(String),
    Final(String),
}

impl From<Cut> for String {
    fn from(cut: Cut) -> String {
        match cut {
            Cut::Passing(why) | Cut::Final(why) => why,
        }
    }
}

fn good(answer: &Response) -> Result<(), String> {
    match answer.status() {
        status if status.is_success() => Ok(()),
        StatusCode::NOT_FOUND => Err("there is nothing at the address (404): check it".to_owned()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err("the server lets this box not in: ask who runs it".to_owned())
        }
        status => Err(format!("the server answers {}: try again later", status.as_u16())),
    }
}

fn unwritten(path: &Path, error: &std::io::Error) -> String {
    gateway_core::appliance::update::why(&format!("cannot write {}: {error}", path.display()))
}

/// The address is the settings' own and may hold a password: it is not told.
fn told(error: &reqwest::Error) -> String {
    let what = match find_io(error) {
        Some(io) => io.to_string(),
        None if error.is_timeout() => "nothing came for half a minute".to_owned(),
        None if error.is_connect() => "no connection".to_owned(),
        None => "the connection broke".to_owned(),
    };
    format!("the server of updates is not reached ({what}): check network and address; updates also come on a stick")
}
