//! `mqtt:` and `webhooks:`

use super::{own_id, secrets};
use crate::config::group::{Field, Group};
use crate::config::{
    Broker, DatedSecret, Endpoint, Filter, Gateway, Http, Mqtt, Place, Value, Webhook, address, defaults, file,
};
use crate::delivery::RetryReading;
use crate::dialects::{DIALECTS, Dialect, Secret};
use crate::event::EventName;
use std::collections::BTreeMap;
use std::time::Duration;

/// Headers that the gateway or HTTP itself sets.
const OWN_HEADERS: [&str; 6] =
    ["host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent"];
/// The longest delay that a retry table may hold.
const DELAY_MAX: Duration = Duration::from_secs(30 * 86_400);
/// How many attempts a retry table may have.
const ATTEMPTS_MAX: usize = 100;

pub fn mqtt(root: &Group<'_>) -> Mqtt {
    let group = root.group::<file::Mqtt>("mqtt");
    let default = Mqtt::default();
    let allow_plain = group.flag("allow_plain");
    let broker = group.get("url").map_or(Some(Broker::Embedded), |field| address::broker(&field, allow_plain));
    let mqtt = Mqtt {
        broker: broker.clone().unwrap_or(default.broker),
        topic_prefix: topic_prefix(&group).unwrap_or(default.topic_prefix),
        packet_bytes_max: group.number("packet_bytes_max", default.packet_bytes_max),
        window: group.number("window", default.window),
        user: group.text("user"),
        password: secrets::one(&group, "password", "password_file"),
        ca_file: group.path("ca_file", true),
        certificate_file: group.path("certificate_file", true),
        key_file: group.path("key_file", true),
    };
    let login = ["user", "password", "password_file"];
    let tls = ["ca_file", "certificate_file", "key_file"];
    match broker {
        Some(Broker::Embedded) => {
            let remove = "remove this line, or write the broker's address as `url`";
            group.refuse(&login, "has no meaning for the embedded broker", remove);
            group.refuse(&tls, "has no meaning for the embedded broker", remove);
        }
        Some(Broker::Url { tls: false, .. }) => {
            group.refuse(
                &tls,
                "has no meaning without encryption",
                "write `mqtts://...` as `url`, or remove this line",
            );
        }
        _ => {}
    }
    if group.get("user").is_none() {
        group.refuse(&["password", "password_file"], "belongs to `user`, which is missing", "add `user:`");
    }
    match (group.get("certificate_file"), group.get("key_file")) {
        (Some(field), None) => field.wrong("belongs to `key_file`, which is missing", "add `key_file:`"),
        (None, Some(field)) => {
            field.wrong("belongs to `certificate_file`, which is missing", "add `certificate_file:`")
        }
        _ => {}
    }
    mqtt
}

fn topic_prefix(group: &Group<'_>) -> Option<String> {
    let field = group.get("topic_prefix")?;
    let prefix = field.text()?;
    let bad = |c: char| matches!(c, '#' | '+') || c.is_control();
    if prefix.contains(bad) || prefix.starts_with(['/', '$']) || prefix.ends_with('/') || prefix.len() > 200 {
        field.wrong("is not the beginning of a topic", "write words with `/` between them, without `#` and `+`");
        return None;
    }
    Some(prefix.to_owned())
}

pub fn webhooks(root: &Group<'_>, gateway: &Gateway, http: &Http) -> Vec<Webhook> {
    let mut taken = BTreeMap::new();
    let items = root.list("webhooks");
    items.iter().filter_map(|item| webhook(&item.group::<file::Webhook>(), gateway, http, &mut taken)).collect()
}

