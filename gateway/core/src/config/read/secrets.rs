//! Secrets, from the file or from a file of their own. No message here carries any part of one.

use crate::config::group::{Field, Group};
use crate::config::{DatedSecret, Value, file};
use crate::dialects::{Dialect, Secret};
use crate::time::Timestamp;

/// The password of the manual's examples.
const OF_MANUAL: &str = "at least 8 letters";

/// Reads `key` or, instead, `key_file`.
pub fn one(group: &Group<'_>, key: &'static str, key_file: &'static str) -> Option<Secret> {
    written(group, key, key_file).map(|(_, secret)| secret)
}

/// The same with the place where it is written.
fn written<'a>(group: &Group<'a>, key: &'static str, key_file: &'static str) -> Option<(Field<'a>, Secret)> {
    match (group.get(key), group.get(key_file)) {
        (Some(_), Some(file)) => {
            file.wrong(&format!("`{key}` is written as well"), &format!("keep one of `{key}` and `{key_file}`"));
            None
        }
        (Some(field), None) => own(&field, field.text()?).map(|secret| (field, secret)),
        (None, Some(field)) => from_file(&field).map(|secret| (field, secret)),
        (None, None) => None,
    }
}

/// A secret that an example left to be written is known to everybody: it is none.
fn own(field: &Field<'_>, text: &str) -> Option<Secret> {
    let plain = text.trim().to_lowercase();
    let cut_short = plain.ends_with("...") || plain.ends_with('\u{2026}');
    if cut_short || plain.starts_with("change me") || plain == OF_MANUAL {
        field.wrong(
            "is still the example's text, which everybody knows",
            "write your own, or name a file that holds it by the same key with `_file` at its end",
        );
        return None;
    }
    Some(Secret::new(text))
}

/// Reads `secret`, `secret_file` or `secrets`, newest first, each as the dialect wants it; some dialects go without.
/// `dated`: whether an item may say when it runs out.
pub fn several(group: &Group<'_>, dialect: Option<&'static dyn Dialect>, dated: bool) -> Vec<DatedSecret> {
    let noted = group.context.mistakes.borrow().len();
    let secrets = match group.get("secrets") {
        Some(field) => list(group, &field, dated),
        None => {
            let single = written(group, "secret", "secret_file");
            single.map(|(field, secret)| (field, DatedSecret { secret, valid_until: None })).into_iter().collect()
        }
    };
    let untouched = group.context.mistakes.borrow().len() == noted;
    if let Some(dialect) = dialect.filter(|_| untouched) {
        let suggestion = format!("write the secret that the other side has for dialect `{}`", dialect.name());
        for (field, dated) in &secrets {
            if let Err(problem) = dialect.check_secret(Some(dated.secret.expose())) {
                field.wrong(&problem, &suggestion);
            }
        }
        if secrets.is_empty()
            && let Err(problem) = dialect.check_secret(None)
        {
            group.wrong("secret", &problem, &suggestion);
        }
    }
    secrets.into_iter().map(|(_, dated)| dated).collect()
}

fn list<'a>(group: &Group<'a>, field: &Field<'a>, dated: bool) -> Vec<(Field<'a>, DatedSecret)> {
    let beside = ["secret", "secret_file"].map(|key| group.get(key).is_some());
    if beside.contains(&true) {
        field.wrong("another secret is written beside this list", "keep either `secrets` or the single secret");
    } else if matches!(&field.node.value, Value::Nothing) || field.node.value == Value::List(Vec::new()) {
        field.wrong("is an empty list", "write a secret after a dash, or remove the key");
    }
    let items = group.list("secrets");
    let secrets: Vec<_> = items.into_iter().filter_map(|item| secret_item(item, dated)).collect();
    let now = group.context.outside.now();
    let over = |dated: &DatedSecret| now.zip(dated.valid_until).is_some_and(|(now, until)| until <= now);
    if !secrets.is_empty() && secrets.iter().all(|(_, dated)| over(dated)) {
        field.wrong("every secret in it has run out", "add the one that holds now, in front of the others");
    }
    secrets
}

fn secret_item(item: Field<'_>, dated: bool) -> Option<(Field<'_>, DatedSecret)> {
    if !dated || !matches!(item.node.value, Value::Group(_)) {
        let secret = own(&item, item.text()?)?;
        return Some((item, DatedSecret { secret, valid_until: None }));
    }
    let group = item.group::<file::DatedSecret>();
    let valid_until = group.get("valid_until").map(|field| moment(&field));
    let secret = written(&group, "secret", "secret_file");
    if secret.is_none() && group.get("secret").is_none() && group.get("secret_file").is_none() {
        group.wrong("secret", "is missing", "write `secret:` or `secret_file:`");
    }
    let (field, secret) = secret?;
    Some((field, DatedSecret { secret, valid_until: valid_until.flatten() }))
}

/// A day, which counts to its end in UTC, or a moment with its offset.
fn moment(field: &Field<'_>) -> Option<Timestamp> {
    let text = field.text()?;
    let end_of = |day: jiff::civil::Date| day.tomorrow().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let day = text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == "2027-01-31".len());
    let moment = match day {
        Some(day) => end_of(day).map(|end| end.timestamp()),
        None => text.parse::<jiff::Timestamp>().ok(),
    };
    if moment.is_none() {
        let suggestion = "write a day such as `2027-01-31`, or a moment such as `2027-01-31T18:00:00+01:00`";
        field.wrong("is neither a day nor a moment with its offset", suggestion);
    }
    moment.map(|moment| Timestamp(moment.as_millisecond()))
}

fn from_file(field: &Field<'_>) -> Option<Secret> {
    file_text(field, "put the secret into it, on one line").and_then(|text| own(field, text.trim()))
}

/// The text of a file that is named here, which must have something in it.
pub fn file_text(field: &Field<'_>, if_empty: &str) -> Option<String> {
    let path = field.path(false)?;
    match field.context.outside.read(&path) {
        Ok(text) if !text.trim().is_empty() => Some(text),
        Ok(_) => {
            field.wrong("this file is empty", if_empty);
            None
        }
        Err(reason) => {
            field.wrong(
                &format!("this file cannot be read: {reason}"),
                "write the path of a file that the gateway may read",
            );
            None
        }
    }
}
