//! `text`: analyzers that write lines, tables or fixed columns, as their profile's `text:` describes them.
//!
//! The way of a byte: `framing::bounded` (messages) -> `message` (checksum, layout) -> `patterns`, `columns` or `table`
//! (pieces) -> `draft` (facts). [`session`] holds the promise: no answer before the commit.

mod columns;
mod draft;
mod message;
mod patterns;
mod session;
mod stray;
mod table;

use crate::error::ConfigError;
use crate::session::{Driver, DriverOptions, Session};

/// See the module.
pub struct Text;

impl Driver for Text {
    fn name(&self) -> &'static str {
        "text"
    }

    fn about(&self) -> &'static str {
        "Analyzers that print lines, tables or fixed columns; a profile says what stands where"
    }

    fn open(&self, options: &DriverOptions) -> Result<Box<dyn Session>, ConfigError> {
        let Some(rules) = &options.text else {
            return Err(ConfigError {
                path: "driver".to_owned(),
                problem: "driver `text` needs a profile that says under `text:` how the analyzer writes".to_owned(),
                suggestion: Some(
                    "write `profile:` and the name of one instead; docs/adding-an-analyzer.md shows how".to_owned(),
                ),
            });
        };
        Ok(Box::new(session::Conversation::new(rules.clone(), options)))
    }
}
