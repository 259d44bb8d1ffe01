//! Chance without a source of it: a row of numbers from one that was passed in, so that nodes do not move in step.

use std::time::Duration;

/// A row of numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (splitmix64: any seed will do).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of 0 to `count` - 1; 0 if there is none.
    pub(super) fn pick(&mut self, count: u32) -> u32 {
        let picked = self.next().checked_rem(u64::from(count)).unwrap_or_default();
        u32::try_from(picked).unwrap_or_default()
    }

    /// `span`, or up to a quarter less.
    pub(super) fn less(&mut self, span: Duration) -> Duration {
        let parts = self.pick(1000);
        span.saturating_sub(span / 4000 * parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jittered_span_is_never_longer_and_at_most_a_quarter_shorter() {
        let mut jitter = Jitter::new(7);
        let span = Duration::from_secs(10);
        let drawn: Vec<Duration> = (0..1000).map(|_| jitter.less(span)).collect();
        assert!(drawn.iter().all(|it| *it <= span && *it >= span / 4 * 3));
        assert!(drawn.iter().max() > Some(&Duration::from_millis(9900)));
        assert!(drawn.iter().min() < Some(&Duration::from_millis(7600)));
    }

    #[test]
    fn the_same_number_brings_the_same_row_and_another_one_another() {
        let row = |seed| {
            let mut jitter = Jitter::new(seed);
            (0..20).map(|_| jitter.pick(10)).collect::<Vec<_>>()
        };
        assert_eq!(row(1), row(1));
        assert_ne!(row(1), row(2));
        assert_eq!(Jitter::new(1).pick(0), 0);
    }
}
