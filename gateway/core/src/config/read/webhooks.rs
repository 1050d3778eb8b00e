//! `webhooks:`: where events go, when, and which. What their dialect is told is read in [`super::endpoint`].

use super::endpoint::{self, Surroundings};
use super::{credentials, own_id, secrets};
use crate::config::group::{Field, Group};
use crate::config::{Filter, Order, Place, Qc, Value, Webhook, address, defaults, file};
use crate::delivery::RetryReading;
use crate::dialects::{DIALECTS, Dialect};
use crate::event::{AnalyzerId, EventName};
use base64::Engine;
use std::collections::BTreeMap;
use std::time::Duration;
use url::Url;

/// The longest delay that a retry table may hold.
const DELAY_MAX: Duration = Duration::from_secs(30 * 86_400);
/// How many attempts a retry table may have.
const ATTEMPTS_MAX: usize = 100;

pub fn read(root: &Group<'_>, around: &Surroundings<'_>) -> Vec<Webhook> {
    let mut taken = BTreeMap::new();
    let items = root.list("webhooks");
    items.iter().filter_map(|item| webhook(&item.group::<file::Webhook>(), around, &mut taken)).collect()
}

fn webhook(group: &Group<'_>, around: &Surroundings<'_>, taken: &mut BTreeMap<String, Place>) -> Option<Webhook> {
    let id = own_id(group, taken, "lims");
    let allow_plain = group.allows_plain();
    let dialect = dialect(group);
    let mllp = dialect.is_none_or(|dialect| dialect.name() == "hl7");
    let url = group.need("url", "write `url: https://...`, the address that takes the events");
    let url = url.and_then(|field| address::webhook(&field, allow_plain, mllp));
    let filter =
        Filter { events: events(group, dialect), analyzers: analyzers(group, &around.analyzers), qc: qc(group) };
    let retry_reading = retry_reading(group);
    let retry = retry(group, retry_reading.unwrap_or_default());
    let timeouts = Duration::from_millis(100)..=Duration::from_secs(600);
    let is_mllp = url.as_ref().is_some_and(|url| url.scheme().starts_with("mllp"));
    let (endpoint, headers) = endpoint::read(group, dialect, around, is_mllp);
    let wanted =
        |name: EventName| filter.events.as_ref().is_none_or(|events| events.iter().any(|event| event == name.as_str()));
    for fault in dialect.map(|dialect| dialect.check_events(&endpoint, &wanted)).unwrap_or_default() {
        group.wrong(fault.key, &fault.problem, &fault.advice);
    }
    let orders = [("test", Order::Test), ("analyzer", Order::Analyzer), ("none", Order::None)];
    let webhook = Webhook {
        secrets: secrets::several(group, dialect, true),
        filter,
        batch: batch(group, dialect, &endpoint),
        endpoint,
        retry,
        retry_reading,
        timeout: group.get("timeout").and_then(|field| field.duration(timeouts)).unwrap_or(defaults::TIMEOUT),
        concurrency: group.number("concurrency", defaults::CONCURRENCY),
        order: group.choice("order", &orders, Order::default()),
        backfill_per_second_max: Some(group.number("backfill_per_second_max", defaults::BACKFILL_PER_SECOND))
            .filter(|bound| *bound > 0),
        paused: group.flag("paused"),
        headers,
        proxy: group.get("proxy").and_then(|field| address::webhook_proxy(&field)),
        ca_file: group.path("ca_file", true),
        certificate_file: group.path("certificate_file", true),
        key_file: group.path("key_file", true),
        pinned_key: group.get("pinned_key").and_then(|field| pinned_key(&field)),
        ..Webhook::new("", "", "")
    };
    connection(group, url.as_ref());
    credentials::judge(group);
    pin_and_proxy(group, url.as_ref(), &webhook);
    Some(Webhook { id: id?, url: text_of(url?), dialect: dialect?.name().to_owned(), ..webhook })
}

