//! A service's unit: what systemd and what the kernel say of it, put together.
//!
//! systemd keeps a unit's processes in a control group that is named after the unit's own name. A configuration that names
//! a unit by an alias is refused with a sentence; until then its processes are looked for, and ended, under both names: the
//! group of an alias is always empty, which says nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headship_core::say::Kind;
use headship_core::services::{Ended, Observed};
use tokio::time::{Instant, sleep};

use crate::host::alias;
use crate::host::cgroup::{CgroupError, Cgroups};
use crate::process::Gated;
use crate::systemd::{self, Look, Systemd};

/// How long a unit that is down may take to leave its control group before it counts as still stopping.
const LEAVES: Duration = Duration::from_millis(100);
/// How often its control group is looked at meanwhile.
const AGAIN: Duration = Duration::from_millis(1);
/// What is said of a unit that systemd calls active after the end of its process (`RemainAfterExit=yes`).
const HOLLOW: &str = "its unit is active, but no process of it runs";

/// The unit of one service.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    name: String,
    systemd: Systemd,
    cgroups: Cgroups,
    /// The unit's own name as it was last learnt: from systemd, or before its first answer from the unit files.
    own: Arc<Mutex<String>>,
    /// Whether it is an HA service, of which nothing may be left. What else a node runs may have children that outlive it, as
    /// an agent has the daemons that it started: they are nobody's business here.
    gated: Gated,
}

impl Unit {
    pub(crate) fn new(name: String, systemd: Systemd, cgroups: Cgroups, gated: Gated) -> Self {
        let own = Arc::new(Mutex::new(alias::own_name(&name)));
        Self { name, systemd, cgroups, own, gated }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn systemd(&self) -> &Systemd {
        &self.systemd
    }

    pub(crate) async fn stop(&self, limit: Duration) -> Ended {
        match self.systemd.stop(&self.name, limit).await {
            Ended::Done if self.left().await => Ended::Failed {
                why: "its unit is stopped, but processes of it are left".to_owned(),
                by_gate: false,
            },
            other @ (Ended::Done | Ended::Failed { .. } | Ended::Unknown { .. }) => other,
        }
    }

    /// Ends every process of it, or of what is no HA service none: systemd stops that as its unit says.
    pub(crate) async fn kill(&self, limit: Duration) -> Ended {
        let why = match self.gated {
            Gated::Yes => match self.kill_all(limit).await {
                Ok(()) => return Ended::Done,
                Err(error) => error.to_string(),
            },
            Gated::No => format!("systemd has not stopped {} yet", self.name),
        };
        Ended::Failed { why, by_gate: false }
    }

    async fn kill_all(&self, limit: Duration) -> Result<(), CgroupError> {
        let end = Instant::now() + limit;
        let mut killed = Ok(());
        for name in self.names() {
            let left = end.saturating_duration_since(Instant::now());
            // What withstands under one name keeps nothing under the other alive.
            killed = killed.and(self.cgroups.kill(&name, left).await);
        }
        killed
    }

    /// Whether the kernel knows a process of it.
    pub(crate) fn populated(&self) -> Result<bool, CgroupError> {
        for name in self.names() {
            if self.cgroups.populated(&name)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) async fn observe(&self, gate: &Path, limit: Duration) -> Observed {
        let Some(look) = self.systemd.look(&self.name, gate, limit).await else {
            return Observed::Unknown;
        };
        self.own.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&look.own);
        let seen = seen(&self.name, &look, || self.populated());
        if seen.is_down() && self.left().await { Observed::Stopping } else { seen }
    }

    /// The names that its control group may have.
    fn names(&self) -> BTreeSet<String> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).clone();
        BTreeSet::from([self.name.clone(), own])
    }

    /// Whether processes are left of a unit that is down. systemd calls a unit stopped when its processes have ended in
    /// its eyes, which may be a moment before the kernel's; some units (`KillMode=process`) leave theirs for good.
    async fn left(&self) -> bool {
        if self.gated == Gated::No {
            return false;
        }
        let end = Instant::now() + LEAVES;
        loop {
            match self.populated() {
                Ok(false) => return false,
                Ok(true) if Instant::now() < end => sleep(AGAIN).await,
                Ok(true) => {
                    tracing::warn!(
                        MESSAGE_ID = Kind::ProcessesLeft.id(),
                        "{} is down, but processes of it are left",
                        self.name
                    );
                    return true;
                }
                Err(error) => {
                    tracing::warn!(
                        MESSAGE_ID = Kind::ProcessesLeft.id(),
                        "nobody knows whether processes of {} are left: {error}",
                        self.name
                    );
                    return true;
                }
            }
        }
    }
}

