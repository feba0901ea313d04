//! Random numbers that depend on the seed and on what they are for, not on how many were drawn before.
//!
//! If a request or a fault is left out of a plan, everything else keeps its numbers. Therefore a failing plan can be
//! shrunk.

/// What a number is for. The first part of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The plan of a run.
    Plan,
    /// How long a message to or from DynamoDB takes.
    Latency,
    /// How a transaction is prepared, and for how long it holds its items.
    Transaction,
    /// Which keys of a batch stay unprocessed.
    Batch,
    /// The random numbers of the function itself.
    Function,
    /// How long a client pauses before it repeats a request.
    Client,
    /// How long an environment takes to start.
    Start,
    /// The secret of an API key.
    ApiKey,
    /// What goes wrong with a call in an outage.
    Outage,
}

/// A stream of numbers. `splitmix64`, which is small, fast, and the same on every machine.
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// The stream of this seed for this purpose and key.
    pub fn new(seed: u64, purpose: Purpose, key: &[u64]) -> Self {
        let mut draw = Self(mix(seed ^ mix(purpose as u64 + 1)));
        for part in key {
            draw.0 = mix(draw.0 ^ part.wrapping_add(0x9E37_79B9_7F4A_7C15));
        }
        draw
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number from `low` to `high`, both included.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.bits() % (high - low + 1)
    }

    /// True `count` times in `of`.
    pub fn chance(&mut self, count: u64, of: u64) -> bool {
        self.bits() % of < count
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let index = usize::try_from(self.range(0, from.len() as u64 - 1)).unwrap_or_default();
        from.get(index).copied().unwrap_or_else(|| unreachable!("the index is below the length"))
    }

    /// A number from 0 to less than 1.
    pub fn fraction(&mut self) -> f64 {
        // 53 bits are exact in a double.
        let bits = self.bits() >> 11;
        f64::from(u32::try_from(bits >> 21).unwrap_or_default()) / 4_294_967_296.0
            + f64::from(u32::try_from(bits & 0x1F_FFFF).unwrap_or_default()) / 9_007_199_254_740_992.0
    }
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_depends_on_its_key_alone() {
        let first = |seed, key| Draw::new(seed, Purpose::Latency, key).bits();
        assert_eq!(first(1, &[2, 3]), first(1, &[2, 3]));
        assert_ne!(first(1, &[2, 3]), first(1, &[3, 2]));
        assert_ne!(first(1, &[2]), first(2, &[2]));
    }

    #[test]
    fn fractions_fill_their_range() {
        let mut draw = Draw::new(1, Purpose::Plan, &[]);
        let drawn: Vec<_> = (0..10_000).map(|_| draw.fraction()).collect();
        assert!(drawn.iter().all(|fraction| (0.0..1.0).contains(fraction)));
        assert!(drawn.iter().any(|fraction| *fraction < 0.01) && drawn.iter().any(|fraction| *fraction > 0.99));
    }
}
