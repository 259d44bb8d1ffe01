//! The suite's daemons once all faults have ended: systemd must have brought back by itself whatever they took.
//!
//! No fault leaves a daemon down by its nature when it has ended, so none of them is started from outside.

use std::collections::BTreeSet;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::{Host, Lab, Role};

use super::log::Log;
use super::plan::{Daemon, Machine};

/// How long systemd may take: its pause before a restart is 0.1 s, a start may take 10 s, and one may fail on busy cores.
const LIMIT: Duration = Duration::from_secs(30);

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A daemon that is not there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Down {
    host: &'static str,
    unit: String,
    state: String,
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} is {}", self.unit, self.host, self.state)
    }
}

/// Waits until every daemon that a host always runs is there. Notes which were not when the faults had ended.
///
/// # Errors
/// Who is not back after the time in which systemd has to have done that.
pub(super) fn wait(lab: &Lab, log: &Log) -> Result<(), String> {
    let (begun, mut noted) = (Instant::now(), BTreeSet::new());
    loop {
        let down: Vec<Down> = lab.hosts().iter().flat_map(down_on).collect();
        for one in &down {
            if noted.insert(one.clone()) {
                log.write(&format!("{one}, after the faults"));
            }
        }
        if down.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > LIMIT {
            let all: Vec<String> = down.iter().map(ToString::to_string).collect();
            return Err(format!("{LIMIT:?} after the faults: {}", all.join(", ")));
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn down_on(host: &Host) -> Vec<Down> {
    let wanted: Vec<&str> = match host.spec().role {
        Role::Headnode => Daemon::of(Machine::Standby).iter().map(|it| it.unit()).collect(),
        Role::Quorum | Role::Worker => vec![Daemon::Guard.unit(), Daemon::Follower.unit()],
    };
    let mut line = vec!["timeout", "10", "systemctl", "show", "--property=Id,ActiveState,Result"];
    line.extend(&wanted);
    let said = match host.output(&line) {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        // It may be rebooting.
        Err(_) => String::new(),
    };
    let down = |unit| {
        let state = state(&said, unit)?;
        Some(Down { host: host.name(), unit: unit.to_owned(), state })
    };
    wanted.into_iter().filter_map(down).collect()
}

/// What a unit is by the words of `systemctl show`, unless it is there or is just being stopped by somebody's order.
fn state(said: &str, unit: &str) -> Option<String> {
    let id = format!("Id={unit}");
    let block = said.split("\n\n").find(|block| block.lines().any(|line| line == id));
    let value = |key| block?.lines().find_map(|line| line.strip_prefix(key));
    match value("ActiveState=") {
        Some("active" | "reloading" | "deactivating") => None,
        Some(state) => Some(format!("{state} ({})", value("Result=").unwrap_or("-"))),
        None => Some("unknown, as systemd does not answer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_down_is_told_with_its_state_and_who_cannot_be_asked_is_not_there() {
        let said = "Result=success\nId=slave-fc.service\nActiveState=active\n\n\
            Result=exit-code\nId=master-fc.service\nActiveState=failed\n\n\
            Result=success\nId=health-monitor.service\nActiveState=inactive\n";
        assert_eq!(state(said, "slave-fc.service"), None);
        assert_eq!(state(said, "master-fc.service").as_deref(), Some("failed (exit-code)"));
        assert_eq!(state(said, "health-monitor.service").as_deref(), Some("inactive (success)"));
        let unknown = Some("unknown, as systemd does not answer");
        assert_eq!(state("", "slave-fc.service").as_deref(), unknown);
        assert_eq!(state(said, "slave-ha-service.service").as_deref(), unknown);
    }
}
