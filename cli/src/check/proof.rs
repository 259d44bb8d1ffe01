//! Which failures this installation is proof against, and which not: what an operator should know before one comes.
//!
//! `protocol.md`, 10 says what no lease can cover; here that is said of this very host, with what would cover it.

use std::time::Duration;

use headship_core::config::Config;
use headship_core::config::checked::Timing;
use headship_core::fencing::switched_off_after;

use super::fencing::has_agent;
use super::host::Host;
use super::{Area, Finding};

/// Each kind of failure in a line.
pub(super) fn findings(config: &Config, host: &Host) -> Vec<Finding> {
    let mut findings = vec![
        lost(config),
        Area::Proof.ok("master-fc or slave-ha-service dies or hangs: a new process goes on before the lease ends, or the other of the two stops everything by then"),
        joint_death(config.timing.kill, host.watchdog),
        servers(config),
    ];
    if config.is_headnode() {
        findings.push(unkillable(config, host));
        findings.push(frozen(config, host));
        findings.extend(paused(config, host));
    }
    findings.push(Area::Proof.advice(format!(
        "not covered: the whole ensemble is away for longer than the lease ({:?}): everything stops when the lease ends, and comes back with the ensemble; for work on the ensemble there is `headship pause --keep`",
        config.timing.lease
    )));
    findings.push(Area::Proof.advice(
        "not covered by any installation: a fence agent that lies, two machines with one machine-id",
    ));
    findings
}

/// Power loss, cut cable, crash: what everything else stands on.
fn lost(config: &Config) -> Finding {
    let wait = config.timing.wait();
    let unfenced = unfenced(config);
    let sooner = match unfenced.as_slice() {
        [] => ", or once its fence agent has switched it off".to_owned(),
        _ if unfenced.len() == config.headnodes.len() => String::new(),
        some => {
            format!(", or once its fence agent has switched it off (none for {})", some.join(", "))
        }
    };
    Area::Proof.ok(format!(
        "the active loses its power, its cable or its kernel: its services start on another headnode {wait:?} after its last renewal{sooner}"
    ))
}

/// The headnodes that no fence agent can switch off.
fn unfenced(config: &Config) -> Vec<&str> {
    let headnodes = config.headnodes.iter();
    headnodes
        .filter(|headnode| !has_agent(config, headnode))
        .map(|headnode| headnode.name.as_str())
        .collect()
}

/// Guard and master-fc may die or freeze together across D: whether the guard is back before the kill time is over.
fn joint_death(kill: Duration, watchdog: Option<Duration>) -> Finding {
    let Some(watchdog) = watchdog else {
        return Area::Proof.advice(format!(
            "not known: whether the kill time of {kill:?} is enough should slave-ha-service and master-fc die together, as this host has no such units with a watchdog; see `headship check` on a headnode"
        ));
    };
    let needed = Timing::kill_needed(watchdog);
    let sum = format!(
        "kill time {kill:?}, needed {needed:?} (watchdog {watchdog:?} + restart, ready, kill and verify)"
    );
    if kill >= needed {
        Area::Proof.ok(format!("{sum}: guard and master-fc may even die or freeze together"))
    } else {
        Area::Proof.warning(format!(
            "{sum}: enough if guard or master-fc dies or freezes, not for both at once; raise `kill_ms`, or lower their WatchdogSec="
        ))
    }
}

fn servers(config: &Config) -> Finding {
    let all = config.quorum.servers.len();
    match all.saturating_sub(1) / 2 {
        0 => Area::Proof.advice(format!(
            "not covered: a ZooKeeper server is lost ({all} configured): office then ends with the lease"
        )),
        some => Area::Proof.ok(format!(
            "{some} of {all} ZooKeeper servers are lost or hang, their leader among them: no service notices"
        )),
    }
}

/// A process that outlives its SIGKILL, as one that hangs in the kernel with its disk.
fn unkillable(config: &Config, host: &Host) -> Finding {
    if host.units.is_none() {
        return Area::Proof.advice(
            "not covered: a service outlives its SIGKILL: without systemd nothing reboots this host",
        );
    }
    Area::Proof.ok(format!(
        "a service outlives its SIGKILL: this host reboots, {:?} after its lease has ended",
        config.timing.kill
    ))
}

