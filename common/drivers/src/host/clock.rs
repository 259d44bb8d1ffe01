//! The host's clocks, read for the core, which reads none.

use std::time::{Duration, SystemTime};

use headship_core::time::{Time, WallTime};
use nix::time::{ClockId, clock_gettime};

/// Now, on CLOCK_BOOTTIME: it goes on while the host is suspended.
pub fn now() -> Time {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every supported kernel has BOOTTIME");
    let micros = Duration::from(now).as_micros();
    Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// Now, on the wall clock; zero if it stands before 1970.
pub fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boottime_agrees_with_the_uptime_that_the_kernel_tells() {
        let before = now();
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
        let uptime = Time::default().after(Duration::from_secs_f64(seconds));
        // /proc/uptime is cut to hundredths of a second.
        assert!(before.before(Duration::from_millis(10)) <= uptime && uptime <= now());
    }
}
