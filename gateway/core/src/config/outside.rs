//! What the validation asks about the machine that it is for. The core itself opens nothing.

use super::tree::{Mistake, Node};
use crate::time::Timestamp;
use std::path::Path;

/// What the validation has to ask about the machine. The core itself opens nothing.
pub trait Outside {
    /// The text of a secret's file, or why it cannot be had.
    fn read(&self, path: &Path) -> Result<String, String>;
    /// Whether there is such a file; else why it cannot be had, and what to do. A last good configuration has all: it must start.
    fn file(&self, path: &Path) -> Result<(), Unfit>;
    /// Whether the file holds this as PEM (RFC 7468); else why not, and what to do. A last good configuration asks nobody.
    fn pem(&self, path: &Path, holds: Pem) -> Result<(), Unfit>;
    /// Whether the certificate was made for this key; also where that cannot be told.
    fn is_pair(&self, certificate: &Path, key: &Path) -> bool;
    /// The IANA names that this machine knows.
    fn time_zones(&self) -> Vec<String>;
    /// The profile of that name: the user's own before those that the gateway brings along; `None` if there is no such file.
    fn profile(&self, name: &str) -> Option<WrittenProfile>;
    /// The names of all profiles, sorted.
    fn profiles(&self) -> Vec<String>;
    /// The present time; `None` if what has run out shall not be judged. A last good configuration judges nothing.
    fn now(&self) -> Option<Timestamp>;
}

/// What a file must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pem {
    /// One certificate at least.
    Certificates,
    /// A private key that nobody has to unlock.
    Key,
}

/// Why a file is of no use, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    pub problem: &'static str,
    pub suggestion: &'static str,
}

/// A profile's file.
pub struct WrittenProfile {
    /// What mistakes in it call it: its path, or its name among those that the gateway brings along.
    pub file: String,
    /// Its tree, or why there is none.
    pub tree: Result<Node, Vec<Mistake>>,
}
