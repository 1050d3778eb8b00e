//! What is wrong with a setting: said by the reader of the file and by a driver that is opened, which do not know each other.

/// One thing that is wrong with the settings, where it stands and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ConfigError {
    /// `webhooks[0].url`
    pub path: String,
    /// What is wrong, in a sentence.
    pub problem: String,
    /// What to write instead, if there is something to say.
    pub suggestion: Option<String>,
}
