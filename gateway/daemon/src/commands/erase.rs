//! `erase`: takes a person's data out of everything that is stored.

use super::EXIT_USAGE;
use super::ask::{Asker, cell};
use axum::http::Method;
use serde_json::{Value, json};
use std::io::Write;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The clinic's id of the patient
    #[arg(long, group = "whose")]
    patient_id: Option<String>,
    /// The id of a sample
    #[arg(long, group = "whose")]
    sample_id: Option<String>,
    /// The id of a registration
    #[arg(long, group = "whose")]
    registration: Option<String>,
    /// A partner's integer id of the person
    #[arg(long, conflicts_with = "whose")]
    user_id: Option<i64>,
    /// The person's e-mail address
    #[arg(long, conflicts_with = "whose")]
    email: Option<String>,
    /// The person's telephone number
    #[arg(long, conflicts_with = "whose")]
    phone: Option<String>,
    #[command(flatten)]
    asker: Asker,
}

pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let Args { patient_id, sample_id, registration, user_id, email, phone, asker } = args;
    let mut body = json!({});
    let texts = [
        ("patient_id", patient_id),
        ("sample_id", sample_id),
        ("registration_id", registration),
        ("email", email),
        ("phone", phone),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            body[key] = text.into();
        }
    }
    if let Some(id) = user_id {
        body["user_id"] = id.into();
    }
    if body.as_object().is_none_or(serde_json::Map::is_empty) {
        let _ = writeln!(err, "say whose: --patient-id, --sample-id, --registration, --user-id, --email or --phone");
        return EXIT_USAGE;
    }
    asker.tell((Method::POST, "/api/erasures".to_owned(), Some(body)), out, err, erased)
}

fn erased(answer: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    if let Some(id) = answer["id"].as_str() {
        return writeln!(
            out,
            "this takes longer: it goes on while the gateway runs, and event {id} will tell what was erased"
        );
    }
    let (events, captures) = (cell(&answer["events"]), cell(&answer["captures"]));
    let registrations = answer["registrations"].as_array().map_or(0, Vec::len);
    writeln!(out, "erased from {events} events, {captures} received messages, {registrations} registrations")?;
    if answer["wiped"] != true {
        writeln!(out, "the disk's files are cleaned with the next sweep: another program is reading them now")?;
    }
    for file in answer["set_aside"].as_array().into_iter().flatten() {
        writeln!(out, "{} was set aside damaged and still holds it: delete it", cell(file))?;
    }
    Ok(())
}
