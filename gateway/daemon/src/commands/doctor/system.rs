//! The box itself: its clock, the service, the control socket, what the gateway says of itself, certificates' days.

use super::{Finding, Patient, appliance};
use crate::commands::ask::{control_socket, is_nobody};
use crate::commands::status;
use crate::platform::{Platform, call, privileged, reach, time_source};
use axum::body::to_bytes;
use axum::http::Request;
use gateway_core::appliance::Appliance;
use gateway_core::overview::Overview;
use gateway_core::time::ClockQuality;
use gateway_core::trouble::Urgency;
use gateway_core::vitals::certificate_files;
use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

/// A gateway that is well answers within milliseconds.
const ANSWER_SECONDS_MAX: u64 = 10;
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Days of a certificate that still are plenty.
const DAYS_LEFT_MIN: i64 = 21;
const UNIT: &str = "analyzer-gateway.service";

pub async fn look(patient: &Patient) -> Vec<Finding> {
    let mut findings = vec![clock(patient)];
    findings.extend(certificates(patient).await);
    findings.push(service(patient));
    findings.extend(api(patient));
    let (socket, overview) = socket(patient).await;
    findings.push(socket);
    let said = privileged::said(&patient.root);
    findings.extend(overview.iter().flat_map(|overview| troubles(overview, &said)));
    findings
}

fn clock(patient: &Patient) -> Finding {
    let now = Platform::real().clock.now();
    let sources: Vec<&str> = time_source::sources(&patient.root).iter().map(|source| source.told()).collect();
    let sources = if sources.is_empty() { "no time service runs".to_owned() } else { sources.join(", ") };
    let evidence = format!("{} ({}); {sources}", now.wall, now.quality.as_str());
    let next = "Give the box a time server that it can reach (UDP port 123); `analyzer-gateway clock` says more.";
    match now.quality {
        ClockQuality::Synchronized | ClockQuality::Corrected => Finding::ok("clock", "", evidence),
        ClockQuality::Unsynchronized => Finding::warn("clock", "", evidence, next),
        ClockQuality::Unset => Finding::fail("clock", "", evidence, next),
    }
}

async fn certificates(patient: &Patient) -> Vec<Finding> {
    let platform = Platform::real();
    let (files, now) = (certificate_files(&patient.config), platform.clock.now());
    let left = platform.machine.certificates(&files, now).await;
    let finding = |file: &gateway_core::vitals::CertificateFile| {
        let subject = format!("{} {} ({})", file.of, file.what, file.path.display());
        let Some(found) = left.iter().find(|left| left.of == file.of && left.what == file.what) else {
            let next = "Check that it is there, is PEM, and that the service's user may read it.";
            return Finding::fail("certificates", subject, "cannot be read", next);
        };
        let evidence = format!("{} days left", found.days_left);
        match found.days_left {
            ..0 => Finding::fail("certificates", subject, "has run out", "Put a new one in its place, then reload."),
            0..DAYS_LEFT_MIN => {
                Finding::warn("certificates", subject, evidence, "Ask for a new one before this one runs out.")
            }
            _ => Finding::ok("certificates", subject, evidence),
        }
    };
    files.iter().map(finding).collect()
}

