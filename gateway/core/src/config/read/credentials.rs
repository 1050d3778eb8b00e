//! `ca_file`, `certificate_file` and `key_file`: whether they hold what their keys say. A file that is none would show only
//! when a connection is refused, days later.

use crate::config::Pem;
use crate::config::group::{Field, Group};

/// A certificate of the gateway's own is of use only with its key.
pub fn pair(group: &Group<'_>) {
    match (group.get("certificate_file"), group.get("key_file")) {
        (Some(field), None) => field.wrong("belongs to `key_file`, which is missing", "add `key_file:`"),
        (None, Some(field)) => {
            field.wrong("belongs to `certificate_file`, which is missing", "add `certificate_file:`")
        }
        _ => {}
    }
}

/// Looks into the files; to be called last, because a key of which something is wrong already is left alone.
pub fn judge(group: &Group<'_>) {
    let written = |key| group.get(key).filter(|field: &Field<'_>| !group.context.is_told(&field.path));
    let outside = group.context.outside;
    let good = |key: &'static str, holds| {
        let field = written(key)?;
        let path = field.node.as_text().map(std::path::PathBuf::from)?;
        match outside.pem(&path, holds) {
            Ok(()) => Some((field, path)),
            Err(unfit) => {
                field.wrong(unfit.problem, unfit.suggestion);
                None
            }
        }
    };
    good("ca_file", Pem::Certificates);
    let (certificate, key) = (good("certificate_file", Pem::Certificates), good("key_file", Pem::Key));
    if let (Some((_, certificate)), Some((field, key))) = (certificate, key)
        && !outside.is_pair(&certificate, &key)
    {
        let problem = "is not the key that the certificate in `certificate_file` was made for";
        field.wrong(problem, "name the key with which that certificate was asked for, or the certificate of this key");
    }
}
