//! A host's processes, found and signalled from outside: nothing on the host takes part in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal};

use super::cgroup;
use super::error::{LabError, Result, Tried};
use super::host::Host;

impl Host {
    /// Sends a signal to every process of a unit, or to every process that runs a program of that name. From outside:
    /// nothing on the host takes part in it.
    ///
    /// # Errors
    /// Nothing of that name runs here.
    pub fn kill(&self, what: &str, signal: Signal) -> Result<()> {
        cgroup::signal(&self.find_processes(what)?, signal);
        Ok(())
    }

    /// Stops a unit's or program's processes with SIGSTOP, as if they hung.
    ///
    /// # Errors
    /// Nothing of that name runs here.
    pub fn freeze(&self, what: &str) -> Result<()> {
        self.kill(what, Signal::STOP)
    }

    /// Ends [`Host::freeze`].
    ///
    /// # Errors
    /// Nothing of that name runs here.
    pub fn thaw(&self, what: &str) -> Result<()> {
        self.kill(what, Signal::CONT)
    }

    /// Stops the host's PID 1 as if it hung: no unit is started, stopped or watched over.
    ///
    /// # Errors
    /// The host has no power.
    pub fn freeze_pid1(&self) -> Result<()> {
        self.signal_pid1(Signal::STOP)
    }

    /// Ends [`Host::freeze_pid1`].
    ///
    /// # Errors
    /// The host has no power.
    pub fn thaw_pid1(&self) -> Result<()> {
        self.signal_pid1(Signal::CONT)
    }

    fn signal_pid1(&self, signal: Signal) -> Result<()> {
        let pid1 = self.pid1().ok_or_else(|| LabError::PoweredOff(self.name().to_owned()))?;
        cgroup::signal(&[pid1], signal);
        Ok(())
    }

