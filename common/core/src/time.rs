//! The core's own time: a point on the host's CLOCK_BOOTTIME.
//!
//! The core never reads a clock; whoever calls it passes the time in. BOOTTIME goes on while the host is suspended, which
//! is what a lease must be counted in. All arithmetic saturates: a wrong figure must not become a panic or a wrap-around
//! in the process that holds office.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on CLOCK_BOOTTIME, in microseconds since the host's boot.
///
/// Points of two hosts (or of two boots of one host) must never be compared.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(u64);

impl Time {
    /// The latest point there is: "never" as a deadline.
    pub const MAX: Self = Self(u64::MAX);

    /// The point `micros` microseconds after boot.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The point `millis` milliseconds after boot.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// Microseconds since boot.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// This point, later by `span`.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }

    /// This point, earlier by `span`; the moment of boot at the earliest.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros(span)))
    }

    /// How long ago `earlier` was; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000_000, self.0 / 1000 % 1000)
    }
}

/// A point of the wall clock, in milliseconds of Unix time. For people and for the end of an order's validity; nothing
/// that keeps two headnodes apart may depend on it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WallTime(pub u64);

/// A span in whole milliseconds, as it stands in records and for people.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Time::MAX.after(Duration::from_secs(1)), Time::MAX);
        assert_eq!(Time::from_millis(1).before(Duration::from_secs(1)), Time::default());
        assert_eq!(Time::from_millis(1).since(Time::from_millis(5)), Duration::ZERO);
        assert_eq!(Time::default().after(Duration::MAX), Time::MAX);
    }
}
