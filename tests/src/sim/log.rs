//! What happened, a line each: what a person on call wants to see, and, on request, everything.

use std::time::Duration;

/// The log of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) detailed: bool,
    /// When it begins.
    pub(super) start: Duration,
    pub(super) lines: Vec<(Duration, String, String)>,
}

impl Log {
    pub(super) fn add(&mut self, now: Duration, who: &str, text: String) {
        self.lines.push((now.saturating_sub(self.start), who.to_owned(), text));
    }

    /// Forgets what was; times count from now on.
    pub(super) fn begin_anew(&mut self, now: Duration) {
        self.start = now;
        self.lines.clear();
    }

    /// All lines, with times in seconds to so many digits.
    pub(super) fn text(&self, digits: usize) -> String {
        let width = 5 + digits;
        let line = |(now, who, text): &(Duration, String, String)| {
            format!("{:>width$.digits$} {who:<7} {text}\n", now.as_secs_f64())
        };
        self.lines.iter().map(line).collect()
    }
}
