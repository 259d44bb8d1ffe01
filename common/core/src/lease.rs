//! The lease and what follows from it on one host: the deadline D, the permit, the gate, and the taker's wait.
//!
//! Only arithmetic lives here; who renews, and who obeys, is in `controller` and `guard`. `protocol.md`, 5 and 6.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::epoch::{Epoch, Incarnation};
use crate::time::Time;

/// `/run/headship/permit`: what this host may run, and until when. Replaced by master-fc after each acknowledged renewal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Permit {
    /// The life of the cluster.
    pub incarnation: Incarnation,
    /// The term of office.
    pub epoch: Epoch,
    /// The boot it was written in; a permit of another boot is none.
    pub boot: String,
    /// D: after this nothing may run under this permit. CLOCK_BOOTTIME in microseconds.
    pub deadline: Time,
    /// The lease that D was counted by, in milliseconds.
    #[serde(default)]
    pub lease_ms: u64,
    /// How long after D everything must be gone, in milliseconds.
    pub kill_ms: u64,
    /// How long before D the graceful stop begins, in milliseconds. It stands here and not in the configuration alone, so
    /// that master-fc and slave-ha-service agree on it when one of them has read another configuration.
    #[serde(default)]
    pub grace_ms: u64,
    /// The services in maintenance, each with by whom and why: as long as this permit covers the host, they are left alone.
    /// They stand here, so that all daemons of the host agree, at once after a start and out of sight of the quorum, too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub alone: BTreeMap<String, String>,
    /// The keep that the holder has acknowledged, by its id: D is out of the way, and `deadline` only says when it would be. A
    /// program that does not know this field stops at `deadline`, which is safe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

impl Permit {
    /// D; never while a keep has moved it out of the way.
    pub fn end(&self) -> Time {
        if self.kept.is_some() { Time::MAX } else { self.deadline }
    }

    /// When the graceful stop begins.
    pub fn grace_from(&self) -> Time {
        self.end().before(Duration::from_millis(self.grace_ms))
    }

    /// When everything must be gone.
    pub fn all_gone(&self) -> Time {
        self.end().after(Duration::from_millis(self.kill_ms))
    }

    /// Lease and kill time: a guard that fails twice within it may be away from before D until everything must be gone.
    /// None while there is no D that it could miss.
    pub fn window(&self) -> Option<Duration> {
        let window = Duration::from_millis(self.lease_ms.saturating_add(self.kill_ms));
        self.kept.is_none().then_some(window)
    }
}

/// `/run/headship/closed`: the gate lets nothing of this or a lower epoch start. Never goes down within an incarnation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Closed {
    /// The life of the cluster the epoch belongs to.
    pub incarnation: Incarnation,
    /// The highest closed epoch.
    pub epoch: Epoch,
}

/// Why the gate refused a start.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GateRefusal {
    /// This headnode is not active.
    #[error(
        "this headnode holds no permit: HA services run on the active headnode only (see `headship status`)"
    )]
    NoPermit,
    /// The permit is left over from before a reboot.
    #[error(
        "the permit is of an earlier boot: this headnode is not active (see `headship status`)"
    )]
    OtherBoot,
    /// slave-ha-service has promised that this epoch is over here.
    #[error(
        "epoch {0} is closed on this headnode: another headnode takes over (see `headship status`)"
    )]
    Closed(Epoch),
    /// The permit has expired or is about to.
    #[error(
        "the permit of epoch {epoch} ended at {deadline}: the quorum is out of sight (see `headship status`)"
    )]
    Expired {
        /// The permit's epoch.
        epoch: Epoch,
        /// The permit's deadline.
        deadline: Time,
    },
}

/// What must be left of a permit for a start to be let through: between the gate's look and the exec there is PID 1 only.
pub const GATE_MARGIN: Duration = Duration::from_millis(50);

