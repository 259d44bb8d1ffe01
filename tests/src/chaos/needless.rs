//! Whether a fence was called for: what an off says of itself, held against what was really done to the headnode.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::lab::Lab;
use crate::suite;

use super::kind::Kind;

/// How often it is looked for a renewal: much more often than one comes.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long before the device hears of it a fence may have been decided: an agent is a program that has to start, on busy cores.
/// What the host says in that time comes too late for it.
const UNDER_WAY: u64 = 1_000_000_000;

/// A fault of which something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) kind: Kind,
    /// On which host.
    pub(super) host: &'static str,
    /// Since when, on the clock of the service log.
    pub(super) from: u64,
}

impl Hit {
    /// Its host answers nobody, neither on the network nor in the quorum.
    const fn takes_all(self) -> bool {
        matches!(
            self.kind,
            Kind::PowerLoss
                | Kind::FreezeLost
                | Kind::Cut
                | Kind::AgentFails
                | Kind::AgentHangs
                | Kind::AgentLies
        )
    }

    /// Its host answers some of the time, or too late, and may be unlucky.
    const fn takes_some(self) -> bool {
        matches!(self.kind, Kind::Loss | Kind::Slow)
    }

    /// Nothing of its host moves in the quorum, but its kernel answers whoever reaches it.
    const fn takes_records(self) -> bool {
        matches!(
            self.kind,
            Kind::Deaf
                | Kind::Mute
                | Kind::FreezeBelow
                | Kind::FreezeBeyond
                | Kind::AllKill
                | Kind::AllStop
        )
    }
}

/// Whether these faults made it right that a fence device was asked at `asked` to switch `host` off. `silent` if no renewal of
/// its came for as long as takes a host for dead. Headnodes that do not hear each other are no reason by themselves: the quorum
/// sees both.
pub(super) fn is_excused(hits: &[Hit], host: &str, asked: u64, silent: bool) -> bool {
    let begun = || hits.iter().filter(|hit| hit.from <= asked);
    let here = || begun().filter(|hit| hit.host == host);
    let apart = begun().any(|hit| hit.kind == Kind::Apart);
    here().any(|hit| hit.takes_all())
        || silent && here().any(|hit| hit.takes_some() || apart && hit.takes_records())
}

/// When each headnode sent the renewals that were acknowledged during a burst, by its permits.
#[derive(Debug, Default)]
pub(super) struct Renewals(Mutex<BTreeMap<&'static str, Vec<u64>>>);

impl Renewals {
    /// Does something, and watches the renewals meanwhile; `lease` is what a renewal gives.
    pub(super) fn watched<T>(&self, lab: &Lab, lease: Duration, act: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| self.watch(lab, lease, &over));
            // However it ends: the scope waits for the other thread.
            let _ends = Ends(&over);
            act()
        })
    }

    fn watch(&self, lab: &Lab, lease: Duration, over: &AtomicBool) {
        let lease = u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX);
        let headnodes = lab.headnodes();
        while !over.load(Ordering::Relaxed) {
            for host in &headnodes {
                let Some(deadline) = suite::deadline(host) else { continue };
                let sent = deadline.saturating_sub(lease);
                let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let own = all.entry(host.name()).or_default();
                if own.last() != Some(&sent) {
                    own.push(sent);
                }
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// For how long no renewal of a host had come when a fence device was asked about it.
    pub(super) fn silence(&self, host: &str, asked: u64) -> Duration {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_nanos(silence(all.get(host).map_or(&[], Vec::as_slice), asked))
    }
}

/// The longest time without a renewal that had not ended for long at `asked`; no end if there was none at all.
fn silence(sent: &[u64], asked: u64) -> u64 {
    let sent: Vec<u64> = sent.iter().copied().filter(|sent| *sent <= asked).collect();
    let ends = sent.iter().copied().skip(1).chain([asked]);
    let gaps = sent.iter().zip(ends).filter(|(_, end)| end + UNDER_WAY >= asked);
    gaps.map(|(begin, end)| end - begin).max().unwrap_or(u64::MAX)
}

/// Says that it is over when it is dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excused(hits: &[(Kind, &'static str)], silent: bool) -> bool {
        let hits: Vec<Hit> =
            hits.iter().map(|(kind, host)| Hit { kind: *kind, host, from: 5 }).collect();
        is_excused(&hits, "hn0", 9, silent)
    }

    #[test]
    fn headnodes_that_do_not_hear_each_other_are_no_reason_to_fence_either() {
        assert!(!excused(&[(Kind::Apart, "hn0")], true));
        assert!(!excused(&[(Kind::Apart, "hn0"), (Kind::LeaderPower, "zk1")], true));
        assert!(!excused(&[(Kind::Apart, "hn0"), (Kind::Mute, "hn1")], true));
        assert!(excused(&[(Kind::Apart, "hn0"), (Kind::Mute, "hn0")], true));
        assert!(excused(&[(Kind::Apart, "hn1"), (Kind::AllStop, "hn0")], true));
        assert!(!excused(&[(Kind::Apart, "hn0"), (Kind::AllStop, "hn0")], false));
        assert!(excused(&[(Kind::Apart, "hn0"), (Kind::Cut, "hn0")], false));
    }

    #[test]
    fn what_loses_some_is_a_reason_only_where_it_hits_and_only_after_silence() {
        for kind in [Kind::Loss, Kind::Slow] {
            assert!(excused(&[(kind, "hn0")], true));
            assert!(!excused(&[(kind, "hn0")], false));
            assert!(!excused(&[(kind, "hn1")], true) && !excused(&[(kind, "zk0")], true));
        }
    }

    #[test]
    fn a_host_that_answers_nobody_may_be_fenced_once_the_fault_is_there() {
        assert!(excused(&[(Kind::PowerLoss, "hn0")], false));
        assert!(!excused(&[(Kind::PowerLoss, "hn1")], true));
        assert!(!excused(&[(Kind::DaemonKill, "hn0"), (Kind::Mute, "hn0")], true));
        let hit = Hit { kind: Kind::Cut, host: "hn0", from: 10 };
        assert!(!is_excused(&[hit], "hn0", 9, true), "it came after");
    }

    #[test]
    fn silence_is_the_longest_that_a_fence_under_way_may_have_seen() {
        let seconds = |seconds: &[u64], asked: u64| {
            let sent: Vec<u64> = seconds.iter().map(|it| it * UNDER_WAY).collect();
            silence(&sent, asked * UNDER_WAY) / UNDER_WAY
        };
        assert_eq!(seconds(&[1, 2, 3], 4), 1);
        assert_eq!(seconds(&[1, 2, 3], 9), 6);
        assert_eq!(seconds(&[1, 7], 8), 6, "it came while the agent was started");
        assert_eq!(seconds(&[1, 6, 7, 8], 9), 1, "it had long been back");
        assert_eq!(seconds(&[1, 2, 5], 4), 2, "what came later");
        assert_eq!(silence(&[], 9), u64::MAX);
    }
}
