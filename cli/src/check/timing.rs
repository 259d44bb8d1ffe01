//! The inequalities of the lease with their numbers: why they hold here, or what follows if they do not.
//!
//! Those that the configuration alone can break are faults of the configuration and found when it is read; here they are
//! shown. What depends on the host, the watchdogs of its units, is judged here.

use std::time::Duration;

use headship_core::config::Config;
use headship_core::config::checked::Timing;

use super::{Area, Finding};

/// One line for each inequality. `watchdog` is the longer `WatchdogSec=` of guard and master-fc, if it is known.
pub(super) fn findings(config: &Config, watchdog: Option<Duration>) -> Vec<Finding> {
    let Timing { lease, session, renew, kill, grace, stay_out, lonely_after, .. } = &config.timing;
    let tick = config.quorum.tick;
    let change = config.quorum.leader_change();
    let needed = change.saturating_add(renew.saturating_mul(2));
    let usable = lease.saturating_sub(*grace);
    let wait = config.timing.wait();
    let lines = [
        (
            session < lease,
            format!(
                "session {session:?} < lease {lease:?}: a headnode can move to another server in time"
            ),
        ),
        (
            (tick.saturating_mul(2)..=tick.saturating_mul(20)).contains(session),
            format!(
                "session {session:?} within 2 to 20 ticks of {tick:?} ({:?} to {:?}): the servers grant it",
                tick.saturating_mul(2),
                tick.saturating_mul(20)
            ),
        ),
        (
            *lease >= needed,
            format!(
                "lease {lease:?} >= leader change {change:?} ({} ticks of {tick:?} + 1s) + 2 renewals of {renew:?} = {needed:?}: the loss of ZooKeeper's leader stops nothing",
                config.quorum.sync_limit
            ),
        ),
        (
            usable >= needed,
            format!(
                "lease {lease:?} - grace {grace:?} = {usable:?} >= {needed:?}: nor does it begin to"
            ),
        ),
        (
            renew.saturating_mul(4) <= *lease,
            format!(
                "renewal {renew:?} <= lease / 4 = {:?}: a lost renewal or two do no harm",
                *lease / 4
            ),
        ),
        (
            stay_out >= lease,
            format!(
                "stay_out {stay_out:?} >= lease {lease:?}: after a cession the other headnode gets its turn"
            ),
        ),
        (
            *lonely_after >= wait,
            format!(
                "lonely_after {lonely_after:?} >= wait {wait:?}: an eligible headnode comes first"
            ),
        ),
    ];
    let mut findings: Vec<Finding> = lines
        .into_iter()
        .map(|(holds, text)| {
            if holds {
                Area::Timing.ok(text)
            } else {
                Area::Timing.warning(format!("does not hold: {text}"))
            }
        })
        .collect();
    findings.push(joint_death(*kill, watchdog));
    findings.push(Area::Timing.ok(format!(
        "1.01 lease + 1.1 kill = {wait:?}: so long after its last renewal a lost active is replaced"
    )));
    findings
}

/// Guard and master-fc may die or freeze together across D: whether the guard is back before the kill time is over.
fn joint_death(kill: Duration, watchdog: Option<Duration>) -> Finding {
    let Some(watchdog) = watchdog else {
        return Area::Timing.ok(format!(
            "kill time {kill:?} against the watchdogs of slave-ha-service and master-fc: not known here (no such units with a watchdog on this host)"
        ));
    };
    let needed = Timing::kill_needed(watchdog);
    let sum = format!(
        "kill time {kill:?}, needed {needed:?} (watchdog {watchdog:?} + restart, ready, kill and verify)"
    );
    if kill >= needed {
        Area::Timing.ok(format!("{sum}: guard and master-fc may even die or freeze together"))
    } else {
        Area::Timing.warning(format!(
            "{sum}: enough if guard or master-fc dies or freezes, not for both at once; raise `kill_ms`, or lower their WatchdogSec="
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::tests::config;

    fn told(watchdog: Option<Duration>) -> Vec<(Level, String)> {
        findings(&config(), watchdog).into_iter().map(|it| (it.level, it.text)).collect()
    }

    #[test]
    fn each_inequality_is_told_with_its_numbers() {
        let told = told(Some(Duration::from_secs(1)));
        assert!(told.iter().all(|(level, _)| *level == Level::Ok), "{told:#?}");
        let lease =
            "lease 6s >= leader change 3.5s (5 ticks of 500ms + 1s) + 2 renewals of 500ms = 4.5s";
        assert!(told.iter().any(|(_, text)| text.starts_with(lease)), "{told:#?}");
        assert!(told.iter().any(|(_, text)| text.starts_with("1.01 lease + 1.1 kill = 8.26s")));
    }

    #[test]
    fn a_watchdog_that_is_too_slow_for_the_kill_time_is_a_warning() {
        let told = told(Some(Duration::from_secs(3)));
        let warned: Vec<_> = told.iter().filter(|(level, _)| *level == Level::Warning).collect();
        assert_eq!(warned.len(), 1);
        assert!(warned[0].1.starts_with("kill time 2s, needed 4s"), "{warned:?}");
    }

    #[test]
    fn without_units_the_joint_death_is_not_judged() {
        assert!(told(None).iter().any(|(_, text)| text.contains("not known here")));
    }
}