/// Whether PID 1 may execute a start now: a permit of this boot, its epoch above the closed one, before D.
pub fn gate(
    permit: Option<&Permit>,
    closed: Option<&Closed>,
    boot: &str,
    now: Time,
) -> Result<(), GateRefusal> {
    let permit = permit.ok_or(GateRefusal::NoPermit)?;
    if permit.boot != boot {
        return Err(GateRefusal::OtherBoot);
    }
    if closed.is_some_and(|closed| covers(closed, permit)) {
        return Err(GateRefusal::Closed(permit.epoch));
    }
    if now >= permit.end().before(GATE_MARGIN) {
        return Err(GateRefusal::Expired { epoch: permit.epoch, deadline: permit.deadline });
    }
    Ok(())
}

/// Whether `closed` covers the permit's epoch. A `closed` of another life of the cluster says nothing of this one: an
/// incarnation changes only by the operator's `adopt`, after which numbers start anew.
pub fn covers(closed: &Closed, permit: &Permit) -> bool {
    closed.incarnation == permit.incarnation && permit.epoch <= closed.epoch
}

/// How long killing the control groups and seeing them empty may take: the least kill time, as one of the two that kill
/// at D is enough if it is awake.
pub const KILL_AND_VERIFY: Duration = Duration::from_millis(500);

/// When a host that could not stop everything goes down: a taker counts on it at `kill` after D. Who noticed so late that
/// not even one try fits before that may still make this one; the bound on the kill time allows for it.
pub fn last_resort(deadline: Time, kill: Duration, noticed: Time) -> Time {
    deadline.after(kill).max(noticed.after(KILL_AND_VERIFY))
}

/// D: the lease counted from *before* the newest acknowledged renewal was sent. Counting from the answer would let the
/// holder run on while a taker, which counts from the moment the write was decided, has finished waiting.
pub fn deadline(sent: Time, lease: Duration) -> Time {
    sent.after(lease)
}

/// How long a taker waits after it first saw the holder's last renewal: lease and kill time, with margins for clocks that
/// drift apart by up to 1 % (lease) and for the scheduling of the last SIGKILL (10 % of the kill time).
pub fn wait(lease_ms: u64, kill_ms: u64) -> Duration {
    let micros = |ms: u64, percent: u64| {
        Duration::from_micros(ms.saturating_mul(percent).saturating_mul(10))
    };
    micros(lease_ms, 101).saturating_add(micros(kill_ms, 110))
}

