//! The cluster in order: one headnode active with all its services, the other ready, and everybody following.

use std::thread;
use std::time::{Duration, Instant};

use crate::lab::ensemble;
use crate::lab::service_log::What;
use crate::lab::{Disk, HA_UNITS, Host, Lab, Result, wait_until};
use crate::suite;

use super::log::Log;

/// How often it is looked: each look reads files of several hosts, on cores that the hosts need, too.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long a host that reboots may be without a PID 1.
const POWER_LIMIT: Duration = Duration::from_secs(10);

/// How long all servers may answer and carry nothing out before they are restarted, as an operator would. Seen with ZooKeeper 3.8
/// after all three had stood still: a follower whose request processor had ended stayed in the ensemble. No client can mend that.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// The exit code by which `headship status` tells that the failover quorum gives no answer.
const QUORUM_AWAY: i32 = 9;

/// A guard that fails twice within lease and kill time takes its host down, by design: no burst shall pay for the one before it.
pub(super) fn forget_failed_guards(lab: &Lab) -> Result<()> {
    for host in lab.headnodes() {
        host.run(&["rm", "--force", "/run/headship/guard-failed"])?;
    }
    Ok(())
}

/// Ends every fault that may be left, as an operator who goes through the room. What had to be done is in the log. Daemons are
/// left alone: who is down comes back by itself, or the run fails (`units`).
///
/// # Errors
/// A host or the ensemble does not come back.
pub(super) fn heal(lab: &Lab, log: &Log) -> Result<()> {
    for host in lab.hosts() {
        // One that reboots has none for a moment.
        match wait_until("it has power", POWER_LIMIT, || host.has_power()) {
            Ok(()) => host.wait_booted()?,
            Err(_) => log.write(&format!("{} is found without power", host.name())),
        }
        if host.cuts_text() != "up" {
            log.write(&format!("{} is found cut: {}", host.name(), host.cuts_text()));
        }
    }
    lab.repair()?;
    for host in lab.headnodes() {
        [Disk::Run, Disk::State].into_iter().try_for_each(|disk| host.empty(disk))?;
    }
    Ok(())
}

/// Waits until the cluster is in order, and returns what came last.
///
/// # Errors
/// What is missing still, after `limit`.
pub(super) fn wait(
    lab: &Lab,
    log: &Log,
    limit: Duration,
) -> std::result::Result<Option<String>, String> {
    let (mut begun, mut last, mut restarted) = (Instant::now(), None, false);
    loop {
        match missing(lab) {
            None => return Ok(last),
            Some(what) if begun.elapsed() > limit => return Err(what),
            Some(_) if !restarted && begun.elapsed() > STUCK_AFTER && is_stuck(lab) => {
                log.write("all servers answer and carry nothing out: they are restarted");
                restart_servers(lab).map_err(|error| error.to_string())?;
                (begun, restarted) = (Instant::now(), true);
            }
            what @ Some(_) => last = what,
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Whether no headnode gets an answer from the failover quorum, though each server says that it serves.
fn is_stuck(lab: &Lab) -> bool {
    let asked = |host: &Host| host.output(&["timeout", "20", "headship", "status"]);
    lab.servers().iter().all(|server| ensemble::mode(server).is_some())
        && lab
            .headnodes()
            .iter()
            .all(|host| asked(host).is_ok_and(|it| it.status.code() == Some(QUORUM_AWAY)))
}

fn restart_servers(lab: &Lab) -> Result<()> {
    for server in lab.servers() {
        server.run(&["systemctl", "restart", ensemble::UNIT])?;
    }
    lab.repair()
}

/// What is missing, if anything is; what costs least is looked at first.
fn missing(lab: &Lab) -> Option<String> {
    let (active, standby) = match suite::pair(lab.headnodes()) {
        Ok(pair) => pair,
        Err(what) => return Some(what),
    };
    let (here, there) = (active.name(), standby.name());
    if !suite::runs_all(&active) {
        return Some(format!("not all services run on {here}, which is active"));
    }
    if !suite::runs_none(&standby) {
        return Some(format!("services run on {there}, which is standby"));
    }
    if let Some(unit) = HA_UNITS.into_iter().find(|unit| !serves(lab, &active, unit)) {
        return Some(format!("{unit} does not serve on {here}"));
    }
    let alias = format!("{} headnodehost", active.address());
    let hosts = lab.hosts();
    let lost = hosts.iter().find(|host| {
        let text = host.read_file("/etc/hosts").unwrap_or_default();
        !text.lines().any(|line| line.starts_with(&alias))
    });
    if let Some(host) = lost {
        return Some(format!("{} does not follow {here}", host.name()));
    }
    match active.output(&["timeout", "20", "headship", "status"]) {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let last = said.lines().rev().find(|line| !line.trim().is_empty());
            Some(format!("`headship status`: {}", last.unwrap_or_default()))
        }
        Err(error) => Some(error.to_string()),
    }
}

/// Whether the last that a service told on a host, but for its beats, is that it serves.
fn serves(lab: &Lab, host: &Host, unit: &str) -> bool {
    let service = unit.strip_suffix(".service").unwrap_or(unit);
    let Ok(log) = lab.service_log() else { return false };
    let mut told = log.events().iter().rev().filter(|event| {
        event.host == host.name() && event.service == service && event.what != What::Alive
    });
    told.next().is_some_and(|last| last.what == What::Ready)
}
