//! The settings that the environment gives: `ANALYZER_GATEWAY__GATEWAY__ID=clinic-7`.

use config::Source as _;
use gateway_core::config::{Mistake, Place, Variable};
use std::ffi::OsString;

/// What every variable of ours begins with; two underscores stand between the words that follow.
pub const PREFIX: &str = "ANALYZER_GATEWAY";
const SEPARATOR: &str = "__";

/// Picks our variables, in the order of their names. An empty one counts as unset.
pub fn variables(environment: &[(OsString, OsString)]) -> Result<Vec<Variable>, Vec<Mistake>> {
    let start = format!("{PREFIX}{SEPARATOR}");
    let mut ours = config::Map::new();
    let mut mistakes = Vec::new();
    for (name, value) in environment {
        let name = name.to_string_lossy().into_owned();
        if !name.to_uppercase().starts_with(&start) {
            continue;
        }
        match value.to_str() {
            Some(value) => drop(ours.insert(name, value.to_owned())),
            // Said here, because the crate's own message would quote the value.
            None => mistakes.push(Mistake::new(Place::Variable(name), "", "is not UTF-8", "set it again")),
        }
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let names: Vec<String> = ours.keys().cloned().collect();
    let source = config::Environment::with_prefix(PREFIX)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .ignore_empty(true)
        .source(Some(ours));
    let collected = source.collect().unwrap_or_default();
    let mut variables: Vec<Variable> = collected
        .into_iter()
        .filter_map(|(path, value)| {
            let words: Vec<String> = path.split('.').map(str::to_owned).collect();
            let flat = format!("{start}{}", words.join(SEPARATOR));
            let name = names.iter().find(|name| name.eq_ignore_ascii_case(&flat)).cloned().unwrap_or(flat);
            Some(Variable { name, words, value: value.into_string().ok()? })
        })
        .collect();
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(variables)
}
