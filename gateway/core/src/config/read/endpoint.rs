//! The part of `webhooks[]` that its dialect is told: the form of the requests, and what has no meaning for it.

use super::secrets;
use crate::config::group::{Field, Group, shown_key};
use crate::config::{Endpoint, Gateway, Http, Mistake, Place, Value, file};
use crate::dialects::{Dialect, Mode, PersonalData, Signature, Template, TemplateError, standard_webhooks};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Headers that the gateway or HTTP itself sets.
const OWN_HEADERS: [&str; 6] =
    ["host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent"];

/// Keys that only some dialects can use.
const KEYS_OF: [(&str, &[&str]); 7] = [
    ("audience", &["partner"]),
    ("mode", &["cloudevents"]),
    ("posted", &["cloudevents", "template"]),
    ("template", &["template"]),
    ("loinc", &["fhir", "hl7"]),
    ("receiving_application", &["hl7"]),
    ("receiving_facility", &["hl7"]),
];
/// Dialects whose documents say what their events hold; there is no more of a person that they could carry.
const DOCUMENTED_ONLY: [&str; 4] = ["test-v0", "partner", "session", "lab"];

/// What the whole file says that an endpoint depends on.
pub struct Surroundings<'a> {
    pub gateway: &'a Gateway,
    pub http: &'a Http,
    /// The ids that a filter may name.
    pub analyzers: Vec<String>,
}

/// The endpoint's settings and its extra headers.
pub fn read(
    group: &Group<'_>,
    dialect: Option<&'static dyn Dialect>,
    around: &Surroundings<'_>,
    mllp: bool,
) -> (Endpoint, Vec<(String, String)>) {
    let modes = [("structured", Mode::Structured), ("binary", Mode::Binary)];
    let endpoint = Endpoint {
        public_url: around.http.public_url.clone(),
        time_zone: around.gateway.time_zone.clone(),
        personal_data: personal_data(group, dialect),
        audience: audience(group, dialect),
        mode: group.choice("mode", &modes, Mode::default()),
        signatures: signatures(group),
        success_statuses: success_statuses(group),
        template: template(group, dialect),
        loinc: loinc(group),
        receiving_application: group.text("receiving_application"),
        receiving_facility: group.text("receiving_facility"),
        mllp,
        posted: group.flag("posted"),
    };
    let headers = group.get("headers").map(|field| headers(&field)).unwrap_or_default();
    if let Some(dialect) = dialect {
        fitting(group, dialect, &endpoint);
    }
    (endpoint, headers)
}

/// What the dialect misses, and what it cannot use.
fn fitting(group: &Group<'_>, dialect: &'static dyn Dialect, endpoint: &Endpoint) {
    for (key, dialects) in KEYS_OF {
        if !dialects.contains(&dialect.name()) {
            let problem = format!("has no meaning for dialect `{}`", dialect.name());
            let suggestion = format!("remove it, or write `dialect: {}`", dialects.join("` or `dialect: "));
            group.refuse(&[key], &problem, &suggestion);
        }
    }
    // A template that is written and wrong was told already; that it is missing then is not news.
    let known = |key: &str| key == "template" && group.get("template").is_some();
    for fault in dialect.check_endpoint(endpoint).into_iter().filter(|fault| !known(fault.key)) {
        if fault.key.contains('.') {
            // A key elsewhere in the file, which this endpoint cannot do without: told where that is said.
            let place = group.get("dialect").map_or(group.place.clone(), |field| field.node.place.clone());
            group.context.note(Mistake::new(place, fault.key, &fault.problem, &fault.advice));
        } else {
            group.wrong(fault.key, &fault.problem, &fault.advice);
        }
    }
}

fn personal_data(group: &Group<'_>, dialect: Option<&'static dyn Dialect>) -> PersonalData {
    let default = dialect.map_or(PersonalData::default(), |dialect| dialect.personal_data());
    let words = [("none", PersonalData::None), ("documented", PersonalData::Documented), ("all", PersonalData::All)];
    let chosen = group.choice("personal_data", &words, default);
    if let Some(dialect) = dialect.filter(|dialect| DOCUMENTED_ONLY.contains(&dialect.name()))
        && chosen == PersonalData::All
    {
        let problem = format!("is more than dialect `{}` can carry: its document says what it holds", dialect.name());
        group.wrong("personal_data", &problem, "write `documented` or `none`");
    }
    chosen
}

