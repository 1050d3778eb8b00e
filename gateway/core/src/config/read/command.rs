//! `command:`: the program of the driver `exec`. It is started as it is written, without a shell, so its path is whole.

use crate::config::group::Group;

/// The driver that a program belongs to.
const EXEC: &str = "exec";
/// The program and its arguments.
const WORDS_MAX: usize = 64;

/// What is written, else what the profile has.
pub(super) fn read(group: &Group<'_>, default: Vec<String>) -> Vec<String> {
    let Some(field) = group.get("command") else { return default };
    let items = field.items();
    let words: Vec<String> = items.iter().filter_map(|item| item.text()).map(str::to_owned).collect();
    match words.first() {
        Some(program) if !program.starts_with('/') => items[0].wrong(
            "must be the program's whole path: nothing is looked up and no shell reads it",
            "write it from the root on, such as `[/usr/local/bin/my-analyzer, --quiet]`",
        ),
        None if field.context.mistakes.borrow().is_empty() => {
            field.wrong("names no program", "write its path and its arguments, such as `[/usr/local/bin/my-analyzer]`");
        }
        _ if words.len() > WORDS_MAX => {
            field.wrong("has too many words", &format!("write the program and at most {} arguments", WORDS_MAX - 1));
        }
        _ => {}
    }
    words
}

/// A program belongs to the driver `exec`, and that driver needs one.
pub(super) fn belongs(group: &Group<'_>, driver: Option<&str>, command: &[String]) {
    match driver {
        Some(EXEC) if command.is_empty() && group.get("command").is_none() => {
            let suggestion = "write `command: [/usr/local/bin/my-analyzer]`, the program that speaks with the analyzer";
            group.need("command", suggestion);
        }
        Some(other) if other != EXEC => {
            group.refuse(&["command"], "belongs to the driver `exec`", "remove this line, or write `driver: exec`");
        }
        _ => {}
    }
}
