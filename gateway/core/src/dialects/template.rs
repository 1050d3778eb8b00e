//! `template`: the integrator's own body and headers.
//!
//! Jinja's language (minijinja) without includes, macros and automatic escaping. A template sees `event` (CONTRACT's data
//! object), `gateway`, `ordinal` and `attempt`; `tojson` writes a value as JSON. Text from outside never ends up in a
//! message about a fault: only the kind of the fault and its place do.

use super::standard_webhooks;
use super::verdict::Statuses;
use super::{
    Attempt, Dialect, Endpoint, EndpointFault, HttpRequest, RenderError, Request, Response, post_with, probe_event,
    single,
};
use crate::delivery::Outcome;
use crate::event::{Event, EventId, EventKind, EventName, Personal, ResultValue, Test, TestState};
use crate::time::{Now, Timestamp};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use std::io::{self, Write};

/// See the module.
pub struct Templated;

const STATUSES: Statuses = Statuses { refuse_one_event: &[], success: 200..=299 };
/// The longest body that a template may write, in bytes.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// How much work a template may do, in instructions of its engine: some thousand samples with their keys.
const FUEL: u64 = 500_000;
const VARIABLES: &[&str] = &["event", "gateway", "ordinal", "attempt"];
/// Headers that HTTP or the gateway sets itself.
const TAKEN: &[&str] = &["host", "content-length", "transfer-encoding", "connection", "user-agent"];
/// What stands in a probe wherever a result would have a text.
const PROBE: &str = "WEBHOOK-TEST";

/// A body and headers with places to fill in, checked when the settings are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    body: String,
    headers: Vec<(String, String)>,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct TemplateError {
    /// The header whose text is meant; `None`: the body.
    pub header: Option<String>,
    /// Counted from 1, inside the template's text.
    pub line: usize,
    pub column: usize,
    pub problem: String,
}

impl Template {
    /// Takes a body and headers (names in any case; their values are templates as well). The language, the names of filters
    /// and the variables are checked here, with a made-up test; what an event lacks shows when it is sent.
    pub fn compile(body: &str, headers: &[(String, String)]) -> Result<Template, TemplateError> {
        let at_start = |header: Option<&str>, problem: &str| TemplateError {
            header: header.map(str::to_owned),
            line: 1,
            column: 1,
            problem: problem.to_owned(),
        };
        if body.trim().is_empty() {
            return Err(at_start(None, "the body is empty"));
        }
        check(body).map_err(|fault| TemplateError { header: None, ..fault })?;
        let mut checked: Vec<(String, String)> = Vec::new();
        for (name, value) in headers {
            let name = name.to_lowercase();
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            let own = TAKEN.contains(&name.as_str()) || name.starts_with("x-gateway-") || name.starts_with("webhook-");
            let problem = match () {
                () if name.is_empty() || !name.chars().all(token) => "this is not the name of a header",
                () if own => "this is a header that the gateway sets itself",
                () if checked.iter().any(|(other, _)| *other == name) => "this header is written twice",
                () => {
                    check(value).map_err(|fault| TemplateError { header: Some(name.clone()), ..fault })?;
                    checked.push((name, value.clone()));
                    continue;
                }
            };
            return Err(at_start(Some(&name), problem));
        }
        Ok(Template { body: body.to_owned(), headers: checked })
    }

    /// Headers and body for these variables.
    fn fill(&self, variables: &Value) -> Result<HttpRequest, String> {
        let request = self.write(variables)?;
        json_fault(&request).map_or(Ok(request), Err)
    }

    fn write(&self, variables: &Value) -> Result<HttpRequest, String> {
        let mut headers = Vec::with_capacity(self.headers.len() + 1);
        for (name, text) in &self.headers {
            let value = rendered(text, variables).map_err(|fault| format!("header `{name}`: {fault}"))?;
            let value = value.trim().to_owned();
            if !value.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
                return Err(format!(
                    "header `{name}`: what is written there has characters that a header cannot carry"
                ));
            }
            headers.push((name.clone(), value));
        }
        if !headers.iter().any(|(name, _)| name == "content-type") {
            headers.insert(0, ("content-type".to_owned(), "application/json".to_owned()));
        }
        let body = rendered(&self.body, variables).map_err(|fault| format!("body: {fault}"))?;
        Ok(HttpRequest { headers, body: body.into_bytes() })
    }
}

