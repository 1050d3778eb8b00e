//! `update:`: where newer systems are, and when the box looks for them by itself.

use crate::config::group::Group;
use crate::config::{Automatic, Hours, Updates, address, file};

pub fn read(root: &Group<'_>) -> Updates {
    let group = root.group::<file::Updates>("update");
    let default = Updates::default();
    // A bundle is signed: whoever changes it on its way is found out without TLS too.
    let url =
        group.get("url").and_then(|field| address::web(&field, true, "https://updates.example/box.raucb", "update"));
    let words = [("never", Automatic::Never), ("check", Automatic::Check), ("install", Automatic::Install)];
    let automatic = group.choice("automatic", &words, default.automatic);
    let between = group.get("between").and_then(|field| {
        let hours = Hours::read(field.text()?);
        if hours.is_none() {
            field.wrong("is not a span of the day", "write two times of the day in quotes, such as \"02:00-05:00\"");
        }
        hours
    });
    if automatic != Automatic::Never && group.get("url").is_none() {
        group.wrong("automatic", "there is no address to look at", "add `url:`, or write `never`");
    }
    Updates { url, automatic, between: between.unwrap_or(default.between) }
}
