//! The state of everything at a glance: a fold over facts.
