//! Commands over MQTT and what they are answered with.
//!
//! Invariant: an answer may leave the clinic. It says what was done, in counts, states and the gateway's own sentences, and has
//! no field for what an analyzer or a receiver said.

use crate::appliance::UpdatePhase;
use crate::overview::{Overview, SCHEMA};
use crate::time::{ClockQuality, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One command.
pub struct Command {
    pub name: &'static str,
    /// Whether it changes nothing and may be done while the clock cannot be trusted.
    pub harmless: bool,
    pub about: &'static str,
}

/// Every command.
pub const COMMANDS: &[Command] = &[
    Command { name: "ping", harmless: true, about: "Says that the gateway is there, its version and its clock." },
    Command { name: "status", harmless: true, about: "Everything at a glance, as `GET /api/status`." },
    Command { name: "test_webhook", harmless: false, about: "Tries `endpoint` out, hop by hop." },
    Command {
        name: "redrive",
        harmless: false,
        about: "Sends dead events again: `ids`, `destination`, `reason`, `from`, `to`, `dry_run`, as `POST /api/redrive`.",
    },
    Command { name: "pause", harmless: false, about: "Sends nothing to `endpoint` until it is resumed." },
    Command { name: "resume", harmless: false, about: "Sends to `endpoint` again." },
    Command {
        name: "collect_diagnostics",
        harmless: false,
        about: "Makes the diagnostic bundle and sends it, if it fits into a packet.",
    },
    Command { name: "reload", harmless: false, about: "Reads the settings file again." },
    Command {
        name: "update",
        harmless: false,
        about: "Updates the box's system: `action` (check, install, rollback), `source`, `older`, as `POST /api/update`.",
    },
    Command {
        name: "push_config",
        harmless: false,
        about: "Tries the settings in `yaml` for `confirm_within_seconds` (60 to 3600, else 300).",
    },
    Command {
        name: "confirm_config",
        harmless: false,
        about: "Keeps the settings that are tried, if they have this `hash`.",
    },
];

/// `commands/response/<id>`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommandResponse {
    pub schema: u32,
    /// The command's own; `unreadable` if it cannot be read.
    pub id: String,
    /// Empty if it cannot be read.
    pub command: String,
    pub outcome: CommandOutcome,
    /// A word for programs where it was not done.
    pub code: Option<String>,
    /// Why it was not done and what to do.
    pub reason: Option<String>,
    pub result: Option<CommandResult>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CommandOutcome {
    Done,
    /// Nothing was done, and asking again in the same way will not change that.
    Refused,
    /// It was tried and did not succeed.
    Failed,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandResult {
    /// `ping`
    Pong {
        version: String,
        #[schemars(with = "String")]
        at: Timestamp,
        clock: ClockQuality,
    },
    /// `status`
    Overview(Box<Overview>),
    /// `test_webhook`
    Tested { webhook: String, ok: bool, status: Option<u16>, hops: Vec<TestedHop> },
    /// `redrive`: how many events go to each destination.
    Redriven { dry_run: bool, destinations: BTreeMap<String, u64> },
    /// `pause`, `resume`
    Paused {
        webhook: String,
        paused: bool,
        #[schemars(with = "Option<String>")]
        since: Option<Timestamp>,
    },
    /// `reload`, `push_config`, `confirm_config`: the hash of the settings that it is about.
    Settings {
        hash: String,
        #[schemars(with = "Option<String>")]
        confirm_by: Option<Timestamp>,
        file: Option<String>,
    },
    /// `update`: it was handed on; the version that ran then, and the phase before. `health` says how it goes.
    Update { version: String, phase: Option<UpdatePhase> },
    /// Why settings are refused.
    Mistakes(Vec<ConfigMistake>),
    /// `collect_diagnostics`: where the bundle is, and how large.
    Diagnostics { file: String, bytes: u64 },
}

/// One hop on the way to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestedHop {
    pub hop: String,
    pub ok: bool,
    pub milliseconds: u64,
    pub next_step: Option<String>,
}

/// A mistake in settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigMistake {
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub path: String,
    pub problem: String,
    pub suggestion: Option<String>,
}

impl CommandResponse {
    /// It was done.
    pub fn done(id: &str, command: &str, result: CommandResult) -> CommandResponse {
        CommandResponse {
            schema: SCHEMA,
            id: id.to_owned(),
            command: command.to_owned(),
            outcome: CommandOutcome::Done,
            code: None,
            reason: None,
            result: Some(result),
        }
    }

    /// It was not.
    pub fn not_done(id: &str, command: &str, outcome: CommandOutcome, code: &str, reason: &str) -> CommandResponse {
        CommandResponse {
            schema: SCHEMA,
            id: id.to_owned(),
            command: command.to_owned(),
            outcome,
            code: Some(code.to_owned()),
            reason: Some(reason.to_owned()),
            result: None,
        }
    }
}

pub(super) fn request_schema() -> Value {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    let text = |about: &str| json!({ "type": "string", "description": about });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "CommandRequest",
        "type": "object",
        "required": ["id", "command", "token", "expires_at"],
        "additionalProperties": false,
        "properties": {
            "schema": { "const": SCHEMA },
            "id": { "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$", "description": "New for each command: the same id is answered with its first answer." },
            "command": { "enum": names },
            "token": text("A token of the API, as `token add` has made it."),
            "expires_at": { "type": "string", "format": "date-time", "description": "Not to be done after this; at most 10 minutes ahead." },
            "arguments": { "type": "object" },
        },
    })
}

pub(super) fn request() -> Value {
    json!({
        "schema": 1, "id": "c1", "command": "test_webhook", "token": "...", "expires_at": "2026-11-21T20:15:00.000Z",
        "arguments": { "endpoint": "lims" },
    })
}

pub(super) fn response() -> Value {
    json!({
        "schema": 1, "id": "c1", "command": "test_webhook", "outcome": "done", "code": null, "reason": null,
        "result": { "tested": {
            "webhook": "lims", "ok": false, "status": null,
            "hops": [
                { "hop": "dns", "ok": true, "milliseconds": 3, "next_step": null },
                { "hop": "tcp", "ok": false, "milliseconds": 2,
                  "next_step": "Nothing answers at this address. Check host and port of the url, and that the receiver runs." },
            ],
        } },
    })
}