/// A host that stands still as a whole and goes on later has services from its thaw to their SIGKILL.
fn frozen(config: &Config, host: &Host) -> Finding {
    let kill = config.timing.kill;
    let what = format!(
        "this host stands still as a whole until {kill:?} after its lease has ended, and goes on"
    );
    // The device counts whole seconds; systemd sets the next longer one.
    let watchdog = host
        .hardware_watchdog
        .map(|set| Duration::from_secs(set.as_secs() + u64::from(set.subsec_nanos() > 0)));
    if let Some(watchdog) = watchdog.filter(|watchdog| *watchdog <= kill) {
        return Area::Proof
            .ok(format!("{what}: its hardware watchdog resets it within {watchdog:?} instead"));
    }
    match by_agent(config) {
        ByAgent::InTime(figures) => {
            return Area::Proof
                .ok(format!("{what}: its fence agent has switched it off by then ({figures})"));
        }
        ByAgent::Late(figures) => {
            return Area::Proof.advice(format!(
                "not covered: {what}: its fence agent may come too late: {figures}"
            ));
        }
        ByAgent::None => {}
    }
    let found = watchdog.map_or_else(
        || "no hardware watchdog is set".to_owned(),
        |watchdog| format!("its hardware watchdog waits for {watchdog:?}"),
    );
    // A shorter one than a second cannot be set.
    let remedy = match kill.as_secs() {
        0 => "configure a fence agent".to_owned(),
        seconds => format!(
            "where it has a watchdog device, set RuntimeWatchdogSec={seconds}s in systemd-system.conf, or configure a fence agent"
        ),
    };
    Area::Proof.advice(format!(
        "not covered: {what}: what runs on it runs beside the new active's until it is killed, some 100ms ({found}); {remedy}"
    ))
}

/// No clock of a paused virtual machine tells that it was paused.
fn paused(config: &Config, host: &Host) -> Option<Finding> {
    let kind = host.virtual_machine.as_ref()?;
    let what = format!("this virtual machine ({kind}) is paused, snapshotted or migrated");
    let what = format!("{what} while it is active");
    Some(match by_agent(config) {
        ByAgent::InTime(figures) => Area::Proof.ok(format!(
            "{what}: its fence agent has switched it off before another starts ({figures})"
        )),
        ByAgent::Late(figures) => Area::Proof.advice(format!(
            "not covered: {what}, as no lease sees that: `headship switchover` first; its fence agent may come too late: {figures}"
        )),
        ByAgent::None => Area::Proof.advice(format!(
            "not covered: {what}, as no lease sees that: `headship switchover` first, or configure a fence agent"
        )),
    })
}

/// Whether this host's fence agents have switched it off before another headnode goes by the wait for its lease and kill time,
/// which opens the office whatever an agent is still busy with.
enum ByAgent {
    /// There is none for it.
    None,
    /// They have; the sum.
    InTime(String),
    /// They may be later; the sum, and the way out.
    Late(String),
}

