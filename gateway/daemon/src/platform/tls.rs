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
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
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
    /// The host of an encrypted proxy on the way: `pinned_key` is not for that one.
    pub proxy: Option<&'a str>,
}

/// The client's side of TLS 1.2 and 1.3.
pub fn client_config(identity: Identity<'_>) -> Result<ClientConfig, Reason> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let usual = || match identity.ca_file {
        Some(path) => of_file(path, &provider),
        None => of_system(&provider),
    };
    let verifier = match identity.pinned_key {
        None => usual()?,
        Some(pin) => {
            let proxy = identity.proxy.map(|host| Ok((server_name(host)?, usual()?))).transpose()?;
            Arc::new(PinnedKey::new(pin, proxy, &provider))
        }
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
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

/// For a client that never encrypts: it trusts nobody.
pub fn trusting_nobody() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for both versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

/// A host as certificates name it.
pub fn server_name(host: &str) -> Result<ServerName<'static>, Reason> {
    ServerName::try_from(host.to_owned())
        .map_err(|_| Reason::new(ReasonCode::UnknownHost, "no certificate can be made for such a host"))
}

fn of_system(provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Reason> {
    let verifier = Verifier::new(provider.clone());
    Ok(Arc::new(
        verifier
            .map_err(|error| certificate(format!("the system's certificate authorities cannot be read: {error}")))?,
    ))
}

fn of_file(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Reason> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(path)? {
        roots.add(authority).map_err(|error| certificate(format!("{}: {error}", path.display())))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    Ok(verifier.map_err(|error| certificate(format!("{}: {error}", path.display())))?)
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
