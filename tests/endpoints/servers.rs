//! Receivers that do exactly what a test says, with or without TLS, and the certificates for them.

use gateway_core::config::Webhook;
use gateway_core::delivery::ReasonCode;
use gateway_core::dialects::{HttpRequest, Request, Response};
use gateway_daemon::platform::http::WebhookClient;
use gateway_daemon::platform::{HttpClient, SendError, Stream};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Nothing that is awaited here takes longer on the slowest machine that builds this.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A connection, encrypted or not.
pub type Peer = Box<dyn Stream>;

/// A receiver on a port of this machine. It and its connections end with it.
pub struct Server {
    pub port: u16,
    connections: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

/// What a receiver's script can see and write down.
#[derive(Clone)]
pub struct Notes {
    /// The number of this connection, from 1.
    pub connection: usize,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Notes {
    pub fn hear(&self, what: impl Into<String>) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
    }
}

impl Server {
    /// Takes connections and treats each as the script says.
    pub async fn start<F, Fut>(tls: Option<ServerConfig>, script: F) -> Server
    where
        F: Fn(Peer, Notes) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("a bound address").port();
        let (connections, heard) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (count, kept) = (connections.clone(), heard.clone());
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let notes = Notes { connection: count.fetch_add(1, Ordering::SeqCst) + 1, heard: kept.clone() };
                let talking = match &acceptor {
                    Some(acceptor) => {
                        let (shaking, script) = (acceptor.accept(tcp), &script);
                        // A client that breaks off a handshake is what some tests want.
                        let Ok(stream) = shaking.await else { continue };
                        script(Box::new(stream), notes)
                    }
                    None => script(Box::new(tcp), notes),
                };
                open.spawn(async move {
                    // A peer that breaks off is the peer's business.
                    let _ = talking.await;
                });
            }
        });
        Server { port, connections, heard, _tasks: tasks }
    }

    /// Answers every request with these bytes, and keeps the connection.
    pub async fn answering(tls: Option<ServerConfig>, answer: &'static [u8]) -> Server {
        Server::start(tls, move |mut peer, notes| async move {
            while let Some(request) = read_request(&mut peer).await? {
                notes.hear(request);
                peer.write_all(answer).await?;
                peer.flush().await?;
            }
            Ok(())
        })
        .await
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Says yes.
pub const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// One request with its body; `None` at the end of the connection.
pub async fn read_request(peer: &mut Peer) -> std::io::Result<Option<String>> {
    let mut read = Vec::new();
    loop {
        if peer.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let mut lengths = head.lines().filter_map(|line| line.strip_prefix("content-length: "));
        let length: usize = lengths.next_back().map_or(0, |length| length.parse().expect("a number"));
        if body.len() >= length {
            return Ok(Some(text));
        }
    }
}

/// Sends one request by this client.
pub async fn send_by(client: &WebhookClient, webhook: &Webhook) -> Result<Response, SendError> {
    let headers = vec![("x-mark".to_owned(), "m1".to_owned())];
    let request = Request::Http(HttpRequest { headers, body: b"{}".to_vec() });
    tokio::time::timeout(DEADLINE, client.send(webhook, request)).await.expect("it ends")
}

pub async fn send(webhook: &Webhook) -> Result<Response, SendError> {
    send_by(&WebhookClient::default(), webhook).await
}

/// The class, the code and the words of a failure.
pub fn failure(sent: Result<Response, SendError>) -> (&'static str, ReasonCode, String) {
    let error = sent.expect_err("there is no answer");
    let class = match &error {
        SendError::NoNetwork(_) => "no network",
        SendError::Passing(_) => "passing",
        SendError::Configuration(_) => "configuration",
    };
    (class, error.reason().code, error.reason().detail.clone())
}

/// An authority of our own and what it has signed, in a folder of its own.
pub struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
pub struct Signed {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    /// SHA-256 of the public key, as it is pinned.
    pub pin: [u8; 32],
    /// The PEM files of both.
    pub files: (PathBuf, PathBuf),
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("a folder of our own");
        Authority { folder, issuer }
    }

    /// `ca_file`
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for this name, valid between these days.
    pub fn sign(&self, name: &str, from: (i32, u8, u8), to: (i32, u8, u8)) -> Signed {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let pin = sha256(&key.subject_public_key_info());
        let files = ["pem", "key"].map(|kind| self.folder.path().join(format!("{name}-{}.{kind}", to.0)));
        std::fs::write(&files[0], certificate.pem()).expect("a folder of our own");
        std::fs::write(&files[1], key.serialize_pem()).expect("a folder of our own");
        let [certificate_file, key_file] = files;
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("a key");
        Signed { chain: vec![certificate.der().clone()], key, pin, files: (certificate_file, key_file) }
    }

    /// A certificate that is good for years.
    pub fn good(&self, name: &str) -> Signed {
        self.sign(name, (2020, 1, 1), (2120, 1, 1))
    }

    /// The server's side of TLS; with `clients`, only for clients with a certificate of that authority.
    pub fn server(&self, signed: &Signed, clients: Option<&Authority>) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.expect("ring knows them");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.issuer.der().clone()).expect("an authority");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("an authority"))
            }
        };
        builder.with_single_cert(signed.chain.clone(), signed.key.clone_key()).expect("a key of its own")
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}
