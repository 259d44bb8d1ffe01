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
    /// From this fault's beginning until all services served for good; 0 if they did all the time.
    pub(super) recovery: Duration,
    /// The least that this fault must cost by itself.
    pub(super) bound: Duration,
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
    /// Whether there was a fence agent, and how often it was asked to switch a headnode off.
    pub(super) fence: bool,
    pub(super) fenced: usize,
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
        writeln!(f, "{EXPLAINED}")?;
        writeln!(
            f,
            "{:20} {:>6} {:>6}  {:>31}  {:>15}  {:>15}  {:>15}  {:>15}",
            "",
            "",
            "",
            "recovery alone, its bound",
            "past its bound",
            "outage alone",
            "recovery, any",
            "in order after"
        )?;
        writeln!(
            f,
            "{:20} {:>6} {:>6}  {M} {W} {:>7} {:>7}  {M} {W}  {M} {W}  {M} {W}  {M} {W}",
            "kind", "faults", "alone", "least", "most"
        )?;
        for (kind, seen) in &kinds {
            writeln!(f, "{:20} {}", kind.name(), row(seen))?;
        }
        writeln!(
            f,
            "\n{} faults in {} bursts within {:.1} minutes, {} more could not be carried out; office was taken {} times; no overlap",
            self.faults(),
            self.bursts,
            self.lasted.as_secs_f64() / 60.0,
            self.not_done,
            self.offices
        )?;
        if self.fence {
            let fenced = self.fenced;
            writeln!(
                f,
                "the fence device was told {fenced} times to switch a headnode off; never needlessly"
            )?;
        }
        Ok(())
    }
}

/// Heads of columns.
const M: &str = " median";
const W: &str = "  worst";

const EXPLAINED: &str = "\
Seconds. `recovery` counts from a fault's beginning until all services served on one headnode for good; it is 0 where they did
all the time. An outage is the longest time in which no headnode had all services; a cut headnode serves on for a while.
`alone` is of bursts with that fault only, and so its own; `any` is of all bursts that it was part of, and so up to what all of
their faults cost together. The bound is what the fault must cost by the configured figures, what services need to start left
out: a cut or a loss of power that outlasts the lease costs lease and kill time with their margins, less one renewal; a fault that
must not move services costs nothing. `in order` counts from the end of a burst's last fault until the whole cluster was in order.
";

/// What is told of the faults of a kind.
fn row(seen: &[Seen]) -> String {
    let alone: Vec<&Seen> = seen.iter().filter(|seen| seen.alone).collect();
    let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    let bounds: Vec<i64> = sorted(alone.iter().map(|seen| micros(seen.bound)));
    format!(
        "{:>6} {:>6}  {} {:>7} {:>7}  {}  {}  {}  {}",
        seen.len(),
        alone.len(),
        spans(alone.iter().map(|seen| micros(seen.recovery))),
        seconds(bounds.first()),
        seconds(bounds.last()),
        spans(alone.iter().map(|seen| micros(seen.recovery) - micros(seen.bound))),
        spans(alone.iter().map(|seen| micros(seen.outage))),
        spans(seen.iter().map(|seen| micros(seen.recovery))),
        spans(seen.iter().map(|seen| micros(seen.settled)))
    )
}

fn sorted(spans: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut spans: Vec<i64> = spans.collect();
    spans.sort_unstable();
    spans
}

/// Median and worst.
fn spans(spans: impl Iterator<Item = i64>) -> String {
    let spans = sorted(spans);
    // The upper one of two in the middle.
    format!("{:>7} {:>7}", seconds(spans.get(spans.len() / 2)), seconds(spans.last()))
}

/// Microseconds as seconds, in whole hundredths.
fn seconds(micros: Option<&i64>) -> String {
    let shown = |micros: &i64| {
        let hundredths = (micros + 5_000).div_euclid(10_000);
        let (sign, size) = (if hundredths < 0 { "-" } else { "" }, hundredths.abs());
        format!("{sign}{}.{:02}", size / 100, size % 100)
    };
    micros.map_or_else(|| "-".to_owned(), shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_row_with_what_it_cost_alone_its_bound_and_what_it_was_part_of() {
        let seen = |kind, alone, recovery, bound| {
            let [recovery, bound, settled] = [recovery, bound, 3].map(Duration::from_secs);
            Seen { kind, alone, recovery, bound, outage: recovery, settled }
        };
        let report = Report {
            seen: vec![
                seen(Kind::Cut, true, 0, 0),
                seen(Kind::Cut, true, 9, 7),
                seen(Kind::Cut, true, 10, 7),
                seen(Kind::Cut, false, 20, 7),
                seen(Kind::Loss, false, 20, 0),
            ],
            bursts: 4,
            ..Report::default()
        };
        let text = report.to_string();
        let row = |name: &str| {
            let mut rows = text.lines().filter(|line| line.starts_with(name));
            rows.next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            row("cut "),
            "cut 4 3 9.00 10.00 0.00 7.00 2.00 3.00 9.00 10.00 10.00 20.00 3.00 3.00"
        );
        assert_eq!(row("loss "), "loss 1 0 - - - - - - - - 20.00 20.00 3.00 3.00");
        assert!(!text.contains("fence device"), "{text}");
        let fenced = Report { fence: true, fenced: 2, ..report };
        assert!(fenced.to_string().contains("told 2 times"), "{fenced}");
    }

    #[test]
    fn spans_are_rounded_to_hundredths_and_may_be_negative() {
        let shown = [1_234_999, 1_235_000, -4_000, -1_006_000].map(|micros| seconds(Some(&micros)));
        assert_eq!(shown, ["1.23", "1.24", "0.00", "-1.01"]);
    }
}
