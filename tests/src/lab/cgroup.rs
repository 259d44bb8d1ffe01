//! Control groups, in whatever mix of version 1 and 2 this machine mounts.
//!
//! Every host gets a group of its own in every hierarchy, before it starts: hosts that share one share the groups of units
//! with the same name, too, and stops go astray. The groups also tell `lab down` what the lab started.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::command::wait_until;
use super::error::{Result, Tried};

/// How long killed processes may take to be gone: they only have to be reaped.
const REAP_LIMIT: Duration = Duration::from_secs(10);

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    root: PathBuf,
    /// Mount options: names the controllers of version 1.
    options: String,
    unified: bool,
}

/// All mounted hierarchies, version 2 first if there is one.
pub(crate) fn hierarchies() -> Vec<Hierarchy> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found = parse_mounts(&mounts);
    found.sort_by_key(|hierarchy| !hierarchy.unified);
    found
}

fn parse_mounts(mounts: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(root), Some(kind), Some(options)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let unified = kind == "cgroup2";
        let known = found
            .iter()
            .any(|other| other.unified == unified && (unified || other.options == options));
        if (unified || kind == "cgroup") && !known {
            found.push(Hierarchy {
                root: PathBuf::from(root),
                options: options.to_owned(),
                unified,
            });
        }
    }
    found
}

impl Hierarchy {
    fn has_controller(&self, name: &str) -> bool {
        !self.unified && self.options.split(',').any(|option| option == name)
    }

    /// Directory of a group, given by its path below the root.
    pub(crate) fn group(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

/// Creates the group in every hierarchy; returns their directories.
pub(crate) fn create(path: &str) -> Result<Vec<PathBuf>> {
    let mut groups = Vec::new();
    for hierarchy in hierarchies() {
        let mut group = hierarchy.root.clone();
        for part in path.split('/') {
            let parent = group.clone();
            group.push(part);
            match fs::create_dir(&group) {
                // Hosts start together, and share the groups above their own.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                created => created.tried(|| format!("create `{}`", group.display()))?,
            }
            if hierarchy.has_controller("cpuset") {
                inherit_cpuset(&parent, &group)?;
            }
        }
        groups.push(group);
    }
    Ok(groups)
}

/// A version 1 cpuset takes no process before it is told its processors and memory nodes.
fn inherit_cpuset(parent: &Path, group: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let value = fs::read_to_string(parent.join(file))
            .tried(|| format!("read `{}/{file}`", parent.display()))?;
        fs::write(group.join(file), value)
            .tried(|| format!("write `{}/{file}`", group.display()))?;
    }
    Ok(())
}

/// Directory of the group in the hierarchy by which systemd keeps its units: version 2, else version 1's `name=systemd`.
pub(crate) fn units_group(path: &str) -> Option<PathBuf> {
    let all = hierarchies();
    let by_units = all
        .iter()
        .find(|h| h.unified)
        .or_else(|| all.iter().find(|h| h.has_controller("name=systemd")));
    by_units.map(|hierarchy| hierarchy.group(path))
}

/// Directory of the group in version 1's freezer, whose frozen tasks not even SIGKILL ends. `None` where there is none.
pub(crate) fn hard_freezer(path: &str) -> Option<PathBuf> {
    hierarchies()
        .iter()
        .find(|h| h.has_controller("freezer"))
        .map(|hierarchy| hierarchy.group(path))
}

/// Directory of the group in version 1's hierarchy of memory. `None` where there is none.
pub(crate) fn memory(path: &str) -> Option<PathBuf> {
    let all = hierarchies();
    all.iter().find(|h| h.has_controller("memory")).map(|hierarchy| hierarchy.group(path))
}

/// Processes of the group and of all groups below it.
pub(crate) fn processes(group: &Path) -> Vec<Pid> {
    let own = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<Pid> =
        own.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw).collect();
    for child in children(group) {
        pids.extend(processes(&child));
    }
    pids
}

fn children(group: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(group) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Sends a signal to each of `pids`; one that is gone meanwhile is no error.
pub(crate) fn signal(pids: &[Pid], signal: Signal) {
    for pid in pids {
        // The only other answer to root is "no such process", and that is what a kill wants.
        kill_process(*pid, signal).ok();
    }
}

/// Kills all in the group, in every hierarchy, frozen or not, waits until nothing is left, and removes the group.
pub(crate) fn kill_and_remove(path: &str) -> Result<()> {
    let groups: Vec<PathBuf> = hierarchies()
        .iter()
        .map(|hierarchy| hierarchy.group(path))
        .filter(|g| g.exists())
        .collect();
    wait_until(&format!("every process of `{path}` is gone"), REAP_LIMIT, || {
        let mut left = 0;
        for group in &groups {
            thaw(group);
            let pids = processes(group);
            signal(&pids, Signal::KILL);
            left += pids.len();
        }
        left == 0
    })?;
    wait_until(&format!("the control groups of `{path}` are gone"), REAP_LIMIT, || {
        groups.iter().filter(|group| !remove(group)).count() == 0
    })
}

/// Removes a group and all below it; false if something in it is still busy.
fn remove(group: &Path) -> bool {
    let below = children(group).iter().filter(|child| !remove(child)).count();
    below == 0 && (!group.exists() || fs::remove_dir(group).is_ok())
}

/// Ends every freeze in the group and below it.
fn thaw(group: &Path) {
    for (file, value) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        let file = group.join(file);
        if file.exists() {
            // A group that vanishes meanwhile is as good as a thawed one.
            fs::write(file, value).ok();
        }
    }
    for child in children(group) {
        thaw(&child);
    }
}

/// Freezes or thaws all in a version 2 group.
pub(crate) fn set_frozen(group: &Path, frozen: bool) -> Result<()> {
    let file = group.join("cgroup.freeze");
    fs::write(&file, if frozen { "1" } else { "0" }).tried(|| format!("write `{}`", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/freezer cgroup rw,relatime,freezer 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0
cgroup /mnt/again cgroup rw,relatime,freezer 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
";

    #[test]
    fn each_hierarchy_counts_once_however_often_it_is_mounted() {
        let roots: Vec<_> =
            parse_mounts(HYBRID).into_iter().map(|hierarchy| hierarchy.root).collect();
        let expected =
            ["/sys/fs/cgroup/freezer", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"];
        assert_eq!(roots, expected.map(PathBuf::from));
    }

    #[test]
    fn a_pure_version_two_machine_has_one_hierarchy() {
        let found = parse_mounts("cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].unified && !found[0].has_controller("freezer"));
    }
}