fn by_agent(config: &Config) -> ByAgent {
    let (fencing, wait) = (&config.fencing, config.timing.wait());
    let Some((looks, asked)) = switched_off_after(fencing, &config.node) else {
        return ByAgent::None;
    };
    let off = looks + asked;
    let sum = format!(
        "{off:?} after its last renewal at the latest ({looks:?} in which it shows nothing and answers nothing, {asked:?} for the agent)"
    );
    if off < wait {
        return ByAgent::InTime(format!("{sum}, another starts after {wait:?}"));
    }
    let way_out = match wait.saturating_sub(looks).as_millis().saturating_sub(1) {
        0 => "a longer lease leaves it time".to_owned(),
        left => format!(
            "if it is that fast, set `limit_ms` of the method to {left} or less (of all its agents together)"
        ),
    };
    ByAgent::Late(format!("{sum}, and another starts after {wait:?}: {way_out}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use headship_core::config::checked::{FenceKind, FenceMethod};
    use headship_core::fencing::ANSWER_LIMIT;

    use super::*;
    use crate::check::Level;
    use crate::tests::{config, node};

    fn told(findings: &[Finding], what: &str) -> (Level, String) {
        let found = findings.iter().find(|finding| finding.text.contains(what));
        let found = found.unwrap_or_else(|| panic!("nothing of {what}: {findings:?}"));
        (found.level, found.text.clone())
    }

    fn headnode() -> Host {
        let mut host = Host::default();
        host.units = Some(Ok(BTreeMap::new()));
        host
    }

    #[test]
    fn without_fence_agents_the_wait_is_told_and_a_paused_host_is_not_covered() {
        let mut host = headnode();
        host.virtual_machine = Some("kvm".to_owned());
        let found = findings(&config(), &host);
        let (level, text) = told(&found, "loses its power");
        assert_eq!(level, Level::Ok);
        assert!(text.ends_with("8.26s after its last renewal"), "{text}");
        let (level, text) = told(&found, "virtual machine (kvm)");
        assert_eq!(level, Level::Advice);
        assert!(text.starts_with("not covered: "), "{text}");
        assert_eq!(told(&found, "stands still as a whole").0, Level::Advice);
    }

    #[test]
    fn with_an_agent_for_each_headnode_both_are_covered_and_one_that_is_left_out_is_named() {
        let plug = || BTreeMap::from([("plug".to_owned(), "1".to_owned())]);
        let agent = |nodes: &[&str], limit: Duration| {
            let mut config = config();
            let nodes = nodes.iter().map(|name| (node(name), plug())).collect();
            let program = "/usr/sbin/fence_x".to_owned();
            let kind = FenceKind::Agent { program, secrets_file: None, nodes };
            let name = "ipmi".to_owned();
            config.fencing.methods = vec![FenceMethod { name, limit, kind }];
            config
        };
        let mut host = headnode();
        host.virtual_machine = Some("kvm".to_owned());
        let before = config().fencing.dead_after + ANSWER_LIMIT;
        let last = config().timing.wait() - before - Duration::from_millis(1);
        let found = findings(&agent(&["hn0", "hn1"], last), &host);
        for what in ["virtual machine (kvm)", "stands still as a whole"] {
            let (level, text) = told(&found, what);
            assert!(level == Level::Ok && text.contains("another starts after 8.26s"), "{text}");
        }
        assert!(told(&found, "loses its power").1.ends_with("has switched it off"));
        let config = agent(&["hn1"], last);
        let (_, text) = told(&findings(&config, &host), "loses its power");
        assert!(text.ends_with("(none for hn0)"), "{text}");
    }

    #[test]
    fn an_agent_that_may_be_later_than_the_wait_covers_nothing_and_the_way_out_is_told() {
        let mut config = config();
        let before = config.fencing.dead_after + ANSWER_LIMIT;
        let left = config.timing.wait() - before;
        let nodes = BTreeMap::from([(config.node.clone(), BTreeMap::new())]);
        let program = "/usr/sbin/fence_x".to_owned();
        let kind = FenceKind::Agent { program, secrets_file: None, nodes };
        config.fencing.methods = vec![FenceMethod { name: "ipmi".to_owned(), limit: left, kind }];
        let mut host = headnode();
        host.virtual_machine = Some("kvm".to_owned());
        let found = findings(&config, &host);
        let way_out = format!("set `limit_ms` of the method to {} or less", left.as_millis() - 1);
        for what in ["virtual machine (kvm)", "stands still as a whole"] {
            let (level, text) = told(&found, what);
            assert_eq!(level, Level::Advice, "{text}");
            assert!(text.starts_with("not covered: ") && text.contains(&way_out), "{text}");
        }
        host.hardware_watchdog = Some(config.timing.kill);
        assert_eq!(told(&findings(&config, &host), "stands still as a whole").0, Level::Ok);
    }

    #[test]
    fn a_hardware_watchdog_covers_a_frozen_host_if_it_is_as_short_as_the_kill_time() {
        for (kill, set, level, says) in [
            (2000, 2000, Level::Ok, "resets it within 2s"),
            (2000, 1500, Level::Ok, "resets it within 2s"),
            (2000, 3000, Level::Advice, "set RuntimeWatchdogSec=2s"),
            // The device counts whole seconds.
            (
                1500,
                1500,
                Level::Advice,
                "waits for 2s); where it has a watchdog device, set RuntimeWatchdogSec=1s",
            ),
            (900, 900, Level::Advice, "waits for 1s); configure a fence agent"),
        ] {
            let (mut config, mut host) = (config(), headnode());
            config.timing.kill = Duration::from_millis(kill);
            host.hardware_watchdog = Some(Duration::from_millis(set));
            let found = findings(&config, &host);
            let (found, text) = told(&found, "stands still as a whole");
            assert_eq!(found, level, "{text}");
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn the_joint_death_is_judged_by_the_watchdogs_of_the_units() {
        for (seconds, level, says) in [
            (Some(1), Level::Ok, "may even die or freeze together"),
            (Some(3), Level::Warning, "kill time 2s, needed 4s"),
            (None, Level::Advice, "not known: whether"),
        ] {
            let found = joint_death(Duration::from_secs(2), seconds.map(Duration::from_secs));
            assert!(found.level == level && found.text.contains(says), "{found:?}");
        }
    }

    #[test]
    fn a_single_server_is_told_to_be_one() {
        let mut config = config();
        assert_eq!(told(&findings(&config, &headnode()), "1 of 3 ZooKeeper").0, Level::Ok);
        config.quorum.servers.truncate(1);
        let found = findings(&config, &headnode());
        assert_eq!(told(&found, "a ZooKeeper server is lost (1 configured)").0, Level::Advice);
    }
}
