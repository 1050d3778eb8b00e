//! Certificates for brokers that ask for one and show one.

use super::home::Home;
use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Certificates for one test, as PEM files in its folder.
pub fn make_certificates(home: &Home) {
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    // Three different names: a certificate named like its issuer counts as self-signed.
    authority.distinguished_name.push(DnType::CommonName, "authority");
    authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).expect("a certificate");
    home.write("ca.pem", certificate.pem());
    let issuer = Issuer::new(authority, authority_key);
    for (name, host) in [("server", "127.0.0.1"), ("client", "gateway")] {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        home.write(&format!("{name}.pem"), params.signed_by(&key, &issuer).expect("a certificate").pem());
        home.write(&format!("{name}.key"), key.serialize_pem());
    }
}
