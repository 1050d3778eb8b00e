//! Which events follow from what; written next.
