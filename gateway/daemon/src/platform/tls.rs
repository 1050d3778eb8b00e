//! TLS towards brokers and webhooks: the system's authorities, or only those of a file, or only one key; a client
//! certificate if asked.

mod facts;
mod pinned;
mod words;

pub(super) use facts::facts;
pub(super) use words::explain;

use gateway_core::delivery::{Reason, ReasonCode};
use pinned::PinnedKey;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use std::path::Path;
use std::sync::Arc;

/// Whom to trust and who we are. All paths are PEM files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identity<'a> {
    pub ca_file: Option<&'a Path>,
    pub certificate_file: Option<&'a Path>,
    pub key_file: Option<&'a Path>,
    /// SHA-256 of the peer's SubjectPublicKeyInfo (RFC 5280 section 4.1): then nothing else counts, neither authorities nor
    /// names nor dates, so that it also holds on a box without a clock.
    pub pinned_key: Option<[u8; 32]>,
}

/// The client's side of TLS 1.2 and 1.3.
pub fn client_config(identity: Identity<'_>) -> Result<ClientConfig, Reason> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> =
        match (identity.pinned_key, identity.ca_file) {
            (Some(pin), _) => Arc::new(PinnedKey::new(pin, &provider)),
            (None, Some(path)) => of_file(path, &provider)?,
            (None, None) => Arc::new(Verifier::new(provider.clone()).map_err(|error| {
                certificate(format!("the system's certificate authorities cannot be read: {error}"))
            })?),
        };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| certificate(format!("TLS cannot start: {error}")))?;
    let trusting = builder.dangerous().with_custom_certificate_verifier(verifier);
    match (identity.certificate_file, identity.key_file) {
        (Some(certificate_file), Some(key_file)) => {
            let chain = certificates(certificate_file)?;
            let key = PrivateKeyDer::from_pem_file(key_file)
                .map_err(|error| certificate(format!("{}: no private key: {error}", key_file.display())))?;
            trusting
                .with_client_auth_cert(chain, key)
                .map_err(|error| certificate(format!("{}: {error}", certificate_file.display())))
        }
        _ => Ok(trusting.with_no_client_auth()),
    }
}

fn of_file(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Reason> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(path)? {
        roots.add(authority).map_err(|error| certificate(format!("{}: {error}", path.display())))?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| certificate(format!("{}: {error}", path.display())))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Reason> {
    let unreadable = |error| certificate(format!("{}: no certificate: {error}", path.display()));
    let list: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect();
    let list = list.map_err(unreadable)?;
    if list.is_empty() {
        return Err(certificate(format!("{}: holds no certificate", path.display())));
    }
    Ok(list)
}

fn certificate(detail: String) -> Reason {
    Reason::new(ReasonCode::Certificate, detail)
}
