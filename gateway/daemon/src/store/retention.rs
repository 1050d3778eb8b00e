//! placeholder
/// What a sweep has deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    pub attempts: u64,
    pub captures: u64,
    pub events: u64,
}
