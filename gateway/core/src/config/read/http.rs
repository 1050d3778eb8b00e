//! `http:`, `sources:` and `registrations:`: what others may ask of the gateway, and send to it.

use super::{own_id, secrets};
use crate::config::group::{Group, either};
use crate::config::{Http, MetricsDoor, Place, Registrations, Scope, Source, Token, address, file};
use crate::dialects::{DIALECTS, Dialect};
use crate::event::AnalyzerId;
use std::collections::BTreeMap;

/// Dialects that carry the tests of an analyzer.
const WITH_TESTS: [&str; 2] = ["test-v0", "cloudevents"];

pub fn read(root: &Group<'_>) -> Http {
    let group = root.group::<file::Http>("http");
    let default = Http::default();
    let allow_plain = group.allows_plain();
    let listen = group.get("listen").and_then(|field| address::http_listen(&field, allow_plain));
    let example = "https://gateway.clinic.example";
    let public_url = group.get("public_url").and_then(|field| address::web(&field, allow_plain, example, "http"));
    if public_url.as_ref().is_some_and(|url| url.contains('?')) {
        group.wrong("public_url", "has a part after `?`", &format!("write only the beginning, such as `{example}`"));
    }
    let mut taken = BTreeMap::new();
    let mut tokens: Vec<Token> = Vec::new();
    for item in group.list("tokens") {
        let group = item.group::<file::Token>();
        if let Some(token) = token(&group, &mut taken) {
            if tokens.iter().any(|other| other.hash == token.hash) {
                group.wrong("hash", "is the hash of another program's token", "make one token for each program");
            }
            tokens.push(token);
        }
    }
    Http {
        listen: listen.unwrap_or(default.listen),
        public_url,
        tokens,
        body_bytes_max: group.number("body_bytes_max", default.body_bytes_max),
        metrics: group.choice(
            "metrics",
            &[("token", MetricsDoor::Token), ("open", MetricsDoor::Open)],
            default.metrics,
        ),
        page: group.flag_if_written("page").unwrap_or(default.page),
    }
}

fn token(group: &Group<'_>, taken: &mut BTreeMap<String, Place>) -> Option<Token> {
    let id = own_id(group, taken, "portal");
    let scopes =
        [("post", Scope::Post), ("read", Scope::Read), ("operate", Scope::Operate), ("administer", Scope::Administer)];
    let may = "write what it may do: `scope: post`, `read`, `operate` or `administer`";
    let scope = group.need("scope", may).and_then(|field| field.choice(&scopes));
    let make = "make a token with `analyzer-gateway token add`, or write what `printf %s TOKEN | sha256sum` prints";
    let field = group.need("hash", make)?;
    let hash = field.text()?.to_lowercase();
    if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        field.wrong("is not the SHA-256 of a token, which has 64 hexadecimal digits", make);
        return None;
    }
    Some(Token { id: id?, hash, scope: scope? })
}

/// `ports`: the ids of `analyzers[]`, which have a port of their own.
pub fn sources(root: &Group<'_>, http: &Http, ports: &[String]) -> Vec<Source> {
    let mut taken = BTreeMap::new();
    let items = root.list("sources");
    if !items.is_empty() && http.listen.is_none() {
        let suggestion = "write an address and a port as `http.listen`, or remove the sources";
        root.wrong("sources", "nothing can come in while `http.listen` is `off`", suggestion);
    }
    items.iter().filter_map(|item| source(&item.group::<file::Source>(), &mut taken, ports)).collect()
}

fn source(group: &Group<'_>, taken: &mut BTreeMap<String, Place>, ports: &[String]) -> Option<Source> {
    let id = own_id(group, taken, "booking");
    let dialects = || DIALECTS.iter().filter(|dialect| dialect.receives());
    let words: Vec<(&str, &'static dyn Dialect)> = dialects().map(|dialect| (dialect.name(), *dialect)).collect();
    let names: Vec<String> = words.iter().map(|(name, _)| format!("dialect: {name}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let dialect = group.need("dialect", &format!("write {}", either(&names)));
    let dialect = dialect.and_then(|field| field.word("dialect for what comes in", &words));
    let secrets = secrets::several(group, dialect, false);
    let origins = group.list("origins").iter().filter_map(address::origin).collect();
    let analyzer = analyzer(group, dialect, id.as_deref(), ports);
    Some(Source {
        id: id?,
        dialect: dialect?.name().to_owned(),
        secrets: secrets.into_iter().map(|dated| dated.secret).collect(),
        origins,
        analyzer,
    })
}

fn analyzer(
    group: &Group<'_>,
    dialect: Option<&'static dyn Dialect>,
    id: Option<&str>,
    ports: &[String],
) -> Option<AnalyzerId> {
    let with_tests = dialect.is_none_or(|dialect| WITH_TESTS.contains(&dialect.name()));
    let written = group.get("analyzer").and_then(|field| field.id());
    if !with_tests {
        group.refuse(&["analyzer"], "has no meaning for a dialect without an analyzer's tests", "remove this line");
        return None;
    }
    let analyzer = written.or(id.map(str::to_owned))?;
    // Two writers of one analyzer's tests would mix up its runs; the gateway's own events bear its own name.
    if analyzer == "gateway" || ports.contains(&analyzer) {
        let key = if group.get("analyzer").is_some() { "analyzer" } else { "id" };
        let problem = format!("`{analyzer}` is already the id of another analyzer");
        group.wrong(key, &problem, "write a name of its own as `analyzer:`");
    }
    Some(AnalyzerId(analyzer))
}

pub fn registrations(root: &Group<'_>) -> Registrations {
    let group = root.group::<file::Registrations>("registrations");
    let allow_plain = group.allows_plain();
    let example = "https://lab.example/ids";
    let lab_id_url = group.get("lab_id_url");
    let lab_id_url = lab_id_url.and_then(|field| address::web(&field, allow_plain, example, "registrations"));
    let lab_id_token = secrets::one(&group, "lab_id_token", "lab_id_token_file");
    if group.get("lab_id_url").is_none() {
        let keys = ["lab_id_token", "lab_id_token_file"];
        group.refuse(&keys, "belongs to `lab_id_url`, which is missing", "add `lab_id_url:`, or remove this line");
    }
    Registrations { lab_id_url, lab_id_token, proxy: None }
}