fn audience(group: &Group<'_>, dialect: Option<&'static dyn Dialect>) -> Option<String> {
    let field = group.get("audience")?;
    let words = file::all_audiences();
    let words: Vec<(&str, &str)> = words.into_iter().map(|word| (word, word)).collect();
    // For another dialect the key itself is the mistake, and one is enough.
    dialect.filter(|dialect| !dialect.catalogue().is_empty())?;
    field.word("audience", &words).map(str::to_owned)
}

fn signatures(group: &Group<'_>) -> Vec<Signature> {
    let items = group.list("signatures");
    let signatures: Vec<Signature> =
        items.iter().filter_map(|item| signature(&item.group::<file::Signature>())).collect();
    for (index, item) in items.iter().enumerate().skip(1) {
        let header = |field: &Field<'_>| field.node.get("mac").and_then(|node| node.as_text()).map(str::to_lowercase);
        if header(item).is_some() && items[..index].iter().any(|other| header(other) == header(item)) {
            item.wrong("a signature above has the same header", "write another name after `mac:`");
        }
    }
    signatures
}

fn signature(group: &Group<'_>) -> Option<Signature> {
    let noted = group.context.mistakes.borrow().len();
    let standard = secrets::one(group, "standard_webhooks", "standard_webhooks_file");
    let secret = secrets::one(group, "secret", "secret_file");
    let example = "write `standard_webhooks: whsec_...`, or `mac: x-signature` with `secret:` under it";
    let is_standard = group.get("standard_webhooks").is_some() || group.get("standard_webhooks_file").is_some();
    match group.get("mac") {
        Some(field) if is_standard => field.wrong("stands beside `standard_webhooks`", "make it an item of its own"),
        Some(field) => {
            let header = header_name(&field, field.text()?)?;
            if secret.is_none() && group.context.mistakes.borrow().len() == noted {
                group.wrong("secret", "is missing", "write the secret that the receiver has for this header");
            }
            return Some(Signature::Mac { header, secret: secret? });
        }
        None if is_standard => {
            group.refuse(&["secret", "secret_file"], "belongs to `mac`, which is missing", "remove this line");
            let secret = standard?;
            match standard_webhooks::check_secret(secret.expose()) {
                Ok(()) => return Some(Signature::StandardWebhooks(secret)),
                Err(problem) => {
                    let key = "standard_webhooks";
                    let key = if group.get(key).is_some() { key } else { "standard_webhooks_file" };
                    group.wrong(key, &problem.to_string(), "write the secret that the receiver has");
                }
            }
        }
        None => group.wrong("standard_webhooks", "is missing, and so is `mac`", example),
    }
    None
}

fn success_statuses(group: &Group<'_>) -> Option<Vec<RangeInclusive<u16>>> {
    let field = group.get("success_statuses")?;
    let items = field.items();
    if items.is_empty() && matches!(field.node.value, Value::List(_)) {
        field.wrong("is an empty list: no answer would be good", "write the statuses, such as `[200, 202]`");
    }
    let ranges: Vec<RangeInclusive<u16>> = items.iter().filter_map(status_range).collect();
    let good = |range: &RangeInclusive<u16>| *range.start() <= 299;
    // A range that cannot be read was told already.
    if !items.is_empty() && ranges.len() == items.len() && !ranges.iter().any(good) {
        let problem = "has no status from 200 to 299: a receiver that takes an event would be called again";
        field.wrong(
            problem,
            "write the statuses with which the receiver says that it has taken an event, such as `[200, 202]`",
        );
    }
    Some(ranges)
}

fn status_range(item: &Field<'_>) -> Option<RangeInclusive<u16>> {
    let text = item.text()?;
    let status = |text: &str| text.trim().parse::<u16>().ok().filter(|status| (200..=599).contains(status));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = status(first).zip(status(last)).filter(|(first, last)| first <= last);
    if range.is_none() {
        item.wrong("is neither a status nor a range of them", "write `200`, or `200-299`, from 200 to 599");
    }
    range.map(|(first, last)| first..=last)
}