    /// Freezes the host as a whole, as a machine that hangs: every process, its systemd, and no timer fires. Needs control
    /// groups of version 2.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn freeze_all(&self) -> Result<()> {
        self.set_frozen(true)
    }

    /// Ends [`Host::freeze_all`].
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn thaw_all(&self) -> Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        let group = cgroup::units_group(&self.group());
        cgroup::set_frozen(
            &group.ok_or_else(|| LabError::PoweredOff(self.name().to_owned()))?,
            frozen,
        )
    }

    /// Freezes a unit's or program's processes so that not even SIGKILL ends them, as a process in an endless disk wait.
    /// The host's reboot or power loss ends them all the same. Only where version 1's freezer is mounted.
    ///
    /// # Errors
    /// Nothing of that name runs here, or there is no such freezer.
    pub fn freeze_beyond_kill(&self, what: &str) -> Result<()> {
        let pids = self.find_processes(what)?;
        let pid1 = self.pid1().ok_or_else(|| LabError::PoweredOff(self.name().to_owned()))?;
        let group = cgroup::hard_freezer(&self.beyond_kill_group())
            .ok_or_else(|| LabError::Unavailable(super::NO_HARD_FREEZER.to_owned()))?;
        fs::create_dir_all(&group).tried(|| format!("create `{}`", group.display()))?;
        let members = pids.iter().map(|pid| ("cgroup.procs", pid.as_raw_nonzero().to_string()));
        for (file, text) in members.chain([("freezer.state", "FROZEN".to_owned())]) {
            let file = group.join(file);
            fs::write(&file, text).tried(|| format!("write `{}`", file.display()))?;
        }
        thaw_when_gone(pid1, &group.join("freezer.state"))
    }

    /// Ends [`Host::freeze_beyond_kill`].
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn thaw_beyond_kill(&self) -> Result<()> {
        let Some(group) = cgroup::hard_freezer(&self.beyond_kill_group()) else {
            return Ok(());
        };
        fs::write(group.join("freezer.state"), "THAWED")
            .tried(|| format!("thaw `{}`", group.display()))
    }

    /// Lets the processes that a unit has now use this much memory from now on, in mebibytes; the kernel kills who needs more.
    ///
    /// # Errors
    /// Nothing of that name runs here, or this machine limits no memory.
    pub fn limit_memory(&self, unit: &str, mib: u32) -> Result<()> {
        let pids = self.find_processes(unit)?;
        let (group, file) = match cgroup::memory(&format!("{}/limited", self.group())) {
            Some(group) => (group, "memory.limit_in_bytes"),
            None => (self.unit_group(unit).unwrap_or_default(), "memory.max"),
        };
        fs::create_dir_all(&group).tried(|| format!("create `{}`", group.display()))?;
        let members = pids.iter().map(|pid| ("cgroup.procs", pid.as_raw_nonzero().to_string()));
        let limit = (file, format!("{mib}M"));
        for (file, text) in [limit].into_iter().chain(members) {
            let file = group.join(file);
            fs::write(&file, text).tried(|| format!("write `{}`", file.display()))?;
        }
        Ok(())
    }

    /// Ends every kind of freeze on this host, and what hangs.
    pub(super) fn thaw_everything(&self) -> Result<()> {
        self.thaw_all()?;
        self.unmount_hung()?;
        cgroup::signal(&self.processes(), Signal::CONT);
        match cgroup::hard_freezer(&self.beyond_kill_group()) {
            Some(group) if group.exists() => self.thaw_beyond_kill(),
            Some(_) | None => Ok(()),
        }
    }

    fn beyond_kill_group(&self) -> String {
        format!("{}/beyond-kill", self.group())
    }

    /// Whether any process of the unit, or of the program of that name, is there.
    #[must_use]
    pub fn runs(&self, what: &str) -> bool {
        self.find_processes(what).is_ok()
    }

    /// Processes of the unit or program, as this machine numbers them.
    ///
    /// # Errors
    /// There are none.
    pub fn find_processes(&self, what: &str) -> Result<Vec<Pid>> {
        let mut found = if what.contains('.') { self.unit_processes(what) } else { Vec::new() };
        if found.is_empty() {
            found = self
                .processes()
                .into_iter()
                .filter(|pid| program(*pid).is_some_and(|name| name == what))
                .collect();
        }
        if found.is_empty() {
            return Err(LabError::NoSuchProcess {
                host: self.name().to_owned(),
                what: what.to_owned(),
            });
        }
        Ok(found)
    }

    fn unit_processes(&self, unit: &str) -> Vec<Pid> {
        self.unit_group(unit).map(|group| cgroup::processes(&group)).unwrap_or_default()
    }

    /// Slices nest, and a lab test may use slices of its own: the unit is looked for wherever it is.
    fn unit_group(&self, unit: &str) -> Option<PathBuf> {
        find_dir(&cgroup::units_group(&self.group())?, unit)
    }

    /// All processes of the host, its container manager included.
    #[must_use]
    pub fn processes(&self) -> Vec<Pid> {
        cgroup::units_group(&self.group())
            .map(|group| cgroup::processes(&group))
            .unwrap_or_default()
    }

    /// The host's PID 1, as this machine numbers it: the process whose innermost number is 1. nspawn's first child is not it.
    pub(super) fn pid1(&self) -> Option<Pid> {
        self.processes().into_iter().find(|pid| is_systemd_with_pid_1(*pid))
    }
}

/// A machine that resets does not wait for its processes; a container does. So this one's are thawed as soon as its PID 1
/// has lost its program, which is when the kernel begins to wait.
fn thaw_when_gone(pid1: Pid, state: &Path) -> Result<()> {
    let script = "while readlink /proc/$0/exe; do sleep 0.02; done; echo THAWED >\"$1\"";
    let mut watch = Command::new("setsid");
    watch.args(["--fork", "sh", "-c", script, &pid1.as_raw_nonzero().to_string()]).arg(state);
    // Not `finish`: what keeps this running must not hold a pipe of ours.
    let status = watch.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.map(drop).tried(|| "start `setsid`".to_owned())
}

fn is_systemd_with_pid_1(pid: Pid) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())) else {
        return false;
    };
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let innermost = numbers.split_whitespace().skip(1).last();
    innermost == Some("1") && program(pid).is_some_and(|name| name == "systemd")
}

/// Name of the program that a process runs.
fn program(pid: Pid) -> Option<String> {
    let exe = fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())).ok()?;
    // A program that was replaced meanwhile is still called by its name.
    let name = exe.file_name()?.to_string_lossy().into_owned();
    Some(name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned())
}

fn find_dir(below: &Path, name: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(below).ok()?.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name() == name {
            return Some(entry.path());
        }
        if let Some(found) = find_dir(&entry.path(), name) {
            return Some(found);
        }
    }
    None
}
