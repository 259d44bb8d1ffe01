//! What came of a run: a table of the kinds of faults, with how long the cluster needed after each.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::kind::Kind;
use super::stage::Outcome;

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

/// How often a kind came, by what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tries {
    bit: usize,
    in_part: usize,
    refused: usize,
    not_done: usize,
}

/// How a run ended, if it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Ended {
    #[default]
    NotYet,
    Well,
    Failed(String),
}

/// A run this long must have had every kind that it drew.
const LONG: Duration = Duration::from_secs(3600);

/// What a run did and saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub(super) seen: Vec<Seen>,
    pub(super) bursts: usize,
    /// Every kind that was drawn.
    pub(super) tries: BTreeMap<Kind, Tries>,
    pub(super) ended: Ended,
    /// Whether there was a fence agent, and how often it was asked to switch a headnode off.
    pub(super) fence: bool,
    pub(super) fenced: usize,
    /// How often office was taken.
    pub(super) offices: u64,
    pub(super) lasted: Duration,
}

impl Report {
    /// How many faults there were that bit, in bursts that were judged.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.seen.len()
    }

    /// Notes what became of a fault that was drawn.
    pub(super) fn count(&mut self, kind: Kind, outcome: Outcome) {
        let tries = self.tries.entry(kind).or_default();
        match outcome {
            Outcome::Bit => tries.bit += 1,
            Outcome::InPart => tries.in_part += 1,
            Outcome::Refused => tries.refused += 1,
            Outcome::NotDone => tries.not_done += 1,
        }
    }

    /// What was drawn and did not bite, and which kinds never did.
    fn fmt_tries(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, it) in self.tries.iter().filter(|(_, it)| it.bit < it.all()) {
            writeln!(
                f,
                "{}: of {} faults {} bit; {} were refused, {} done in part, {} not done at all",
                kind.name(),
                it.all(),
                it.bit,
                it.refused,
                it.in_part,
                it.not_done
            )?;
        }
        let never: Vec<String> =
            self.tries.iter().filter(|(_, it)| it.bit == 0).map(|(kind, _)| kind.name()).collect();
        if self.lasted >= LONG && !never.is_empty() {
            let never = never.join(", ");
            writeln!(f, "NEVER SEEN in all this time, though drawn: no fault bit of {never}")?;
        }
        Ok(())
    }

    /// How often what had to cost something cost more than it had to.
    fn fmt_excess(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.seen.iter().filter(|seen| seen.alone && !seen.bound.is_zero());
        let past: Vec<i64> = held.map(|seen| micros(seen.recovery) - micros(seen.bound)).collect();
        if past.is_empty() {
            return Ok(());
        }
        let above = sorted(past.iter().copied().filter(|past| *past > 0));
        writeln!(
            f,
            "of {} faults alone that had to cost something {} took longer than their bound: by {} s in the median, {} s at worst",
            past.len(),
            above.len(),
            seconds(above.get(above.len() / 2)),
            seconds(above.last())
        )
    }
}

impl Tries {
    const fn all(&self) -> usize {
        self.bit + self.in_part + self.refused + self.not_done
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
            "\n{} faults that bit in {} bursts within {:.1} minutes; office was taken {} times; {}",
            self.faults(),
            self.bursts,
            self.lasted.as_secs_f64() / 60.0,
            self.offices,
            match &self.ended {
                Ended::NotYet => "no overlap so far, and the run goes on",
                Ended::Well => "no overlap",
                Ended::Failed(_) => "and then it FAILED",
            }
        )?;
        self.fmt_excess(f)?;
        if self.fence {
            let fenced = self.fenced;
            let judged = match &self.ended {
                Ended::NotYet | Ended::Well => "; never needlessly",
                Ended::Failed(_) => ", before it failed",
            };
            writeln!(
                f,
                "the fence device was told {fenced} times to switch a headnode off{judged}"
            )?;
        }
        self.fmt_tries(f)?;
        match &self.ended {
            Ended::NotYet | Ended::Well => Ok(()),
            Ended::Failed(why) => writeln!(f, "FAILED: {why}"),
        }
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

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
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

    fn seen(kind: Kind, alone: bool, recovery: u64, bound: u64) -> Seen {
        let [recovery, bound, settled] = [recovery, bound, 3].map(Duration::from_secs);
        Seen { kind, alone, recovery, bound, outage: recovery, settled }
    }

    #[test]
    fn each_kind_has_a_row_with_what_it_cost_alone_its_bound_and_what_it_was_part_of() {
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
        let past = "of 2 faults alone that had to cost something 2 took longer than their bound: by 3.00 s in the median, 3.00 s at worst";
        assert!(text.contains(past), "{text}");
    }

    #[test]
    fn what_was_refused_is_told_apart_and_a_long_run_names_what_never_bit() {
        let mut report = Report { seen: vec![seen(Kind::Cut, true, 9, 7)], ..Report::default() };
        report.count(Kind::Cut, Outcome::Bit);
        for outcome in [Outcome::Refused, Outcome::Refused, Outcome::NotDone, Outcome::InPart] {
            report.count(Kind::Switchover, outcome);
        }
        report.lasted = Duration::from_secs(3599);
        let text = report.to_string();
        let apart =
            "\nswitchover: of 4 faults 0 bit; 2 were refused, 1 done in part, 1 not done at all\n";
        assert!(text.contains(apart) && !text.contains("\ncut: "), "{text}");
        assert!(!text.contains("NEVER"), "{text}");
        report.lasted = Duration::from_secs(3600);
        assert!(report.to_string().contains("no fault bit of switchover\n"), "{report}");
        report.count(Kind::Switchover, Outcome::Bit);
        assert!(!report.to_string().contains("NEVER"), "{report}");
    }

    #[test]
    fn a_table_says_whether_its_run_goes_on_ended_well_or_failed() {
        let text = |ended| Report { ended, ..Report::default() }.to_string();
        assert!(text(Ended::NotYet).contains("no overlap so far"));
        assert!(text(Ended::Well).ends_with("no overlap\n"));
        let failed = text(Ended::Failed("two ran".to_owned()));
        assert!(
            failed.ends_with("FAILED: two ran\n") && !failed.contains("no overlap"),
            "{failed}"
        );
    }

    #[test]
    fn spans_are_rounded_to_hundredths_and_may_be_negative() {
        let shown = [1_234_999, 1_235_000, -4_000, -1_006_000].map(|micros| seconds(Some(&micros)));
        assert_eq!(shown, ["1.23", "1.24", "0.00", "-1.01"]);
    }
}
