//! Numbers that look random and are the same for the same seed: SplitMix64 (Steele, Lea, Flood 2014). Good enough to
//! choose faults and to invent values, and for nothing else.

/// A stream of numbers, fixed by its seed.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    pub fn new(seed: u64) -> Seeded {
        Seeded(seed)
    }

    /// Another stream that shares nothing with this one, for a second thing that draws at its own pace.
    pub fn fork(&mut self) -> Seeded {
        Seeded(self.bits())
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `bound - 1`; 0 if the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.bits() % bound }
    }

    /// True in `per_thousand` of a thousand cases. Draws even if the chance is 0, so that switching one fault off does not
    /// move the others.
    pub fn chance(&mut self, per_thousand: u32) -> bool {
        self.below(1000) < u64::from(per_thousand)
    }

    /// A number between `low` and `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        let unit = (self.bits() >> 11) as f64 / (1_u64 << 53) as f64;
        low + (high - low) * unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_a_range_is_kept() {
        let (mut one, mut two) = (Seeded::new(7), Seeded::new(7));
        for _ in 0..1000 {
            let drawn = one.between(-1.0, 3.5);
            assert!((-1.0..3.5).contains(&drawn));
            assert_eq!(drawn, two.between(-1.0, 3.5));
        }
        assert_ne!(one.fork().bits(), one.bits());
        assert_eq!(Seeded::new(1).below(0), 0);
    }
}