fn webhook(group: &Group<'_>, gateway: &Gateway, http: &Http, taken: &mut BTreeMap<String, Place>) -> Option<Webhook> {
    let id = own_id(group, taken, "lims");
    let allow_plain = group.flag("allow_plain");
    let url = group.need("url", "write `url: https://...`, the address that takes the events");
    let url = url.and_then(|field| address::webhook(&field, allow_plain));
    let words: Vec<(&str, &'static dyn Dialect)> = DIALECTS.iter().map(|dialect| (dialect.name(), *dialect)).collect();
    let dialect = match group.get("dialect") {
        Some(field) => field.word("dialect", &words),
        None => words.iter().find(|(name, _)| *name == defaults::DIALECT).map(|(_, dialect)| *dialect),
    };
    let events = events(group, dialect);
    let retry_reading = retry_reading(group);
    let retry = retry(group, retry_reading.unwrap_or_default());
    let timeouts = Duration::from_millis(100)..=Duration::from_secs(600);
    let timeout = group.get("timeout").and_then(|field| field.duration(timeouts)).unwrap_or(defaults::TIMEOUT);
    let concurrency = group.number("concurrency", defaults::CONCURRENCY);
    let headers = headers(group);
    let ca_file = group.path("ca_file", true);
    if url.as_ref().is_some_and(|url| url.scheme() == "http") {
        group.refuse(
            &["ca_file"],
            "has no meaning without encryption",
            "write `https://...` as `url`, or remove this line",
        );
    }
    let secrets = secrets(group, dialect);
    let personal_data = dialect?.personal_data();
    let (url, dialect) = (url?.to_string(), dialect?.name().to_owned());
    let secrets = secrets.into_iter().map(|secret| DatedSecret { secret, valid_until: None }).collect();
    let endpoint = Endpoint {
        public_url: http.public_url.clone(),
        time_zone: gateway.time_zone.clone(),
        personal_data,
        ..Endpoint::default()
    };
    Some(Webhook {
        secrets,
        filter: Filter { events, ..Filter::default() },
        endpoint,
        retry,
        retry_reading,
        timeout,
        concurrency,
        headers,
        ca_file,
        ..Webhook::new(&id?, &url, &dialect)
    })
}

/// The secrets, each as the dialect wants it; some dialects go without.
fn secrets(group: &Group<'_>, dialect: Option<&'static dyn Dialect>) -> Vec<Secret> {
    let noted = group.context.mistakes.borrow().len();
    let secrets = secrets::several(group);
    let (Some(dialect), true) = (dialect, group.context.mistakes.borrow().len() == noted) else { return secrets };
    let key = ["secret", "secret_file", "secrets"].into_iter().find(|key| group.get(key).is_some()).unwrap_or("secret");
    let texts: Vec<Option<&str>> = match secrets.is_empty() {
        true => vec![None],
        false => secrets.iter().map(|secret| Some(secret.expose())).collect(),
    };
    let items = group.list("secrets");
    for (index, text) in texts.into_iter().enumerate() {
        let Err(problem) = dialect.check_secret(text) else { continue };
        let suggestion = format!("write the secret that the receiver has for dialect `{}`", dialect.name());
        match items.get(index) {
            Some(item) => item.wrong(&problem, &suggestion),
            None => group.wrong(key, &problem, &suggestion),
        }
    }
    secrets
}

fn events(group: &Group<'_>, dialect: Option<&'static dyn Dialect>) -> Option<Vec<String>> {
    let field = group.get("events")?;
    let own = EventName::ALL.iter().map(|name| name.as_str());
    let posted = dialect.into_iter().flat_map(|dialect| dialect.catalogue()).map(|entry| entry.event);
    let words: Vec<(&str, &str)> = own.chain(posted).map(|word| (word, word)).collect();
    let items = field.items();
    if items.is_empty() && matches!(field.node.value, Value::List(_)) {
        field.wrong("is an empty list: nothing would be sent", "write the events you want, or remove the key for all");
    }
    let mut events: Vec<String> = Vec::new();
    for item in items {
        let Some(name) = item.word("event", &words) else { continue };
        if events.iter().any(|event| event == name) {
            item.wrong(&format!("`{name}` is in the list already"), "remove one of the two");
        } else if let Some(dialect) = dialect.filter(|dialect| !dialect.speaks(name)) {
            let problem = format!("dialect `{}` has no form for `{name}`, so it would never be sent", dialect.name());
            item.wrong(&problem, "remove it from the list, or choose another dialect");
        }
        events.push(name.to_owned());
    }
    Some(events)
}

fn retry_reading(group: &Group<'_>) -> Option<RetryReading> {
    let words = [("gaps", RetryReading::Gaps), ("offsets", RetryReading::Offsets), ("retries", RetryReading::Retries)];
    group.get("retry_reading").and_then(|field| field.word("retry_reading", &words))
}

fn retry(group: &Group<'_>, reading: RetryReading) -> Option<Vec<Duration>> {
    let field = group.get("retry")?;
    let items = field.items();
    if !(1..=ATTEMPTS_MAX).contains(&items.len()) && matches!(field.node.value, Value::List(_)) {
        let problem = format!("must have from 1 to {ATTEMPTS_MAX} delays");
        field.wrong(&problem, "write one delay an attempt, such as `[0s, 30s, 5m, 30m, 2h, 12h, 1d]`");
    }
    let mut delays: Vec<Duration> = Vec::new();
    for item in items {
        let Some(delay) = item.duration(Duration::ZERO..=DELAY_MAX) else { continue };
        if reading == RetryReading::Offsets && delays.last().is_some_and(|last| *last > delay) {
            item.wrong(
                "is earlier than the one before it, but offsets count from the first attempt",
                "write the delays in rising order, or `retry_reading: gaps`",
            );
        }
        delays.push(delay);
    }
    Some(delays)
}

/// Extra headers. Values are never quoted: they often hold a key.
fn headers(group: &Group<'_>) -> Vec<(String, String)> {
    let Some(field) = group.get("headers") else { return Vec::new() };
    let mut headers: Vec<(String, String)> = Vec::new();
    for entry in field.free_entries() {
        let name = entry.key.to_lowercase();
        let path = format!("{}.{}", field.path, if entry.key.len() <= 64 { &entry.key } else { "..." });
        let value = Field { context: field.context, node: &entry.node, path };
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) {
            value.wrong("is not the name of a header", "write a name such as `x-api-key`");
        } else if OWN_HEADERS.contains(&name.as_str()) || name.starts_with("x-gateway-") || name.starts_with("webhook-")
        {
            value.wrong("is a header that the gateway sets itself", "remove it");
        } else if headers.iter().any(|(other, _)| *other == name) {
            value.wrong("this header is written twice", "remove one of the two");
        } else if let Some(text) = value.text() {
            if text.chars().any(|c| c.is_control() || !c.is_ascii()) {
                value.wrong(
                    "has characters that a header cannot carry",
                    "write plain letters, digits and signs on one line",
                );
            }
            headers.push((name, text.trim().to_owned()));
        }
    }
    headers
}
