//! Addresses: what may stand in `url`, `listen` and `connect`, and which of them stay inside the machine.
//!
//! Invariant: no message quotes an address. It may carry a password or a token.

use super::group::{Field, either};
use super::{Broker, Secret};
use std::net::{IpAddr, SocketAddr};
use url::Url;

/// Results must not cross a network in plain text unless somebody has said so.
const PLAIN: &str = "would send results through the network unencrypted";

/// Of an address with zeros in front of its numbers.
pub const ZEROS: &str = "has a number with a zero in front, which programs read in different ways";

/// Whether this host is the machine itself.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether this host is in the same house, by its name alone: no proxy stands on the way to it.
pub fn is_in_house(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_private() || address.is_loopback() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Err(_) => !host.contains('.') || host.ends_with(".local"),
    }
}

/// Reads `webhooks[].url`; `mllp`: whether the dialect can go without HTTP.
pub fn webhook(field: &Field<'_>, allow_plain: bool, mllp: bool) -> Option<Url> {
    let schemes: &[&str] = if mllp { &["https", "http", "mllps", "mllp"] } else { &["https", "http"] };
    let url = request_url(field, schemes, "https://example.org/hook")?;
    let tls = matches!(url.scheme(), "https" | "mllps");
    if url.scheme().starts_with("mllp") && (!matches!(url.path(), "" | "/") || url.query().is_some()) {
        field.wrong("has something after the host", "write only `mllps://HOST:PORT`");
        return None;
    }
    if !tls && !url.host_str().is_some_and(is_loopback) && !allow_plain {
        let with_tls = if url.scheme() == "mllp" { "mllps" } else { "https" };
        field.wrong(PLAIN, &format!("write `{with_tls}://...`, or add `allow_plain: true` to this webhook"));
        return None;
    }
    Some(url)
}

/// Reads another web address; `place` is where `allow_plain` would stand. Given back without a slash at its end.
pub fn web(field: &Field<'_>, allow_plain: bool, example: &str, place: &str) -> Option<String> {
    let url = request_url(field, &["https", "http"], example)?;
    if url.scheme() == "http" && !url.host_str().is_some_and(is_loopback) && !allow_plain {
        field.wrong(PLAIN, &format!("write `https://...`, or add `allow_plain: true` under {place}"));
        return None;
    }
    Some(url.to_string().trim_end_matches('/').to_owned())
}

fn request_url(field: &Field<'_>, schemes: &[&str], example: &str) -> Option<Url> {
    let url = parsed(field, schemes, example)?;
    if url.fragment().is_some() {
        field.wrong("has a part after `#`, which is never sent", "remove it, from the `#` on");
        return None;
    }
    Some(url)
}

/// Reads `webhooks[].proxy`: none where it is `off`.
pub fn webhook_proxy(field: &Field<'_>) -> Option<Secret> {
    if field.node.as_text() == Some("off") { None } else { proxy(field) }
}

/// Reads `network.proxy`, which may hold a user name and a password.
pub fn proxy(field: &Field<'_>) -> Option<Secret> {
    let text = field.text()?;
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let good = url.is_some_and(|url| url.host_str().is_some_and(|host| !host.is_empty()) && url.path() == "/");
    if !good {
        field.wrong("is not the address of a proxy", "write `http://HOST:PORT`, with the proxy's name and port");
    }
    good.then(|| Secret::new(text))
}

/// Reads one of `sources[].origins`: what a browser sends as `Origin`.
pub fn origin(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text == "*" {
        return Some(text.to_owned());
    }
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let origin = url.map(|url| url.origin().ascii_serialization());
    // A path would make it another word than the one that the browser sends.
    let origin = origin.filter(|origin| text.trim_end_matches('/').eq_ignore_ascii_case(origin));
    if origin.is_none() {
        let suggestion = "write `https://app.example`, with the page's host and nothing after it, or `*` for any page";
        field.wrong("is not the origin of a web page", suggestion);
    }
    origin
}

/// Reads `http.listen`; the inner `None` is `off`.
pub fn http_listen(field: &Field<'_>, allow_plain: bool) -> Option<Option<String>> {
    let text = field.text()?;
    if text == "off" {
        return Some(None);
    }
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    let Some(address) = address else {
        field.wrong(
            "must be an IP address of this box and a port, or off",
            "write `127.0.0.1:8080` for this box alone, or `0.0.0.0:8080` for the network",
        );
        return None;
    };
    if !address.ip().is_loopback() && !allow_plain {
        let suggestion =
            "write `127.0.0.1:8080` and put a web server with https before it, or add `allow_plain: true` under http";
        field.wrong("would serve results to the network unencrypted", suggestion);
        return None;
    }
    Some(Some(address.to_string()))
}