fn template(group: &Group<'_>, dialect: Option<&'static dyn Dialect>) -> Option<Template> {
    let field = group.get("template")?;
    // For another dialect the key itself is the mistake, and one is enough.
    if dialect.is_some_and(|dialect| dialect.name() != "template") {
        return None;
    }
    let template = field.group::<file::Template>();
    let headers = template.get("headers").map(|field| entries(&field)).unwrap_or_default();
    let texts: Vec<(String, String)> =
        headers.iter().filter_map(|(name, value)| Some(((*name).to_owned(), value.text()?.to_owned()))).collect();
    let (written, in_file) = (template.get("body"), template.get("body_file"));
    let body = match (&written, &in_file) {
        (Some(_), Some(file)) => {
            file.wrong("`body` is written as well", "keep one of `body` and `body_file`");
            None
        }
        (Some(field), None) => field.text().map(str::to_owned),
        (None, Some(field)) => secrets::file_text(field, "put the body into it"),
        (None, None) => {
            template.wrong("body", "is missing", "write `body: |` with the body below it, or `body_file:`");
            None
        }
    }?;
    let told = |error: &TemplateError| match &error.header {
        Some(name) => {
            let header = headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            let field = header.map_or(&field, |(_, field)| field);
            template_fault(field, error);
        }
        None => match (&written, &in_file) {
            (None, Some(field)) => field.wrong(
                &format!("line {}, column {} of this file: {}", error.line, error.column, error.problem),
                TEMPLATE_ADVICE,
            ),
            (Some(field), _) => template_fault(field, error),
            (None, None) => {}
        },
    };
    let compiled = Template::compile(&body, &texts);
    if let Err(error) = &compiled {
        told(error);
        // The headers are looked at only after a good body.
        if error.header.is_none()
            && let Err(error) = Template::compile("-", &texts)
        {
            told(&error);
        }
    }
    compiled.ok()
}

const TEMPLATE_ADVICE: &str =
    "write what is filled in as `{{ event.test.sample_id | tojson }}`; docs/dialects.md has the names there are";

/// Notes a fault at its own line and column of the file. Every line of a block begins at the column of its first.
fn template_fault(field: &Field<'_>, error: &TemplateError) {
    let place = field.node.text_at.map_or(field.node.place.clone(), |(line, column)| Place::At {
        line: line + error.line - 1,
        column: column + error.column - 1,
    });
    field.context.note(Mistake::new(place, field.path.clone(), &error.problem, TEMPLATE_ADVICE));
}

/// `loinc`: a LOINC code is digits, a dash and the check digit.
fn loinc(group: &Group<'_>) -> BTreeMap<String, String> {
    let Some(field) = group.get("loinc") else { return BTreeMap::new() };
    let mut codes = BTreeMap::new();
    for (code, value) in entries(&field) {
        let Some(text) = value.text() else { continue };
        let is_code = text.split_once('-').is_some_and(|(number, check)| {
            let digits = |part: &str, most: usize| {
                (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
            };
            digits(number, 7) && digits(check, 1)
        });
        if !is_code {
            value.wrong("is not a LOINC code", "write a code such as `6690-2`; loinc.org has them");
        } else if codes.insert(code.to_owned(), text.to_owned()).is_some() {
            value.wrong("this code is written twice", "remove one of the two");
        }
    }
    codes
}

/// The entries of a group with free keys, each with its path.
fn entries<'a>(field: &Field<'a>) -> Vec<(&'a str, Field<'a>)> {
    let entry = |entry: &'a crate::config::Entry| {
        let path = format!("{}.{}", field.path, shown_key(&entry.key));
        (entry.key.as_str(), field.below(&entry.node, path))
    };
    field.free_entries().iter().map(entry).collect()
}

/// A name that the gateway may send a header under, in lower case.
fn header_name(field: &Field<'_>, name: &str) -> Option<String> {
    let name = name.to_lowercase();
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        field.wrong("is not the name of a header", "write a name such as `x-api-key`");
    } else if OWN_HEADERS.contains(&name.as_str()) || name.starts_with("x-gateway-") || name.starts_with("webhook-") {
        field.wrong("is a header that the gateway sets itself", "remove it");
    } else {
        return Some(name);
    }
    None
}

/// Extra headers. Values are never quoted: they often hold a key.
fn headers(field: &Field<'_>) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (key, value) in entries(field) {
        let Some(name) = header_name(&value, key) else { continue };
        if headers.iter().any(|(other, _)| *other == name) {
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
