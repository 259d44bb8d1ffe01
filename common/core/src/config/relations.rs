//! How figures must relate to each other, so that the protocol holds and a healthy active keeps its office.
//!
//! Each rule is one of `protocol.md`, 5. What depends on the host (the units' watchdogs, the live ensemble) is compared
//! elsewhere; [`kill_needed`](super::checked::Timing::kill_needed) is the figure for it.

use std::time::Duration;

use super::checked::{HealthLimits, Quorum, Timing};
use super::reader::Reader;
use crate::lease::KILL_AND_VERIFY;

/// Longer than this nobody shall be kept out of an office that may need him.
const STAY_OUT_MAX: Duration = Duration::from_secs(600);

/// The rules of the lease.
pub(super) fn timing(reader: &mut Reader, quorum: &Quorum, timing: &Timing) {
    session(reader, quorum, timing);
    leases(reader, quorum, timing);
    let Timing { lease, kill, stay_out, lonely_after, .. } = timing;
    if *kill < KILL_AND_VERIFY {
        let text = format!(
            "kill time {kill:?} is shorter than killing and verifying takes ({KILL_AND_VERIFY:?}): raise `kill_ms`"
        );
        reader.fault(&["timing.kill_ms", "timing"], text);
    }
    if stay_out < lease || *stay_out > STAY_OUT_MAX {
        let text = format!(
            "`stay_out_ms` is {stay_out:?}: write at least the lease ({lease:?}), so that the other headnode surely gets its turn, and at most {STAY_OUT_MAX:?}"
        );
        reader.fault(&["timing.stay_out_ms", "timing.lease_ms", "timing"], text);
    }
    let wait = timing.wait();
    if *lonely_after < wait {
        let text = format!(
            "`lonely_after_ms` is {lonely_after:?}, which is over before an eligible headnode has waited out the lease ({wait:?}): raise `lonely_after_ms`"
        );
        reader.fault(&["timing.lonely_after_ms", "timing.lease_ms", "timing"], text);
    }
}

fn session(reader: &mut Reader, quorum: &Quorum, timing: &Timing) {
    let Timing { lease, session, .. } = timing;
    if session >= lease {
        let text = format!(
            "session timeout {session:?} is not shorter than the lease {lease:?}, so a headnode could not move to another ZooKeeper server in time: lower `session_ms`, or raise `lease_ms`"
        );
        reader.fault(&["timing.session_ms", "timing.lease_ms", "timing"], text);
    }
    let (least, most) = (quorum.tick.saturating_mul(2), quorum.tick.saturating_mul(20));
    if *session < least || *session > most {
        let text = format!(
            "session timeout {session:?} is not one that ZooKeeper grants with a tick of {:?} ({least:?} to {most:?}): change `session_ms` or the preset, or `tick_ms` together with tickTime in zoo.cfg",
            quorum.tick
        );
        reader.fault(&["timing.session_ms", "failover_quorum.tick_ms", "timing"], text);
    }
}

fn leases(reader: &mut Reader, quorum: &Quorum, timing: &Timing) {
    let Timing { lease, renew, grace, .. } = timing;
    if renew.saturating_mul(4) > *lease {
        let text = format!(
            "a renewal every {renew:?} is too seldom for a lease of {lease:?}: lower `renew_ms` to a quarter of the lease, or raise `lease_ms`"
        );
        reader.fault(&["timing.renew_ms", "timing.lease_ms", "timing"], text);
        return;
    }
    let election = quorum.leader_change();
    let needed = election.saturating_add(renew.saturating_mul(2));
    let sum = format!("{election:?} + 2 renewals of {renew:?}");
    if *lease < needed {
        let text = format!(
            "lease {lease:?} is shorter than a ZooKeeper leader change here ({sum}): raise `lease_ms` or choose a slower preset, or lower syncLimit or tickTime in zoo.cfg and here"
        );
        let places = ["timing.lease_ms", "timing.preset", "failover_quorum.tick_ms"];
        reader.fault(&[&places[..], &["failover_quorum.sync_limit", "timing"]].concat(), text);
    } else if lease.saturating_sub(*grace) < needed {
        let text = format!(
            "grace {grace:?} leaves less of the lease {lease:?} than a ZooKeeper leader change takes here ({sum}), which would stop healthy services: lower `grace_ms` to {:?} or less, or raise `lease_ms`",
            lease.saturating_sub(needed)
        );
        let places = ["timing.grace_ms", "timing.lease_ms", "timing.preset"];
        reader.fault(&[&places[..], &["failover_quorum.tick_ms", "timing"]].concat(), text);
    } else {
        moves(reader, timing);
    }
}

/// A server that loses its power is left, and another one found, while enough of the lease is left.
fn moves(reader: &mut Reader, timing: &Timing) {
    let Timing { lease, session, renew, grace, .. } = timing;
    let (change, left) = (timing.server_change(), lease.saturating_sub(*grace));
    if left < change.saturating_add(renew.saturating_mul(2)) {
        let text = format!(
            "with a session timeout of {session:?} it takes {change:?} to leave a ZooKeeper server that is silent, and 2 renewals of {renew:?} more, but the lease leaves {left:?} before its grace, so the loss of one server would stop healthy services: lower `session_ms` or `grace_ms`, or raise `lease_ms`"
        );
        let places = ["timing.session_ms", "timing.grace_ms", "timing.lease_ms", "timing"];
        reader.fault(&places, text);
    }
}

/// The rules of early fencing, where its figure is written: one renewal or heartbeat that is late shows nothing, and who has
/// waited out the lease needs no fence.
pub(super) fn dead_after(
    reader: &mut Reader,
    dead_after: Duration,
    timing: &Timing,
    health: &HealthLimits,
) {
    let (renew, interval) = (timing.renew, health.interval);
    let least = renew.saturating_mul(2).max(interval);
    if dead_after < least {
        let text = format!(
            "`dead_after_ms` is {dead_after:?}, so that one late renewal of every {renew:?}, or one late heartbeat of every {interval:?}, could count as death: raise it to {least:?} or more"
        );
        reader.fault(&["timing.dead_after_ms"], text);
    } else if dead_after >= timing.wait() {
        let text = format!(
            "`dead_after_ms` is {dead_after:?}, and by then the lease is waited out ({:?}): lower it",
            timing.wait()
        );
        reader.fault(&["timing.dead_after_ms"], text);
    }
}

/// The rules of the heartbeat.
pub(super) fn health(reader: &mut Reader, limits: &HealthLimits) {
    let HealthLimits { interval, silent_after, .. } = limits;
    if interval.saturating_mul(2) > *silent_after {
        let text = format!(
            "`silent_after_ms` is {silent_after:?}, so that one late heartbeat of every {interval:?} would count as silence: raise it to two intervals or more, or lower `interval_ms`"
        );
        reader.fault(&["health.silent_after_ms", "health.interval_ms"], text);
    }
}
