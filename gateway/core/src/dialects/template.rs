//! `template`: the integrator's own body and headers.

/// A body and headers with places to fill in, checked when the settings are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    body: String,
    headers: Vec<(String, String)>,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct TemplateError {
    /// Counted from 1, inside the template's text.
    pub line: usize,
    pub column: usize,
    pub problem: String,
}
