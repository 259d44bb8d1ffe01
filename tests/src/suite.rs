//! The suite as somebody sees it who looks at a lab's headnodes from outside: by the files and units of a host, without
//! asking the failover quorum.

use headship_core::lease::Permit;

use crate::lab::{HA_UNITS, Host};

/// What a headnode's master-fc says that the headnode is, as one word; empty if it says nothing.
#[must_use]
pub fn role(host: &Host) -> String {
    let line = status(host, "master-fc");
    line.split([' ', ':']).next().unwrap_or_default().to_owned()
}

/// The line of a daemon in `/run/headship/status`; empty if there is none.
#[must_use]
pub fn status(host: &Host, daemon: &str) -> String {
    host.read_file(&format!("/run/headship/status/{daemon}")).unwrap_or_default().trim().to_owned()
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
