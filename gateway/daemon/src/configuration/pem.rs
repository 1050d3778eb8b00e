//! What is in a file that must hold certificates or a key.
//!
//! Invariant: nothing of the file is quoted.

use crate::platform::plain;
use gateway_core::config::{Pem, Unfit};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::io::{ErrorKind, Read};
use std::path::Path;
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// All authorities of a system are a quarter of it.
const BYTES_MAX: u64 = 1 << 20;

type Fit = Result<(), Unfit>;

fn unfit<T>(problem: &'static str, suggestion: &'static str) -> Result<T, Unfit> {
    Err(Unfit { problem, suggestion })
}

/// Whether there is such a file, which whoever runs this may read.
pub fn file(path: &Path) -> Fit {
    read(path, 0).map(drop)
}

/// The first bytes of it.
fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Unfit> {
    let mut bytes = Vec::new();
    match plain::open(path).and_then(|file| file.take(bytes_max).read_to_end(&mut bytes)) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            unfit("is not a plain file", "write the path of the file itself")
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => unfit(
            "there may be such a file, but who runs this may not read it",
            "run this as root; the gateway needs the right too: `chgrp analyzer-gateway` and `chmod 640`",
        ),
        Err(error) if error.kind() == ErrorKind::IsADirectory => {
            unfit("is a folder, not a file", "write the path of the file in it")
        }
        Err(_) => unfit("there is no such file", "write the path of a file that is there"),
    }
}

/// Whether the file holds this.
pub fn fits(path: &Path, holds: Pem) -> Fit {
    let bytes = read(path, BYTES_MAX)?;
    match holds {
        Pem::Certificates => certificates(&bytes).map(drop),
        Pem::Key => key(&bytes).map(drop),
    }
}

fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unfit> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let is_whole = |list: &Vec<CertificateDer<'_>>| list.iter().all(|one| Certificate::from_der(one).is_ok());
    match found {
        Ok(list) if list.is_empty() => no_certificate(bytes),
        Ok(list) if is_whole(&list) => Ok(list),
        _ => unfit("the certificate in this file is damaged", "copy the file again, as it was made"),
    }
}

fn no_certificate<T>(bytes: &[u8]) -> Result<T, Unfit> {
    let text = String::from_utf8_lossy(bytes);
    if text.contains("BEGIN CERTIFICATE REQUEST") || text.contains("BEGIN NEW CERTIFICATE REQUEST") {
        let problem = "this file holds a request for a certificate, not the certificate";
        return unfit(problem, "name the file that the authority has sent back");
    }
    if text.contains("PRIVATE KEY-----") {
        let problem = "this file holds a private key where the certificate belongs";
        return unfit(problem, "name the file of the certificate here");
    }
    if Certificate::from_der(bytes).is_ok() {
        let problem = "this file holds a certificate in binary form (DER), not as text (PEM)";
        return unfit(problem, "write it anew: `openssl x509 -inform der -in OLD -out NEW`, and name the new file");
    }
    if is_binary(bytes) {
        let suggestion = "of a .pfx or .p12 take `openssl pkcs12 -nokeys -in OLD -out NEW`, and name the new file";
        return unfit("this file is no certificate as text (PEM)", suggestion);
    }
    unfit("this file holds no certificate", "name a PEM file; it has a line `-----BEGIN CERTIFICATE-----`")
}

fn key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Unfit> {
    let text = String::from_utf8_lossy(bytes);
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        let suggestion = "write it anew without: `openssl pkey -in OLD -out NEW`, and name the new file";
        return unfit("the key in this file is locked with a password, which nobody types in at a box", suggestion);
    }
    let marked = ["BEGIN PRIVATE KEY", "BEGIN RSA PRIVATE KEY", "BEGIN EC PRIVATE KEY"];
    match PrivateKeyDer::from_pem_slice(bytes) {
        Ok(key) => Ok(key),
        Err(_) if marked.iter().any(|mark| text.contains(mark)) => {
            unfit("the key in this file is damaged", "copy the file again, as it was made")
        }
        Err(_) => no_key(&text, bytes),
    }
}

fn no_key<T>(text: &str, bytes: &[u8]) -> Result<T, Unfit> {
    if text.contains("BEGIN OPENSSH PRIVATE KEY") {
        return unfit("this file holds a key for ssh", "name the key that belongs to the certificate");
    }
    if text.contains("BEGIN CERTIFICATE-----") {
        let problem = "this file holds a certificate where the private key belongs";
        return unfit(problem, "name the file of the key here");
    }
    if text.contains("BEGIN PUBLIC KEY") {
        let problem = "this file holds the public key where the private one belongs";
        return unfit(problem, "name the file of the private key here");
    }
    if is_binary(bytes) {
        let suggestion =
            "of a .pfx or .p12 take `openssl pkcs12 -nocerts -nodes -in OLD -out NEW`, and name the new file";
        return unfit("this file is no key as text (PEM)", suggestion);
    }
    unfit("this file holds no private key", "name a PEM file; it has a line `-----BEGIN PRIVATE KEY-----`")
}

fn is_binary(bytes: &[u8]) -> bool {
    bytes.iter().take(64).any(|byte| *byte != b'\t' && byte.is_ascii_control() && !byte.is_ascii_whitespace())
}

/// Whether the first certificate was made for the key; also for keys of a kind that cannot be told here (RFC 5280, 4.1.2.7).
pub fn is_pair(certificate: &Path, key_file: &Path) -> bool {
    let read = |path: &Path| read(path, BYTES_MAX).ok();
    let chain = read(certificate).and_then(|bytes| certificates(&bytes).ok());
    let key = read(key_file).and_then(|bytes| key(&bytes).ok());
    let (Some(chain), Some(key)) = (chain, key) else { return true };
    let Ok(key) = default_provider().key_provider.load_private_key(key) else { return true };
    let mismatch = rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch);
    CertifiedKey::new(chain, key).keys_match() != Err(mismatch)
}