/// What is wrong with a body that calls itself JSON.
fn json_fault(request: &HttpRequest) -> Option<String> {
    if !request.headers.iter().any(|(name, value)| name == "content-type" && is_json(value)) {
        return None;
    }
    let fault = serde_json::from_slice::<serde::de::IgnoredAny>(&request.body).err()?;
    let (line, column) = (fault.line(), fault.column());
    Some(format!(
        "body: what the template writes is not JSON (line {line}, column {column} of the text written); write values with \
         `| tojson`, or another `content-type` if it should not be JSON"
    ))
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

fn environment<'a>(undefined: UndefinedBehavior) -> Environment<'a> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(undefined);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(true);
    environment
}

/// The faults that can be told without an event.
fn check(text: &str) -> Result<(), TemplateError> {
    let environment = environment(UndefinedBehavior::Chainable);
    let template = environment.template_from_str(text).map_err(|error| fault(text, &error))?;
    let known: Vec<&str> = environment.globals().map(|(name, _)| name).chain(VARIABLES.iter().copied()).collect();
    let mut unknown: Vec<String> = template.undeclared_variables(false).into_iter().collect();
    unknown.retain(|name| !known.contains(&name.as_str()));
    unknown.sort();
    if let Some(name) = unknown.first() {
        let (line, column) = place(text, text.find(name.as_str()).unwrap_or(0));
        let problem = format!("there is no `{name}`; a template sees `event`, `gateway`, `ordinal` and `attempt`");
        return Err(TemplateError { header: None, line, column, problem });
    }
    let endpoint = Endpoint::default();
    let attempt = made_up(&endpoint);
    let id = EventId::derived(&[]);
    match template.render(variables(&probe_event(id, &attempt, probe_fact(id)), &attempt)) {
        Err(error) if is_unknown_name(error.kind()) => Err(fault(text, &error)),
        _ => Ok(()),
    }
}

/// An attempt that only fills a template in.
fn made_up(endpoint: &Endpoint) -> Attempt<'_> {
    Attempt {
        gateway: "gateway",
        endpoint,
        secrets: &[],
        now: Now::default(),
        signed_at: Timestamp(0),
        number: 1,
        ordinal: 1,
        ordinals: &[],
        redriven: false,
        historical: false,
        history: &[],
    }
}

/// Why a made-up event of this name could not be sent. What a test holds depends on its analyzer, so of a test only a text that
/// is not JSON counts.
fn sample_fault(template: &Template, endpoint: &Endpoint, name: EventName) -> Option<String> {
    let id = EventId::derived(&[]);
    let kind = match name {
        EventName::TestFinished => EventKind { name, ..probe_fact(id) },
        name => EventKind::bare(name),
    };
    let attempt = made_up(endpoint);
    let event = probe_event(id, &attempt, kind);
    match template.write(&variables(&endpoint.visible(&event), &attempt)) {
        Ok(request) => json_fault(&request),
        Err(_) if name == EventName::TestFinished => None,
        Err(fault) => Some(fault),
    }
}

fn is_unknown_name(kind: ErrorKind) -> bool {
    use ErrorKind::{UnknownFilter, UnknownFunction, UnknownMethod, UnknownTest};
    matches!(kind, UnknownFilter | UnknownFunction | UnknownMethod | UnknownTest)
}

/// An error of a template that has not yet seen an event, so that its words cannot hold any of one.
fn fault(text: &str, error: &Error) -> TemplateError {
    let start = error.range().map_or(0, |range| range.start);
    let (line, column) = match error.range() {
        Some(_) => place(text, start),
        None => (error.line().unwrap_or(1), 1),
    };
    let problem = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    TemplateError { header: None, line, column, problem }
}

/// Line and column of a byte, both from 1; columns in characters.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// A writer that takes so much and no more.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES_MAX {
            return Err(io::Error::other("too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The sentence of an error quotes nothing but the kind of the fault and its place.
fn rendered(text: &str, variables: &Value) -> Result<String, String> {
    let environment = environment(UndefinedBehavior::SemiStrict);
    let mut output = Bounded(Vec::new());
    let written = environment
        .template_from_str(text)
        .and_then(|template| template.render_captured_to(variables.clone(), &mut output).map(|_| ()));
    written.map_err(|error| {
        let problem = match error.kind() {
            ErrorKind::UndefinedError => {
                "the event has no such value (test with `is defined`, or give a `default`)".to_owned()
            }
            ErrorKind::WriteFailure => format!("it writes more than {OUTPUT_BYTES_MAX} bytes"),
            ErrorKind::OutOfFuel => "it takes too much work".to_owned(),
            kind => kind.to_string(),
        };
        let (line, column) = error.range().map_or((error.line().unwrap_or(1), 1), |range| place(text, range.start));
        format!("line {line}, column {column}: {problem}")
    })?;
    String::from_utf8(output.0).map_err(|_| "it writes something that is not UTF-8".to_owned())
}

fn variables(event: &Event, attempt: &Attempt<'_>) -> Value {
    let data: serde_json::Value = serde_json::from_str(&event.data_json()).expect("data_json writes JSON");
    Value::from_pairs([
        ("event", value(&data)),
        ("gateway", Value::from(attempt.gateway)),
        ("ordinal", Value::from(attempt.ordinal)),
        ("attempt", Value::from(attempt.number)),
    ])
}

/// The same value for the template engine. A number that neither an integer of 64 bits nor a double holds is its text.
fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(flag) => Value::from(*flag),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Value::from(number),
            (_, Some(number), _) => Value::from(number),
            (_, _, Some(double)) if double.is_finite() => Value::from(double),
            _ => Value::from(number.to_string()),
        },
        serde_json::Value::Array(items) => items.iter().map(value).collect(),
        serde_json::Value::Object(fields) => {
            Value::from_pairs(fields.iter().map(|(name, field)| (name.clone(), value(field))))
        }
    }
}

