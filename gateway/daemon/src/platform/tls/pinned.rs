//! Trust in one public key and in nothing else. Only an encrypted proxy on the way is judged as usual, by its name.
//!
//! Invariant: the peer has proved that it holds the private key (the handshake's signature is verified with the key of the
//! certificate that was compared), so a copied certificate is worth nothing.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The name of the proxy on the way, and who judges it.
pub(super) type Proxy = (ServerName<'static>, Arc<dyn ServerCertVerifier>);

/// See the module.
#[derive(Debug)]
pub(super) struct PinnedKey {
    pin: [u8; 32],
    proxy: Option<Proxy>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The peer has another key than the one that is pinned.
#[derive(Debug, thiserror::Error)]
#[error("the receiver has the key sha256/{}, which is not the one of `pinned_key`", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, .0))]
pub(super) struct OtherKey(pub(super) [u8; 32]);

impl PinnedKey {
    pub(super) fn new(pin: [u8; 32], proxy: Option<Proxy>, provider: &CryptoProvider) -> PinnedKey {
        PinnedKey { pin, proxy, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some((_, usual)) = self.proxy.as_ref().filter(|(proxy, _)| proxy == name) {
            return usual.verify_server_cert(end_entity, intermediates, name, ocsp, now);
        }
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        let found: [u8; 32] = Sha256::digest(key.as_ref()).into();
        match found == self.pin {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::Other(OtherError(Arc::new(OtherKey(found)))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
