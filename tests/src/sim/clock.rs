//! A host's CLOCK_BOOTTIME: counted from its own boot, and a little fast or slow.

use std::time::Duration;

use headship_core::time::Time;

const MILLION: u64 = 1_000_000;

/// A host's clock, as a function of the simulation's time.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    base: Duration,
    local: u64,
    /// Local microseconds in a million true ones.
    rate: u64,
}

impl Clock {
    /// A clock that shows `local` microseconds at `now` and is `ppm` too fast (or slow, if negative).
    pub(super) fn new(now: Duration, local: u64, ppm: i64) -> Self {
        Self { base: now, local, rate: MILLION.saturating_add_signed(ppm) }
    }

    /// From `now` on it is this much too fast or slow.
    pub(super) fn set_drift(&mut self, now: Duration, ppm: i64) {
        *self = Self::new(now, self.at(now).as_micros(), ppm);
    }

    /// What it shows at `now`.
    pub(super) fn at(&self, now: Duration) -> Time {
        let passed = micros(now.saturating_sub(self.base));
        Time::from_micros(self.local.saturating_add(passed.saturating_mul(self.rate) / MILLION))
    }

    /// The first moment at which it shows `time` or later.
    pub(super) fn moment(&self, time: Time) -> Duration {
        let left = time.as_micros().saturating_sub(self.local);
        let passed = u128::from(left) * u128::from(MILLION) / u128::from(self.rate);
        let passed = u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(2);
        self.base.saturating_add(Duration::from_micros(passed))
    }
}

/// A span in whole microseconds.
pub(super) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_never_before_the_time_it_is_for() {
        for ppm in [-50_000, -37, 0, 41, 50_000] {
            let clock = Clock::new(Duration::from_secs(7), 123, ppm);
            for local in [124, 5_000_017, 86_400_000_000] {
                let time = Time::from_micros(local);
                assert!(clock.at(clock.moment(time)) >= time, "{ppm} {local}");
            }
        }
    }
}
