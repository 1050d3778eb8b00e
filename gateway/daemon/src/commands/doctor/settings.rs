//! The settings file and the files of secrets that it names: whether they are good, and who may read them.

use super::{Finding, Patient, in_force};
use crate::configuration::{self, Source};
use gateway_core::config::Config;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The rights of everybody else on a file.
const OTHERS: u32 = 0o007;
/// Keys that name what need not be secret.
const PUBLIC: [&str; 3] = ["ca_file", "certificate_file", "body_file"];

/// The verdict on the file, and the settings in force.
pub fn look(source: &Source) -> (Config, Vec<Finding>) {
    let check = "settings";
    match in_force(source) {
        Ok(running) => {
            let warnings = running.loaded.warnings();
            let config = running.loaded.config;
            let path = running.loaded.path.as_ref().map(|path| path.display().to_string());
            let mut findings = Vec::new();
            match (&running.refused, path) {
                (Some(failure), kept) => {
                    let evidence =
                        format!("refused, the last good ones hold ({}): {failure}", kept.unwrap_or_default());
                    let next = "Mend the file, then: systemctl reload analyzer-gateway.";
                    findings.push(Finding::fail(check, "", evidence, next));
                }
                (None, Some(path)) => findings.push(Finding::ok(check, path, "good")),
                (None, None) => {
                    let next = "Write one: `analyzer-gateway schema` and the examples show how.";
                    findings.push(Finding::warn(check, "", "there is no settings file: no analyzer is read", next));
                }
            }
            let next = "Look at the settings' manual for this key.";
            findings.extend(warnings.into_iter().map(|warning| Finding::warn(check, "", warning, next)));
            (config, findings)
        }
        Err(failure) => {
            let next = "Mend the file: without good settings the gateway does not start (exit status 78).";
            (Config::default(), vec![Finding::fail(check, "", failure.to_string(), next)])
        }
    }
}

/// Who may read what should be secret.
pub fn secrets(patient: &Patient) -> Vec<Finding> {
    let (settings, named) = configuration::named_files(&patient.source);
    let mut findings = Vec::new();
    for (key, path) in named {
        let name = key.rsplit('.').next().unwrap_or_default();
        let subject = format!("{key} ({})", path.display());
        findings.push(match std::fs::metadata(&path) {
            Err(error) => {
                let next =
                    "Put the file in its place and give its group to the service: chgrp analyzer-gateway, chmod 640.";
                Finding::fail("secret_files", subject, format!("cannot be read: {error}"), next)
            }
            Ok(file) if !PUBLIC.contains(&name) && file.permissions().mode() & OTHERS != 0 => {
                let mode = file.permissions().mode() & 0o7777;
                let next = format!("chmod 640 {0} && chgrp analyzer-gateway {0}", path.display());
                Finding::fail(
                    "secret_files",
                    subject,
                    format!("everybody on this box may read it (mode {mode:o})"),
                    next,
                )
            }
            Ok(_) => Finding::ok("secret_files", subject, "there, and not for everybody"),
        });
    }
    findings.extend(settings.as_deref().and_then(inline));
    findings
}

/// A file that holds secrets itself.
fn inline(path: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    let text = std::fs::read_to_string(path).ok()?;
    let secret = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        ["secret:", "password:", "secrets:"].iter().any(|key| line.contains(key))
    };
    let (holds, open) = (text.lines().any(secret), mode & OTHERS != 0);
    (holds && open).then(|| {
        let evidence = format!("holds a secret, and everybody on this box may read it (mode {mode:o})");
        let next =
            "chmod 640 and chgrp analyzer-gateway; on a boot partition, where modes mean nothing, use secret_file.";
        Finding::warn("secret_files", path.display().to_string(), evidence, next)
    })
}