/// What systemd says of the unit.
fn service(patient: &Patient) -> Finding {
    if !patient.root.join("run/systemd/system").exists() {
        return Finding::skipped("service", UNIT, "systemd does not run this box");
    }
    let keys = "--property=LoadState,ActiveState,SubState,Result,NRestarts,UnitFileState";
    let said = Command::new("systemctl").args(["show", UNIT, keys]).output();
    let said = match said {
        Ok(said) => String::from_utf8_lossy(&said.stdout).into_owned(),
        Err(error) => return Finding::skipped("service", UNIT, format!("systemctl cannot be asked: {error}")),
    };
    let value = |key: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().to_owned()
    };
    let evidence = format!(
        "{} ({}), {}, started again {} times",
        value("ActiveState"),
        value("SubState"),
        value("UnitFileState"),
        value("NRestarts")
    );
    match (value("LoadState").as_str(), value("ActiveState").as_str(), value("UnitFileState").as_str()) {
        ("not-found", ..) => Finding::skipped("service", UNIT, "is not installed on this box"),
        (_, "active", "enabled") => Finding::ok("service", UNIT, evidence),
        (_, "active", _) => {
            let next = "It would not come back after a power cut: systemctl enable analyzer-gateway.";
            Finding::warn("service", UNIT, evidence, next)
        }
        _ => {
            let next = "systemctl start analyzer-gateway; `journalctl -u analyzer-gateway -n 50` says why it ended.";
            Finding::fail("service", UNIT, format!("{evidence}, result {}", value("Result")), next)
        }
    }
}

/// Whether the API could be served where it is wanted.
fn api(patient: &Patient) -> Option<Finding> {
    let address = patient.config.http.listen.as_ref()?;
    if patient.running {
        return None;
    }
    Some(match reach::can_listen(address) {
        Ok(()) => Finding::ok("api", address.clone(), "is free to listen at"),
        Err(error) => {
            let next = "Stop the program that has it (`ss -ltnp` names it), or write another address into http.listen.";
            Finding::fail("api", address.clone(), format!("cannot be listened at: {error}"), next)
        }
    })
}

async fn socket(patient: &Patient) -> (Finding, Option<Overview>) {
    let path = control_socket(&patient.config.gateway.state_dir);
    let subject = path.display().to_string();
    let Ok(request) = Request::builder().uri("http://localhost/api/status").body(String::new()) else {
        return (Finding::skipped("control_socket", subject, "cannot be asked"), None);
    };
    let asked = tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS_MAX), async {
        let response = call::call(&path, request).await?;
        to_bytes(response.into_body(), ANSWER_BYTES_MAX).await.map_err(std::io::Error::other)
    });
    let restart = "systemctl restart analyzer-gateway; nothing that was acknowledged is lost.";
    let finding = match asked.await {
        Ok(Ok(body)) => {
            let overview = serde_json::from_slice(&body).ok().and_then(|json| status::read(json).ok());
            return match overview {
                Some(overview) => (Finding::ok("control_socket", subject, "the gateway answers"), Some(overview)),
                None => {
                    let evidence = "what answers there is a gateway of another version";
                    (Finding::warn("control_socket", subject, evidence, restart), None)
                }
            };
        }
        Ok(Err(error)) if is_nobody(&error) && !patient.running => {
            Finding::skipped("control_socket", subject, "no gateway is running")
        }
        Ok(Err(error)) if error.kind() == ErrorKind::PermissionDenied => {
            let next = "Use sudo, or join the service's group: usermod -aG analyzer-gateway and your name.";
            Finding::warn("control_socket", subject, "you may not open it", next)
        }
        Ok(Err(error)) => Finding::fail("control_socket", subject, format!("does not answer: {error}"), restart),
        Err(_) => {
            let evidence = format!("takes the connection and does not answer for {ANSWER_SECONDS_MAX} s");
            Finding::fail("control_socket", subject, evidence, restart)
        }
    };
    (finding, None)
}

/// What the gateway itself complains of, without what was found at the box.
fn troubles(overview: &Overview, said: &Appliance) -> Vec<Finding> {
    let finding = |trouble: &gateway_core::trouble::Trouble| {
        let (subject, next) = (trouble.subject.clone(), trouble.next_step.clone());
        match trouble.urgency {
            Urgency::Now => Finding::fail("trouble", subject, trouble.reason.clone(), next),
            Urgency::Today | Urgency::Watch => Finding::warn("trouble", subject, trouble.reason.clone(), next),
        }
    };
    overview.troubles.iter().filter(|trouble| !appliance::is_told(trouble, said)).map(finding).collect()
}
