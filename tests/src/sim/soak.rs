//! Many seeds, on as many threads as there are processors, and what came of all of them.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZero;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use headship_core::say::Kind;

use super::fence::{Count, NEEDLESSLY};
use super::reached::Reached;
use super::run::{Verdict, run};
use super::setup::Broken;

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many have run.
    pub seeds: u64,
    /// How long their clusters ran, in their own time.
    pub simulated: Duration,
    /// How often office was taken.
    pub offices: u64,
    /// How often a service was started.
    pub starts: u64,
    /// How many seeds had fence methods.
    pub with_fencing: u64,
    /// How often holders were doubted and fenced in these.
    pub fencing: Count,
    /// The longest that a healed cluster took to settle, and the seed.
    pub slowest: (Duration, u64),
    /// Which kinds of lines were said.
    pub said: BTreeSet<Kind>,
    /// Which transitions and refusals of the core there were.
    pub reached: Reached,
    /// The seeds that failed, with what was violated.
    pub failed: Vec<(u64, String)>,
}

impl Tally {
    fn add(&mut self, verdict: &Verdict) {
        self.seeds += 1;
        self.simulated += verdict.simulated;
        self.offices += verdict.offices;
        self.starts += verdict.starts;
        if let Some(count) = verdict.fencing {
            self.with_fencing += 1;
            self.fencing.answered += count.answered;
            self.fencing.asked += count.asked;
            self.fencing.cuts += count.cuts;
        }
        self.slowest = self.slowest.max((verdict.settled_after, verdict.seed));
        self.said.extend(&verdict.said);
        self.reached.extend(&verdict.reached);
        self.failed.extend(verdict.violation.iter().map(|why| (verdict.seed, why.clone())));
    }

    /// How many seeds failed because a headnode was fenced without need.
    #[must_use]
    pub fn needless(&self) -> usize {
        self.failed.iter().filter(|(_, why)| why.contains(NEEDLESSLY)).count()
    }

    /// The kinds of lines that none of the daemons has said in any seed, by their names: what the seeds have not reached. Only of
    /// those that the core says itself: what is said beside its decisions, of files and sockets, is not simulated.
    #[must_use]
    pub fn unsaid(&self) -> Vec<String> {
        let said_by_core = said_by_core();
        let unsaid = Kind::ALL.iter().filter(|kind| !self.said.contains(kind));
        unsaid.map(|kind| format!("{kind:?}")).filter(|kind| said_by_core.contains(kind)).collect()
    }
}

/// What follows each `Kind::` in the sources of the core.
fn said_by_core() -> BTreeSet<String> {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("../common/core/src");
    let (mut folders, mut named) = (vec![core], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            let after = text.split("Kind::").skip(1);
            let name = |text: &str| text.chars().take_while(|it| it.is_alphanumeric()).collect();
            named.extend(after.map(name).collect::<Vec<String>>());
        }
    }
    named
}

/// Runs seeds; after one that failed no others are begun unless `keep_going`. `told` hears of every seed, from any thread.
pub fn soak(seeds: Range<u64>, keep_going: bool, told: impl Fn(&Tally) + Sync) -> Tally {
    let (next, enough) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let tally = Mutex::new(Tally::default());
    let work = || {
        while !enough.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let verdict = run(seed, false, Broken::default());
            let mut tally = tally.lock().expect("no seed panics while it is counted");
            tally.add(&verdict);
            enough.fetch_or(!keep_going && verdict.violation.is_some(), Ordering::Relaxed);
            told(&tally);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    tally.into_inner().expect("no seed panics while it is counted")
}