/// Whether a guard that failed at `now` takes its host down, having failed at `last` before: only where a permit lets
/// services run, and only if the two failures lie within its [`Permit::window`]. One failure is covered by the kill time;
/// two in a row may have the guard away from before D until after D + kill time.
pub fn guard_fails_again(window: Option<Duration>, last: Option<Time>, now: Time) -> bool {
    window.zip(last).is_some_and(|(window, last)| now.since(last) <= window)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permit(epoch: u64) -> Permit {
        Permit {
            incarnation: Incarnation("i".to_owned()),
            epoch: Epoch(epoch),
            boot: "b".to_owned(),
            deadline: Time::from_millis(10_000),
            lease_ms: 6000,
            kill_ms: 2000,
            grace_ms: 1500,
            alone: BTreeMap::new(),
            kept: None,
        }
    }

    fn closed(epoch: u64) -> Closed {
        Closed { incarnation: Incarnation("i".to_owned()), epoch: Epoch(epoch) }
    }

    #[test]
    fn the_gate_lets_only_a_live_permit_above_the_closed_epoch_through() {
        let now = Time::from_millis(5000);
        assert_eq!(gate(Some(&permit(7)), Some(&closed(6)), "b", now), Ok(()));
        assert_eq!(gate(Some(&permit(7)), None, "b", now), Ok(()));
        assert_eq!(gate(None, None, "b", now), Err(GateRefusal::NoPermit));
        assert_eq!(gate(Some(&permit(7)), None, "c", now), Err(GateRefusal::OtherBoot));
        assert_eq!(
            gate(Some(&permit(7)), Some(&closed(7)), "b", now),
            Err(GateRefusal::Closed(Epoch(7)))
        );
        let late = Time::from_millis(9_950);
        assert!(matches!(
            gate(Some(&permit(7)), None, "b", late),
            Err(GateRefusal::Expired { .. })
        ));
        assert_eq!(
            gate(Some(&permit(7)), None, "b", late.before(Duration::from_micros(1))),
            Ok(())
        );
    }

    #[test]
    fn a_permit_of_a_program_without_lease_and_grace_is_read_and_ends_no_later() {
        let text = r#"{"incarnation":"i","epoch":7,"boot":"b","deadline":10000000,"kill_ms":2000}"#;
        let read: Permit = serde_json::from_str(text).unwrap();
        assert_eq!(read, Permit { lease_ms: 0, grace_ms: 0, ..permit(7) });
        // Nothing is read into what it does not say: the end is D, and the kill time counts from there.
        assert_eq!(read.grace_from(), read.deadline);
        assert_eq!(read.all_gone(), permit(7).all_gone());
        assert_eq!(read.window(), Some(Duration::from_millis(2000)));
        let over = Time::from_millis(9_950);
        assert!(matches!(gate(Some(&read), None, "b", over), Err(GateRefusal::Expired { .. })));
    }

    #[test]
    fn a_permit_that_does_not_say_by_when_everything_must_be_gone_is_none() {
        let text = r#"{"incarnation":"i","epoch":7,"boot":"b","deadline":10000000}"#;
        assert!(serde_json::from_str::<Permit>(text).is_err());
    }

    #[test]
    fn a_keep_moves_the_deadline_out_of_the_way_and_nothing_else() {
        let kept = Permit { kept: Some("k".to_owned()), ..permit(7) };
        let late = Time::from_millis(10_000_000);
        assert_eq!(gate(Some(&kept), None, "b", late), Ok(()));
        assert!(late < kept.grace_from() && late < kept.all_gone());
        // The second failure of a guard takes nothing down where there is no D to miss.
        assert_eq!(kept.window(), None);
        assert_eq!(gate(Some(&kept), None, "c", late), Err(GateRefusal::OtherBoot));
        let closed = closed(7);
        assert_eq!(gate(Some(&kept), Some(&closed), "b", late), Err(GateRefusal::Closed(Epoch(7))));
    }

    #[test]
    fn a_program_that_knows_no_keep_finds_a_permit_with_its_deadline() {
        /// What every program since the first reads of a permit.
        #[derive(Deserialize)]
        struct Older {
            epoch: Epoch,
            deadline: Time,
            kill_ms: u64,
        }
        let kept = Permit { kept: Some("k".to_owned()), ..permit(7) };
        let text = serde_json::to_string(&kept).unwrap();
        let read: Older = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (read.epoch, read.deadline, read.kill_ms),
            (Epoch(7), Time::from_millis(10_000), 2000)
        );
        assert_eq!(serde_json::from_str::<Permit>(&text).unwrap(), kept);
        assert!(!serde_json::to_string(&permit(7)).unwrap().contains("kept"));
    }

    #[test]
    fn a_guard_takes_its_host_down_only_for_a_second_failure_under_a_permit() {
        let window = permit(7).window();
        let (first, soon, late) =
            (Time::from_millis(1000), Time::from_millis(9000), Time::from_millis(9001));
        assert!(!guard_fails_again(window, None, first));
        assert!(guard_fails_again(window, Some(first), soon));
        assert!(!guard_fails_again(window, Some(first), late));
        assert!(!guard_fails_again(None, Some(first), soon));
    }

    #[test]
    fn the_wait_covers_lease_and_kill_time_with_their_margins() {
        assert_eq!(wait(6000, 2000), Duration::from_millis(8260));
        assert_eq!(
            wait(u64::MAX, 1),
            Duration::from_micros(u64::MAX).saturating_add(Duration::from_micros(1100))
        );
    }
}
