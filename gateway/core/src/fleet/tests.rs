//! Fleets in words: who is found, and who is left in peace.