/// What follows from a look at the unit that was asked for as `name`.
fn seen(
    name: &str,
    look: &Look,
    populated: impl FnOnce() -> Result<bool, CgroupError>,
) -> Observed {
    let observed = if look.hollow {
        match populated() {
            // What its process left behind goes on working.
            Ok(true) => Observed::Running,
            Ok(false) => Observed::Failed { why: HOLLOW.to_owned() },
            Err(_) => Observed::Unknown,
        }
    } else {
        look.observed.clone()
    };
    // What runs has to be seen running under any name: whoever stops it must not believe that it is down.
    if observed.is_down() && look.own != name {
        return Observed::Failed { why: systemd::alias(name, &look.own) };
    }
    observed
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    fn look(observed: Observed, own: &str, hollow: bool) -> Look {
        Look { observed, own: own.to_owned(), hollow }
    }

    fn failed(why: &str) -> Observed {
        Observed::Failed { why: why.to_owned() }
    }

    #[test]
    fn a_unit_without_a_process_has_failed_whatever_systemd_calls_it() {
        let hollow = look(Observed::Running, "x.service", true);
        let nothing = seen("x.service", &hollow, || Ok(false));
        assert_eq!(nothing, failed("its unit is active, but no process of it runs"));
        // A wrapper that ended well and left the service behind it.
        assert_eq!(seen("x.service", &hollow, || Ok(true)), Observed::Running);
        assert_eq!(seen("x.service", &hollow, || Err(CgroupError::None)), Observed::Unknown);
        let oneshot = look(Observed::Running, "x.service", false);
        assert_eq!(seen("x.service", &oneshot, || Ok(false)), Observed::Running);
    }

    #[test]
    fn an_alias_is_seen_running_while_its_unit_runs_and_refused_when_it_is_down() {
        let sentence =
            "`x.service` is an alias of `y.service`: name `y.service` in the configuration";
        for up in [Observed::Running, Observed::Starting, Observed::Stopping] {
            assert_eq!(seen("x.service", &look(up.clone(), "y.service", false), || Ok(true)), up);
        }
        let down = look(Observed::Stopped, "y.service", false);
        assert_eq!(seen("x.service", &down, || Ok(false)), failed(sentence));
    }

    #[tokio::test]
    async fn an_alias_is_killed_under_the_name_of_its_unit() {
        // Not our output: if this fails it outlives us, and who reads that would wait for it.
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("systemd/system.slice/y.service");
        std::fs::create_dir_all(&group).unwrap();
        std::fs::write(dir.path().join("systemd/cgroup.procs"), "").unwrap();
        std::fs::write(group.join("cgroup.procs"), format!("{}\n", child.id())).unwrap();
        let systemd = Systemd::open([]);
        let unit = Unit::new(
            "x.service".to_owned(),
            systemd,
            Cgroups::below(dir.path(), "", str::to_owned),
            Gated::Yes,
        );
        // Nobody told yet that it is an alias.
        assert!(!unit.populated().unwrap());
        "y.service".clone_into(&mut unit.own.lock().unwrap());
        assert!(unit.populated().unwrap());
        // What an agent started is not ended with it.
        let agent = Unit { gated: Gated::No, ..unit.clone() };
        assert!(!agent.left().await && unit.left().await);
        let ended = agent.kill(Duration::from_millis(20)).await;
        assert!(matches!(ended, Ended::Failed { .. }) && child.try_wait().unwrap().is_none());
        // Plain files: the group never empties, so the kill does not claim to have seen it gone.
        assert!(unit.kill_all(Duration::from_millis(20)).await.is_err());
        assert!(!child.wait().unwrap().success());
    }
}
