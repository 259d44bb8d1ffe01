//! What came of a run: a table of the kinds of faults, with how long the cluster needed after each.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::kind::Kind;

/// What is known of one fault when its burst is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) kind: Kind,
    /// Whether its burst had no other fault.
    pub(super) alone: bool,
    /// The longest time in which nobody had all services, from the burst's first fault until all was in order.
    pub(super) outage: Duration,
    /// From the end of the burst's last fault until all was in order.
    pub(super) settled: Duration,
}

/// What a run did and saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub(super) seen: Vec<Seen>,
    pub(super) bursts: usize,
    /// Faults that could not be carried out when their time came.
    pub(super) not_done: usize,
    /// How often office was taken.
    pub(super) offices: u64,
    pub(super) lasted: Duration,
}

impl Report {
    /// How many faults there were.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.seen.len()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: BTreeMap<Kind, Vec<Seen>> = BTreeMap::new();
        for seen in &self.seen {
            kinds.entry(seen.kind).or_default().push(*seen);
        }
        writeln!(
            f,
            "Seconds. `alone`: bursts of that fault only. An outage is the longest time in which no headnode had all"
        )?;
        writeln!(
            f,
            "services; `in order` counts from the end of the burst's last fault until the whole cluster was in order.\n"
        )?;
        writeln!(
            f,
            "{:20} {:>6} {:>6}  {:>15}  {:>15}  {:>15}",
            "", "", "", "outage alone", "outage, any", "in order after"
        )?;
        writeln!(
            f,
            "{:20} {:>6} {:>6}  {:>7} {:>7}  {:>7} {:>7}  {:>7} {:>7}",
            "kind", "faults", "alone", "median", "worst", "median", "worst", "median", "worst"
        )?;
        for (kind, seen) in &kinds {
            let alone: Vec<Seen> = seen.iter().filter(|seen| seen.alone).copied().collect();
            writeln!(
                f,
                "{:20} {:>6} {:>6}  {}  {}  {}",
                kind.name(),
                seen.len(),
                alone.len(),
                spans(alone.iter().map(|seen| seen.outage)),
                spans(seen.iter().map(|seen| seen.outage)),
                spans(seen.iter().map(|seen| seen.settled))
            )?;
        }
        writeln!(
            f,
            "\n{} faults in {} bursts within {:.1} minutes, {} more could not be carried out; office was taken {} times; no overlap",
            self.faults(),
            self.bursts,
            self.lasted.as_secs_f64() / 60.0,
            self.not_done,
            self.offices
        )
    }
}

/// Median and worst.
fn spans(spans: impl Iterator<Item = Duration>) -> String {
    let mut spans: Vec<Duration> = spans.collect();
    spans.sort_unstable();
    let shown = |span: Option<&Duration>| {
        span.map_or_else(|| "-".to_owned(), |span| format!("{:.2}", span.as_secs_f64()))
    };
    // The upper one of two in the middle.
    format!("{:>7} {:>7}", shown(spans.get(spans.len() / 2)), shown(spans.last()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_row_with_median_and_worst() {
        let seen = |kind, alone, outage| {
            let [outage, settled] = [outage, 3].map(Duration::from_secs);
            Seen { kind, alone, outage, settled }
        };
        let report = Report {
            seen: vec![
                seen(Kind::Cut, true, 8),
                seen(Kind::Cut, true, 9),
                seen(Kind::Cut, true, 10),
                seen(Kind::Cut, false, 20),
                seen(Kind::Loss, false, 20),
            ],
            bursts: 4,
            ..Report::default()
        };
        let text = report.to_string();
        let row = |name: &str| {
            let mut rows = text.lines().filter(|line| line.starts_with(name));
            rows.next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(row("cut"), "cut 4 3 9.00 10.00 10.00 20.00 3.00 3.00");
        assert_eq!(row("loss"), "loss 1 0 - - 20.00 20.00 3.00 3.00");
    }
}
