//! Times as people read them.

use std::time::Duration;

use headship_core::time::WallTime;

const DAY_S: u64 = 86_400;

/// A length of time, as exact as it is short.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..10 => format!("{}.{} s", seconds, span.subsec_millis() / 100),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        172_800.. => format!("{} days", seconds / DAY_S),
    }
}

/// How long ago a point of the wall clock was. Two hosts' clocks may differ: what seems to lie ahead was just now.
pub(crate) fn ago(now: WallTime, at: WallTime) -> String {
    format!("{} ago", span(Duration::from_millis(now.0.saturating_sub(at.0))))
}

/// A point of the wall clock, in UTC.
pub(crate) fn utc(at: WallTime) -> String {
    let seconds = at.0 / 1000;
    let (year, month, day) = date(seconds / DAY_S);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of a day counted from 1970-01-01.
fn date(mut day: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    while day >= days_of(year) {
        day -= days_of(year);
        year += 1;
    }
    let february = days_of(year) - 337;
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    (year, month, day + 1)
}

fn days_of(year: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    if leap { 366 } else { 365 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_the_wall_clock_are_told_as_date_prints_them() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (1_795_368_000, "2026-11-22 17:20:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(WallTime(seconds * 1000)), text);
        }
    }

    #[test]
    fn spans_lose_what_does_not_matter() {
        let told = [0, 950, 9999, 10_000, 119_000, 120_000, 7_200_000, 172_800_000];
        let told: Vec<String> = told.iter().map(|&ms| span(Duration::from_millis(ms))).collect();
        assert_eq!(told, ["0.0 s", "0.9 s", "9.9 s", "10 s", "119 s", "2 min", "2 h", "2 days"]);
        assert_eq!(ago(WallTime(1), WallTime(2)), "0.0 s ago");
    }
}
