//! ASTM frames.
