//! From where a request comes, and by which name it calls the gateway.
//!
//! Invariant: what a browser sends by itself (a cookie) counts only under a name that is the gateway's own, so that a page of
//! somebody else, whose name was made to mean this box (DNS rebinding), can do nothing here.

use super::Api;
use super::problem::Problem;
use crate::platform::Peer;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Who calls.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    pub address: IpAddr,
    /// The browser speaks https with a proxy before the gateway.
    pub is_https: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        let peer = parts.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.0);
        // Only a proxy on this box is believed; it adds the last one.
        let told = text(&parts.headers, "x-forwarded-for").filter(|_| peer.is_loopback());
        let told = told.and_then(|list| list.rsplit(',').next()?.trim().parse().ok());
        let is_https = text(&parts.headers, "x-forwarded-proto").is_some_and(|word| word.eq_ignore_ascii_case("https"));
        Ok(Caller { address: told.unwrap_or(peer), is_https })
    }
}

/// The request calls the gateway by a name of its own; else 421.
pub struct Host;

impl FromRequestParts<Arc<Api>> for Host {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Host, Problem> {
        api.check_host(&parts.headers).map(|()| Host)
    }
}

impl Api {
    /// Addresses are never somebody else's name. Of names there are the box's own, alone and with `.local`, the gateway's id
    /// likewise, `localhost`, and that of `http.public_url`.
    pub fn check_host(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let host = text(headers, header::HOST.as_str()).unwrap_or_default();
        let public = self.config.http.public_url.as_deref().and_then(|url| url::Url::parse(url).ok());
        let public = public.and_then(|url| url.host_str().map(str::to_owned));
        let own = self.platform.machine.host_name();
        let names = [own, Some(self.config.gateway.id.clone())];
        if is_own(host, public.as_deref(), &names.into_iter().flatten().collect::<Vec<_>>()) {
            return Ok(());
        }
        let detail = "the page is not known by this name: use the box's address or its own name, or write the name that you \
                      use as http.public_url into the settings";
        Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail))
    }
}

fn is_own(host: &str, public: Option<&str>, names: &[String]) -> bool {
    // `[::1]:8080`, `10.0.0.7:8080`, `box.local`
    let name = match host.strip_prefix('[') {
        Some(rest) => return rest.split(']').next().is_some_and(|address| address.parse::<IpAddr>().is_ok()),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    if name.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let alone = name.strip_suffix(".local").unwrap_or(&name);
    let is_ours = |own: &String| own.eq_ignore_ascii_case(&name) || own.eq_ignore_ascii_case(alone);
    name == "localhost" || public == Some(name.as_str()) || (!name.is_empty() && names.iter().any(is_ours))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_boxs_own_names_are_taken() {
        let names = ["raspberrypi".to_owned(), "clinic-7".to_owned()];
        let own = |host: &str| is_own(host, Some("gateway.clinic.example"), &names);
        let good = ["10.0.0.7", "10.0.0.7:8080", "[::1]:80", "[fe80::1]", "localhost:8080", "RaspberryPi.local:80"];
        for host in good.into_iter().chain(["clinic-7", "clinic-7.local.", "gateway.clinic.example"]) {
            assert!(own(host), "{host}");
        }
        let bad = ["", ":80", "evil.example", "raspberrypi.evil.example", "10.0.0.7.evil.example", "[evil.example]"];
        for host in
            bad.into_iter().chain(["local", ".local", "localhost.evil.example", "raspberrypi.local.evil.example"])
        {
            assert!(!own(host), "{host}");
        }
    }
}
