//! A seed that fails, with as few of its faults as it takes.

use std::collections::BTreeSet;

use super::run::{Verdict, run_without};
use super::setup::Broken;

/// A failing seed without what it does not need.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The numbers of the faults that are left.
    pub faults: Vec<u32>,
    /// How many there were.
    pub of: u32,
    /// What comes of them.
    pub verdict: Verdict,
}

/// Leaves out faults, many at a time and then fewer, for as long as something is still violated; nothing if the seed does
/// not fail. What is violated may become something else: a smaller fault is worth as much.
pub fn shrink(seed: u64, broken: &Broken) -> Option<Shrunk> {
    let fails = |left_out: &BTreeSet<u32>| {
        let verdict = run_without(seed, broken.clone(), left_out.clone());
        verdict.violation.is_some().then_some(verdict)
    };
    let mut left_out = BTreeSet::new();
    let mut verdict = fails(&left_out)?;
    let of = verdict.faults;
    let mut faults: Vec<u32> = (0..of).collect();
    let mut chunk = faults.len();
    while chunk > 0 {
        let before = faults.len();
        let mut at = 0;
        while at < faults.len() {
            let end = (at + chunk).min(faults.len());
            let without: BTreeSet<u32> =
                left_out.iter().chain(faults.get(at..end).unwrap_or_default()).copied().collect();
            if let Some(smaller) = fails(&without) {
                (left_out, verdict) = (without, smaller);
                faults.drain(at..end);
            } else {
                at = end;
            }
        }
        // Without a later one an earlier one may be to spare, too.
        if chunk > 1 || faults.len() == before {
            chunk /= 2;
        }
    }
    Some(Shrunk { faults, of, verdict })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::run;

    #[test]
    fn a_seed_that_fails_for_a_dropped_rule_fails_with_fewer_faults_and_none_is_left_to_spare() {
        let broken = Broken { no_gate: true, ..Broken::default() };
        let failing = (0..400).find(|seed| run(*seed, false, broken.clone()).violation.is_some());
        let seed = failing.expect("some seed fails without the gate");
        let shrunk = shrink(seed, &broken).expect("it fails again");
        assert!(shrunk.verdict.violation.is_some());
        assert!(
            shrunk.faults.len() < shrunk.of as usize,
            "{} of {}",
            shrunk.faults.len(),
            shrunk.of
        );
        for spared in &shrunk.faults {
            let left_out = (0..shrunk.of)
                .filter(|number| number == spared || !shrunk.faults.contains(number))
                .collect();
            assert_eq!(run_without(seed, broken.clone(), left_out).violation, None, "{spared}");
        }
    }
}