/// A test that no receiver can take for a patient's: it is quality control, and every text in it says what it is.
fn probe_fact(id: EventId) -> EventKind {
    let result = ResultValue {
        code: PROBE.to_owned(),
        name: PROBE.to_owned(),
        value: Personal::new(PROBE),
        status: "X".to_owned(),
        ..ResultValue::default()
    };
    let test = Test {
        sample_id: Some(Personal::new(PROBE)),
        instrument_sample_id: Some(Personal::new(PROBE)),
        qc: true,
        results: vec![result],
        ..Test::new(id, TestState::Done)
    };
    EventKind::about_test(EventName::WebhookTest, None, test)
}

fn request(event: &Event, attempt: &Attempt<'_>) -> Result<Request, RenderError> {
    let missing = || RenderError::settings("the webhook has no `template`");
    let template = attempt.endpoint.template.as_ref().ok_or_else(missing)?;
    let variables = variables(event, attempt);
    let HttpRequest { headers, body } =
        template.fill(&variables).map_err(|fault| RenderError::settings(format!("template, {fault}")))?;
    let standard = (!attempt.secrets.is_empty()).then_some(event.id);
    post_with(event, attempt, headers, standard, body)
}

impl Dialect for Templated {
    fn name(&self) -> &'static str {
        "template"
    }

    fn about(&self) -> &'static str {
        "Your own body and headers, written in the settings as a template: for receivers that have words of their own"
    }

    fn word(&self, name: EventName) -> Option<&'static str> {
        Some(name.as_str())
    }

    fn has_form(&self, event: &Event, endpoint: &Endpoint) -> bool {
        event.kind.posted.is_none() || endpoint.posted
    }

    fn check_secret(&self, secret: Option<&str>) -> Result<(), String> {
        standard_webhooks::check_optional(secret)
    }

    fn check_endpoint(&self, endpoint: &Endpoint) -> Vec<EndpointFault> {
        let missing = EndpointFault {
            key: "template",
            problem: "is missing, so there is nothing that could be sent".to_owned(),
            advice: "write `template:` with a `body: |` below it, such as `{\"sample\": {{ event.test.sample_id | tojson }}}`"
                .to_owned(),
        };
        if endpoint.template.is_some() { Vec::new() } else { vec![missing] }
    }

    fn check_events(&self, endpoint: &Endpoint, wanted: &dyn Fn(EventName) -> bool) -> Vec<EndpointFault> {
        let Some(template) = &endpoint.template else { return Vec::new() };
        let names = [EventName::TestFinished, EventName::AnalyzerConnected].into_iter().filter(|name| wanted(*name));
        let fault = |name: EventName| {
            let problem = format!("cannot write {}: {}", name.as_str(), sample_fault(template, endpoint, name)?);
            let advice =
                "write the `events:` that it can write, such as `events: [TEST_FINISHED]`, or mend the template";
            Some(EndpointFault { key: "template", problem, advice: advice.to_owned() })
        };
        names.filter_map(fault).collect()
    }

    fn render(&self, batch: &[Event], attempt: &Attempt<'_>) -> Result<Option<Request>, RenderError> {
        let event = single(batch)?;
        if !self.has_form(event, attempt.endpoint) {
            return Ok(None);
        }
        request(&attempt.endpoint.visible(event), attempt).map(Some)
    }

    fn probe(&self, id: EventId, attempt: &Attempt<'_>) -> Result<Request, RenderError> {
        let event = probe_event(id, attempt, probe_fact(id));
        request(&attempt.endpoint.visible(&event), attempt).map(Request::marked_as_test)
    }

    fn judge(&self, _: &[Event], response: &Response, endpoint: &Endpoint, now: Now) -> Outcome {
        STATUSES.judge(response, endpoint, now)
    }
}
