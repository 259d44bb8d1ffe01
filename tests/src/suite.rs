//! The suite as somebody sees it who looks at a lab's headnodes from outside: by the files and units of a host, without
//! asking the failover quorum.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use headship_core::lease::Permit;
use headship_core::say::Kind;
use rustix::time::{ClockId, clock_gettime};

use crate::lab::service_log;
use crate::lab::{HA_UNITS, Host, Result as LabResult};

/// What a headnode's master-fc says that the headnode is, as one word; empty if it says nothing.
#[must_use]
pub fn role(host: &Host) -> String {
    let line = status(host, "master-fc");
    line.split([' ', ':']).next().unwrap_or_default().to_owned()
}

/// The line of a daemon in its folder of `/run/headship`; empty if there is none.
#[must_use]
pub fn status(host: &Host, daemon: &str) -> String {
    host.read_file(&format!("/run/headship/{daemon}/status")).unwrap_or_default().trim().to_owned()
}

/// The permit on a headnode, if one is there.
#[must_use]
pub fn permit(host: &Host) -> Option<Permit> {
    serde_json::from_str(&host.read_file("/run/headship/permit").ok()?).ok()
}

/// D of a headnode, in nanoseconds on the clock of the service log.
#[must_use]
pub fn deadline(host: &Host) -> Option<u64> {
    Some(permit(host)?.deadline.as_micros() * 1000)
}

/// Whether all HA services run on a headnode.
#[must_use]
pub fn runs_all(host: &Host) -> bool {
    HA_UNITS.into_iter().all(|unit| host.runs(unit))
}

/// Whether no HA service runs on a headnode.
#[must_use]
pub fn runs_none(host: &Host) -> bool {
    !HA_UNITS.into_iter().any(|unit| host.runs(unit))
}

/// Of two headnodes the one that is active, and the one that is standby; else what they are.
///
/// # Errors
/// They are anything else.
pub fn pair(headnodes: Vec<Host>) -> Result<(Host, Host), String> {
    let [first, second]: [Host; 2] =
        headnodes.try_into().map_err(|hosts: Vec<Host>| format!("{} headnodes", hosts.len()))?;
    let roles = [role(&first), role(&second)];
    match roles.each_ref().map(String::as_str) {
        ["active", "standby"] => Ok((first, second)),
        ["standby", "active"] => Ok((second, first)),
        [one, other] => Err(format!("{} is {one}, {} is {other}", first.name(), second.name())),
    }
}

/// When a headnode's daemons said lines of this kind in this boot, on the clock of the service log, and what they said.
///
/// # Errors
/// The host has no power.
pub fn said(host: &Host, kind: Kind) -> LabResult<Vec<(u64, String)>> {
    let id = format!("MESSAGE_ID={}", kind.id());
    let journal = host.run(&["journalctl", "--boot", "--output=json", &id])?;
    let suspended = suspended();
    let entry = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line).ok()?;
        let at: u64 = entry.get("__MONOTONIC_TIMESTAMP")?.as_str()?.parse().ok()?;
        Some((at * 1000 + suspended, entry.get("MESSAGE")?.as_str()?.to_owned()))
    };
    Ok(journal.lines().filter_map(entry).collect())
}

/// When systemd last began to start a unit, on the clock of the service log; nothing if it never did. Its gate runs after that.
///
/// # Errors
/// The host has no power.
pub fn ordered_at(host: &Host, service: &str) -> LabResult<Option<u64>> {
    let line =
        ["systemctl", "show", "--value", "--property", "InactiveExitTimestampMonotonic", service];
    let micros: Option<u64> = host.run(&line)?.trim().parse().ok();
    Ok(micros.filter(|micros| *micros > 0).map(|micros| micros * 1000 + suspended()))
}

/// When the office began that `active` serves in: it came to say becoming-active then, on the clock of the service log, give or
/// take a millisecond for each phase. What master-fc says when it serves names how long before that it was; nothing if it does
/// not serve.
///
/// # Errors
/// The host has no power.
pub fn office_began(active: &Host) -> LabResult<Option<u64>> {
    let began = said(active, Kind::OfficeTaken)?.into_iter().rev().find_map(|(at, text)| {
        let phases = text.strip_prefix("serving in epoch ")?;
        Some(at - (phase(phases, "permit")? + phase(phases, "start")?) * 1_000_000)
    });
    Ok(began)
}

/// The milliseconds of a phase in `after detect 1 ms, wait 2 ms`.
fn phase(text: &str, phase: &str) -> Option<u64> {
    let (_, behind) = text.split_once(&format!(" {phase} "))?;
    behind.split_once(" ms")?.0.parse().ok()
}

/// When a node's hosts file was put in its place, on the clock of the service log. The kernel stamps that when it happens.
///
/// # Errors
/// There is no such file.
pub fn hosts_changed_at(node: &Host) -> io::Result<u64> {
    let data = fs::metadata(node.root().join("etc/hosts"))?;
    let changed = unsigned(data.ctime()) * 1_000_000_000 + unsigned(data.ctime_nsec());
    Ok(service_log::now().saturating_sub(nanos(ClockId::Realtime).saturating_sub(changed)))
}

/// How long this machine was suspended, which systemd and the journal do not count.
fn suspended() -> u64 {
    let suspended = service_log::now().saturating_sub(nanos(ClockId::Monotonic));
    // Two clocks are not read at once: what they differ by without any suspension is noise.
    if suspended > 1_000_000 { suspended } else { 0 }
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    unsigned(time.tv_sec) * 1_000_000_000 + unsigned(time.tv_nsec)
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
