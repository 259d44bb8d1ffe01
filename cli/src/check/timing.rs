//! The inequalities of the lease with their numbers: why they hold here, or what follows if they do not.
//!
//! Those that the configuration alone can break are faults of the configuration and found when it is read; here they are
//! shown. What depends on the host, how long systemd waits for master-fc, is judged here.

use std::collections::BTreeMap;
use std::time::Duration;

use headship_core::config::Config;
use headship_core::config::checked::{Driver, Service, Timing};
use headship_core::duty;

use super::{Area, Finding};

/// One line for each inequality. `stop` is the `TimeoutStopSec=` of master-fc, as far as it is known.
pub(super) fn findings(config: &Config, stop: Option<Duration>) -> Vec<Finding> {
    let Timing { lease, session, renew, grace, stay_out, lonely_after, .. } = &config.timing;
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
    findings.extend(stop.map(|stop| cession(config, stop)));
    findings.push(Area::Timing.ok(format!(
        "1.01 lease + 1.1 kill = {wait:?}: so long after its last renewal a lost active is replaced"
    )));
    findings
}

/// master-fc cedes when it is stopped, which takes as long as its services: whether systemd waits for it.
fn cession(config: &Config, stop: Duration) -> Finding {
    let needed = longest_stop(config).saturating_add(config.timing.kill);
    let sum = format!(
        "stop limits of the services that wait for each other, and the kill time: {needed:?}"
    );
    if stop >= needed {
        return Area::Timing
            .ok(format!("{sum}; TimeoutStopSec= of master-fc: no stop of it is cut short"));
    }
    Area::Timing.warning(format!(
        "{sum}; TimeoutStopSec= of master-fc is {stop:?}: systemd may kill it while it cedes, and the other headnode then waits for the lease; raise it by `systemctl edit master-fc`, or lower `stop_limit_ms`"
    ))
}

/// How long all services may take to stop: each waits for those that come after it, and master-ha-service goes first.
fn longest_stop(config: &Config) -> Duration {
    let keeper = duty::as_service(config, Driver::Command { start: Vec::new() });
    one_after_the_other(config, |service| service.stop_limit).saturating_add(keeper.stop_limit)
}

/// How long the services take to stop that wait for each other, by how long each takes.
pub(super) fn one_after_the_other(
    config: &Config,
    takes: impl Fn(&Service) -> Duration,
) -> Duration {
    let mut longest: BTreeMap<&str, Duration> = BTreeMap::new();
    // Each comes after all that it names in `after`.
    for service in &config.services {
        let after = service.after.iter().filter_map(|name| longest.get(name.as_str()));
        let before = after.max().copied().unwrap_or_default();
        longest.insert(&service.name, before.saturating_add(takes(service)));
    }
    longest.into_values().max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::tests::config;

    #[test]
    fn each_inequality_is_told_with_its_numbers() {
        let told: Vec<(Level, String)> =
            findings(&config(), None).into_iter().map(|it| (it.level, it.text)).collect();
        assert!(told.iter().all(|(level, _)| *level == Level::Ok), "{told:#?}");
        let lease =
            "lease 6s >= leader change 3.5s (5 ticks of 500ms + 1s) + 2 renewals of 500ms = 4.5s";
        assert!(told.iter().any(|(_, text)| text.starts_with(lease)), "{told:#?}");
        assert!(told.iter().any(|(_, text)| text.starts_with("1.01 lease + 1.1 kill = 8.26s")));
    }

    #[test]
    fn systemd_must_wait_as_long_as_services_that_wait_for_each_other_may_take_to_stop() {
        let mut config = config();
        let second = Duration::from_secs(1);
        // Three services of 60 s that stop at once, 5 s for master-ha-service, 2 s to kill.
        assert_eq!(cession(&config, second * 67).level, Level::Ok);
        assert_eq!(cession(&config, second * 66).level, Level::Warning);
        config.services[1].after.insert("ambari-server".to_owned());
        let short = cession(&config, second * 120);
        assert_eq!(short.level, Level::Warning);
        let begins = "stop limits of the services that wait for each other, and the kill time: 127s; TimeoutStopSec= of master-fc is 120s: systemd may kill it";
        assert!(short.text.starts_with(begins), "{}", short.text);
        assert_eq!(cession(&config, Duration::MAX).level, Level::Ok);
        assert!(findings(&config, Some(second * 120)).contains(&short));
    }
}