/// Reads `mqtt.url`.
pub fn broker(field: &Field<'_>, allow_plain: bool) -> Option<Broker> {
    match field.text()? {
        "embedded" => return Some(Broker::Embedded),
        "mosquitto" => return Some(Broker::Mosquitto),
        _ => {}
    }
    let example = match section(field) {
        "sparkplug" => "mqtts://scada.example:8883",
        _ => "mqtts://broker.example:8883",
    };
    let url = parsed(field, &["mqtts", "mqtt"], example)?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        field.wrong("has something after the host", "write only `mqtts://HOST:PORT`");
        return None;
    }
    let tls = url.scheme() == "mqtts";
    let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    if !tls && !is_loopback(&host) && !allow_plain {
        let section = section(field);
        field.wrong(PLAIN, &format!("write `mqtts://...`, or add `allow_plain: true` under {section}"));
        return None;
    }
    let port = url.port().unwrap_or(if tls { 8883 } else { 1883 });
    Some(Broker::Url { host, port, tls })
}

/// Reads `tcp.listen`: an address of this machine and a port.
pub fn listen(field: &Field<'_>) -> Option<String> {
    let address = field.text()?.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    if address.is_none() {
        field.wrong("must be an IP address of this box and a port", "write `0.0.0.0:5600`, with the port you want");
    }
    address.map(|address| address.to_string())
}

/// Reads `tcp.connect`: a host and a port.
pub fn connect(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        if without_zeros(host).is_some() {
            return false;
        }
        let named = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        (named || text.parse::<SocketAddr>().is_ok()) && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if !good {
        field.wrong("must be a host and a port", "write `192.168.1.20:4001`, with the analyzer's address and port");
    }
    good.then(|| text.to_lowercase())
}

/// The group that an address stands in: `mqtt`.
fn section<'f>(field: &'f Field<'_>) -> &'f str {
    field.path.split(['.', '[']).next().unwrap_or_default()
}

/// An address of IPv4 in which numbers have zeros in front (`192.168.001.020`), without those. Some programs read such numbers
/// as octal (inet(3)): then it is another machine's.
pub fn without_zeros(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let has_zero = parts.iter().any(|part| part.len() > 1 && part.starts_with('0'));
    let plain = |part: &&str| match part.trim_start_matches('0') {
        "" => "0".to_owned(),
        rest => rest.to_owned(),
    };
    (parts.len() == 4 && has_zero && parts.iter().all(is_number))
        .then(|| parts.iter().map(plain).collect::<Vec<_>>().join("."))
}

/// What to do with a user and a password in an address.
fn login_elsewhere(field: &Field<'_>, schemes: &[&str]) -> String {
    let text = match (section(field), field.path.rsplit('.').next().unwrap_or_default()) {
        (section, _) if schemes.contains(&"mqtt") => {
            return format!("write them as `user` and `password` under {section}");
        }
        ("registrations", _) => "remove them; who asks is told by `lab_id_token`",
        ("telemetry", _) => "remove them; who sends is told by `otlp_token`",
        ("update", _) => {
            "remove them, and serve the bundle to whoever asks: it is signed, and holds nothing that is secret"
        }
        ("http", _) => "remove them",
        _ => "write them as an `authorization` header under `headers`",
    };
    text.to_owned()
}

fn parsed(field: &Field<'_>, schemes: &[&str], example: &str) -> Option<Url> {
    let text = field.text()?;
    if text.contains(char::is_whitespace) {
        field.wrong("has a blank in it", "remove the blank; within an address it would be written `%20`");
        return None;
    }
    let starts: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
    let starts: Vec<&str> = starts.iter().map(String::as_str).collect();
    let lower = text.to_lowercase();
    if !starts.iter().any(|start| lower.starts_with(start)) {
        field.wrong(&format!("must begin with {}", either(&starts)), &format!("write an address such as `{example}`"));
        return None;
    }
    let url = Url::parse(text).ok().filter(|url| url.host_str().is_some_and(|host| !host.is_empty()));
    let Some(url) = url else {
        field.wrong("is not a valid address", &format!("write an address such as `{example}`"));
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        let suggestion = login_elsewhere(field, schemes);
        field.wrong("holds a user name or a password, which would show up in logs", &suggestion);
        return None;
    }
    let host = text.split_once("://").and_then(|(_, rest)| rest.split([':', '/', '?', '#']).next());
    if host.is_some_and(|host| host.contains(|c: char| !c.is_ascii() && !c.is_alphanumeric())) {
        let suggestion = "type the name again by hand: a word processor has put a long dash or a curly quote there";
        field.wrong("has a character in its host that no host has", suggestion);
        return None;
    }
    if host.and_then(without_zeros).is_some() {
        field
            .wrong(ZEROS, "write the address without zeros in front of its numbers: 192.168.1.20, not 192.168.001.020");
        return None;
    }
    Some(url)
}