fn dialect(group: &Group<'_>) -> Option<&'static dyn Dialect> {
    let words: Vec<(&str, &'static dyn Dialect)> = DIALECTS.iter().map(|dialect| (dialect.name(), *dialect)).collect();
    match group.get("dialect") {
        Some(field) => field.word("dialect", &words),
        None => words.iter().find(|(name, _)| *name == defaults::DIALECT).map(|(_, dialect)| *dialect),
    }
}

/// The address as it is dialled: an MLLP port that is not written is 2575, as IANA has it.
fn text_of(url: Url) -> String {
    match (url.scheme(), url.host_str()) {
        (scheme @ ("mllp" | "mllps"), Some(host)) => {
            format!("{scheme}://{}:{}", host.to_lowercase(), url.port().unwrap_or(2575))
        }
        _ => url.to_string(),
    }
}

/// What has no meaning on this way to the receiver.
fn connection(group: &Group<'_>, url: Option<&Url>) {
    credentials::pair(group);
    let Some(url) = url else { return };
    if matches!(url.scheme(), "http" | "mllp") {
        let keys = ["ca_file", "certificate_file", "key_file", "pinned_key"];
        let suggestion = format!("write `{}s://...` as `url`, or remove this line", url.scheme());
        group.refuse(&keys, "has no meaning without encryption", &suggestion);
    }
    if url.scheme().starts_with("mllp") {
        let suggestion = "remove this line, or write `https://...` as `url`";
        group.refuse(
            &["headers", "signatures", "success_statuses", "proxy"],
            "has no meaning for MLLP, which is no HTTP",
            suggestion,
        );
    }
}

/// Receiver and proxy are told apart by their names: one has the pinned key, the other has not.
fn pin_and_proxy(group: &Group<'_>, url: Option<&Url>, webhook: &Webhook) {
    let proxy = webhook.proxy.as_ref().and_then(|proxy| Url::parse(proxy.expose()).ok());
    let encrypted = proxy.filter(|proxy| proxy.scheme() == "https" && webhook.pinned_key.is_some());
    if encrypted.is_some_and(|proxy| url.is_some_and(|url| url.host() == proxy.host())) {
        let suggestion = "write another name or the IP address of the proxy, or a proxy with `http://`";
        group.wrong("proxy", "has the host of `url`, so `pinned_key` cannot tell the two apart", suggestion);
    }
}

fn pinned_key(field: &Field<'_>) -> Option<[u8; 32]> {
    let text = field.text()?;
    let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
    let encoded = text.strip_prefix("sha256/").map(|encoded| encoded.trim_end_matches('='));
    let key = encoded.and_then(|encoded| engine.decode(encoded).ok()).and_then(|bytes| bytes.try_into().ok());
    if key.is_none() {
        let suggestion = "write `sha256/` and the base64 of the SHA-256 of the receiver's public key, 44 characters";
        field.wrong("is not the hash of a key", suggestion);
    }
    key
}

fn batch(group: &Group<'_>, dialect: Option<&'static dyn Dialect>, endpoint: &crate::dialects::Endpoint) -> usize {
    let batch = group.number("batch", 1);
    if let Some(dialect) = dialect
        && dialect.events_per_request_max(endpoint) < batch
    {
        match dialect.events_per_request_max(endpoint) {
            1 => {
                let problem = format!("dialect `{}` sends each event in a request of its own here", dialect.name());
                group.wrong("batch", &problem, "remove this line, or choose another dialect or mode");
            }
            most => group.wrong("batch", "is more than a request can carry", &format!("write {most} or less")),
        }
    }
    batch
}

fn qc(group: &Group<'_>) -> Qc {
    let words = [("include", Qc::Include), ("exclude", Qc::Exclude), ("only", Qc::Only)];
    group.choice("qc", &words, Qc::default())
}

fn analyzers(group: &Group<'_>, known: &[String]) -> Option<Vec<AnalyzerId>> {
    let field = group.get("analyzers")?;
    if known.len() == 1 && field.items().iter().any(|item| item.node.as_text() != known.first().map(String::as_str)) {
        field.wrong("names an analyzer, but the settings have none", "write the analyzer under `analyzers:` first");
        return None;
    }
    let words: Vec<(&str, &str)> = known.iter().map(|id| (id.as_str(), id.as_str())).collect();
    Some(
        unique_words(&field, "analyzer", &words, words.len())
            .into_iter()
            .map(|(_, id)| AnalyzerId(id.to_owned()))
            .collect(),
    )
}

/// The items of a list of words, without those that are unknown; one that is there twice is noted. Advice names the first
/// `advised` of the words.
fn unique_words<'a, 'w>(
    field: &Field<'a>,
    what: &str,
    words: &[(&'w str, &'w str)],
    advised: usize,
) -> Vec<(Field<'a>, &'w str)> {
    let items = field.items();
    if items.is_empty() && matches!(field.node.value, Value::List(_)) {
        let suggestion = format!("write the {what}s you want, or remove the key for all");
        field.wrong("is an empty list: nothing would be sent", &suggestion);
    }
    let mut found: Vec<(Field<'a>, &'w str)> = Vec::new();
    for item in items {
        let is_known = item.node.as_text().is_some_and(|text| words.iter().any(|(word, _)| *word == text));
        let words = if is_known { words } else { &words[..advised] };
        let Some(name) = item.word(what, words) else { continue };
        if found.iter().any(|(_, other)| *other == name) {
            item.wrong(&format!("`{name}` is in the list already"), "remove one of the two");
        }
        found.push((item, name));
    }
    found
}

fn events(group: &Group<'_>, dialect: Option<&'static dyn Dialect>) -> Option<Vec<String>> {
    let field = group.get("events")?;
    let known = file::all_events();
    let speaks = |word: &str| dialect.is_none_or(|dialect| dialect.speaks(word));
    let own: Vec<&str> = known.iter().copied().filter(|word| speaks(word)).collect();
    // Advice names the dialect's own events only; what another dialect says is known all the same.
    let words: Vec<(&str, &str)> = own.iter().chain(&known).map(|word| (*word, *word)).collect();
    let events = unique_words(&field, "event", &words, own.len());
    for (item, name) in &events {
        if let Some(dialect) = dialect.filter(|dialect| !dialect.speaks(name)) {
            let problem = format!("dialect `{}` has no form for `{name}`, so it would never be sent", dialect.name());
            item.wrong(&problem, "remove it from the list, or choose another dialect");
        }
    }
    Some(events.into_iter().map(|(_, name)| name.to_owned()).collect())
}

fn retry_reading(group: &Group<'_>) -> Option<RetryReading> {
    let words = [("gaps", RetryReading::Gaps), ("offsets", RetryReading::Offsets), ("retries", RetryReading::Retries)];
    group.get("retry_reading").and_then(|field| field.choice(&words))
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
