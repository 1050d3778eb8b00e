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
use crate::reading::Pattern;
use crate::scrub::{self, Pseudonyms, Unscrubbable};
use crate::session::{Driver, DriverOptions, Session};
use crate::text_rules::{Layout, Patterns};

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

    /// Where patterns tell what stands where. Columns and tables, and sums over the text, are not made anew.
    fn scrub(&self, options: &DriverOptions, bytes: &[u8], names: &Pseudonyms) -> Result<Vec<u8>, Unscrubbable> {
        let rules = options.text.as_ref().filter(|rules| rules.checksum.is_none()).ok_or(Unscrubbable)?;
        let Layout::Patterns(patterns) = &rules.layout else { return Err(Unscrubbable) };
        let Patterns { test_begins, details, results, references } = patterns;
        let bounds = [&rules.bounds.begin_line, &rules.bounds.end_line, &rules.qc, &rules.calibration, &rules.ignore];
        let framed = bounds.into_iter().chain([test_begins]).flatten();
        let known: Vec<&Pattern> = framed.chain(&rules.skip).chain(details).chain(results).chain(references).collect();
        Ok(scrub::text(bytes, &known, names))
    }
}
