//! The control groups of units: seeing and ending what runs in them without systemd or D-Bus.
//!
//! This is the local way of the guard (`protocol.md`, 6): it must work while PID 1 or D-Bus hangs. Reads and writes of the
//! control group file systems go to the kernel's memory, not to a disk, so they are made on the caller's thread; a thread
//! of its own might not be had in the very moment that it is needed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

/// How often a killed group is looked at again: SIGKILL takes a few milliseconds, most of them for the memory's return.
const AGAIN: Duration = Duration::from_millis(5);

/// The control groups of this host's units.
#[derive(Clone, Debug)]
pub struct Cgroups {
    /// One folder for each hierarchy in which systemd keeps units: the root of its own tree.
    roots: Vec<PathBuf>,
}

/// Why control groups are of no use.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// There is no hierarchy with units.
    #[error("no control group hierarchy of systemd is mounted below `/sys/fs/cgroup`")]
    None,
    /// A group could not be read or written.
    #[error("cannot use the control group file `{path}`")]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Something is left in spite of SIGKILL.
    #[error("processes {left:?} of `{unit}` are still there {limit:?} after SIGKILL")]
    Left {
        /// The unit.
        unit: String,
        /// The processes that are left.
        left: Vec<i32>,
        /// How long was waited.
        limit: Duration,
    },
}

impl Cgroups {
    /// The hierarchies of this host: cgroup v2 alone, beside v1 (hybrid, where units are in both), or v1 alone.
    pub fn of_host() -> Self {
        let of_pid_1 = fs::read_to_string("/proc/1/cgroup").unwrap_or_default();
        Self::below(Path::new("/sys/fs/cgroup"), &of_pid_1)
    }

    pub(crate) fn below(mounts: &Path, of_pid_1: &str) -> Self {
        let base = |controller: &str| {
            // `0::/init.scope` for v2, `1:name=systemd:/init.scope` for v1. In a container without a namespace of its own
            // systemd's tree begins further down.
            let line = of_pid_1.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                rest.strip_prefix(controller)?.strip_prefix(":/")
            });
            line.and_then(|path| path.strip_suffix("init.scope")).unwrap_or_default().to_owned()
        };
        let unified = mounts.join("unified");
        let legacy = mounts.join("systemd");
        let candidates = if mounts.join("cgroup.controllers").exists() {
            vec![(mounts.to_owned(), base(""))]
        } else {
            vec![(unified, base("")), (legacy, base("name=systemd"))]
        };
        let roots = candidates.into_iter().filter(|(mount, _)| mount.join("cgroup.procs").exists());
        let root = |(mount, base): (PathBuf, String)| {
            let below = mount.join(base);
            // A mount that shows systemd's tree only.
            if below.is_dir() { below } else { mount }
        };
        Self { roots: roots.map(root).collect() }
    }

    /// Whether any process runs in the unit's control group. A unit without a group runs nothing.
    pub fn populated(&self, unit: &str) -> Result<bool, CgroupError> {
        for group in self.groups(unit)? {
            if populated(&group)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// SIGKILL to everything in the unit's control group, again and again until it is empty or `limit` has passed.
    pub async fn kill(&self, unit: &str, limit: Duration) -> Result<(), CgroupError> {
        let end = Instant::now() + limit;
        loop {
            // The groups anew each time: systemd may be about to make one.
            let groups = self.groups(unit)?;
            let mut left = false;
            for group in &groups {
                if populated(group)? {
                    left = true;
                    kill_once(group)?;
                }
            }
            if !left {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(self.left(unit, &groups, limit));
            }
            sleep(AGAIN).await;
        }
    }

    /// One SIGKILL to everything in the unit's control group, without waiting for what comes of it.
    pub(crate) fn kill_now(&self, unit: &str) -> Result<(), CgroupError> {
        self.groups(unit)?.iter().try_for_each(|group| kill_once(group))
    }

    /// SIGTERM to each process in the unit's control group.
    pub(crate) fn terminate(&self, unit: &str) -> Result<(), CgroupError> {
        for group in self.groups(unit)? {
            signal_each(&group, Signal::SIGTERM)?;
        }
        Ok(())
    }

    fn left(&self, unit: &str, groups: &[PathBuf], limit: Duration) -> CgroupError {
        let pids: BTreeSet<i32> =
            groups.iter().flat_map(|group| pids(group).unwrap_or_default()).collect();
        CgroupError::Left { unit: unit.to_owned(), left: pids.into_iter().collect(), limit }
    }

    /// The unit's group in each hierarchy, wherever in the tree of slices it is.
    fn groups(&self, unit: &str) -> Result<Vec<PathBuf>, CgroupError> {
        if self.roots.is_empty() {
            return Err(CgroupError::None);
        }
        let mut found = Vec::new();
        let mut slices = self.roots.clone();
        while let Some(slice) = slices.pop() {
            let group = slice.join(unit);
            if group.is_dir() {
                found.push(group);
            }
            slices.extend(
                folders(&slice)?
                    .into_iter()
                    .filter(|folder| folder.extension().is_some_and(|ending| ending == "slice")),
            );
        }
        Ok(found)
    }
}

/// Whether anything runs in the group or below it.
fn populated(group: &Path) -> Result<bool, CgroupError> {
    // v2 keeps the answer. v1 does not, and has no such file.
    match read(&group.join("cgroup.events"))? {
        Some(events) => Ok(events.lines().any(|line| line == "populated 1")),
        None => Ok(!pids(group)?.is_empty()),
    }
}

/// One SIGKILL to all: by the kernel in one step where it can (v2 since Linux 5.14), otherwise one by one, which a group
/// that forks may escape until the next round.
fn kill_once(group: &Path) -> Result<(), CgroupError> {
    let lever = group.join("cgroup.kill");
    match fs::OpenOptions::new().write(true).open(&lever) {
        Ok(file) => match io::Write::write_all(&mut &file, b"1") {
            Ok(()) => return Ok(()),
            Err(error) if gone(&error) => return Ok(()),
            Err(source) => return Err(CgroupError::Unusable { path: lever, source }),
        },
        Err(error) if gone(&error) => {}
        Err(source) => return Err(CgroupError::Unusable { path: lever, source }),
    }
    signal_each(group, Signal::SIGKILL)
}

fn signal_each(group: &Path, signal: Signal) -> Result<(), CgroupError> {
    for pid in pids(group)? {
        match kill(Pid::from_raw(pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => {
                return Err(CgroupError::Unusable { path: group.to_owned(), source: errno.into() });
            }
        }
    }
    Ok(())
}

/// The processes in the group and below it. What belongs to another process namespace shows as 0 and is left out: a
/// signal to 0 would reach ourselves.
fn pids(group: &Path) -> Result<Vec<i32>, CgroupError> {
    let mut pids = Vec::new();
    let mut groups = vec![group.to_owned()];
    while let Some(group) = groups.pop() {
        let text = read(&group.join("cgroup.procs"))?.unwrap_or_default();
        pids.extend(text.lines().filter_map(|line| line.parse().ok()).filter(|pid: &i32| *pid > 0));
        groups.extend(folders(&group)?);
    }
    Ok(pids)
}

/// The file's text; `None` if it, or the group, is not there (any more).
fn read(path: &Path) -> Result<Option<String>, CgroupError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if gone(&error) => Ok(None),
        Err(source) => Err(CgroupError::Unusable { path: path.to_owned(), source }),
    }
}

fn folders(path: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let unusable = |source| CgroupError::Unusable { path: path.to_owned(), source };
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if gone(&error) => return Ok(Vec::new()),
        Err(source) => return Err(unusable(source)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if gone(&error) => break,
            Err(source) => return Err(unusable(source)),
        };
        // No link is followed: the tree has none of its own, and mounts beside it (`cpu` -> `cpu,cpuacct`) do.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

/// Whether the group went away: `ENODEV` is what an open file of a removed group says.
fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ENODEV as i32)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// A tree as the kernel shows it, of plain files.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn a_unit_is_found_in_any_slice_of_a_unified_tree() {
        let dir = tree(&[
            ("cgroup.controllers", ""),
            ("cgroup.procs", ""),
            ("system.slice/a.service/cgroup.events", "populated 1\nfrozen 0\n"),
            ("headship.slice/b.service/cgroup.events", "populated 0\nfrozen 0\n"),
            ("system.slice/system-c.slice/c@1.service/cgroup.events", "populated 1\n"),
            ("user.slice/user@1.service/d.service/cgroup.events", "populated 1\n"),
        ]);
        let cgroups = Cgroups::below(dir.path(), "0::/init.scope\n");
        assert!(cgroups.populated("a.service").unwrap());
        assert!(!cgroups.populated("b.service").unwrap());
        assert!(cgroups.populated("c@1.service").unwrap());
        // A user's own manager may name its units as it likes.
        assert!(!cgroups.populated("d.service").unwrap());
        assert!(!cgroups.populated("unheard-of.service").unwrap());
    }

    #[test]
    fn in_a_hybrid_tree_either_hierarchy_counts() {
        let dir = tree(&[
            ("unified/cgroup.procs", ""),
            ("unified/system.slice/a.service/cgroup.events", "populated 0\n"),
            ("systemd/cgroup.procs", ""),
            ("systemd/system.slice/a.service/control/cgroup.procs", "17\n"),
            ("systemd/system.slice/b.service/cgroup.procs", "0\n"),
        ]);
        let cgroups = Cgroups::below(dir.path(), "1:name=systemd:/init.scope\n0::/init.scope\n");
        assert!(cgroups.populated("a.service").unwrap());
        assert!(!cgroups.populated("b.service").unwrap());
    }

    #[test]
    fn the_tree_of_a_container_begins_where_its_first_process_is() {
        let dir = tree(&[
            ("systemd/cgroup.procs", ""),
            ("systemd/system.slice/a.service/cgroup.procs", "17\n"),
            ("systemd/lxc/one/system.slice/a.service/cgroup.procs", ""),
        ]);
        let cgroups = Cgroups::below(dir.path(), "4:cpu:/\n1:name=systemd:/lxc/one/init.scope\n");
        assert!(!cgroups.populated("a.service").unwrap());
    }

    #[test]
    fn without_a_hierarchy_nothing_is_claimed_to_be_empty() {
        let dir = tree(&[]);
        let cgroups = Cgroups::below(dir.path(), "");
        assert!(matches!(cgroups.populated("a.service"), Err(CgroupError::None)));
    }

    #[tokio::test]
    async fn without_a_lever_each_process_is_killed_and_what_stays_is_named() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // Plain files: the group never empties, as if the process withstood.
        let procs = format!("0\n{pid}\n");
        let dir = tree(&[
            ("systemd/cgroup.procs", ""),
            ("systemd/system.slice/a.service/below/cgroup.procs", procs.as_str()),
        ]);
        let cgroups = Cgroups::below(dir.path(), "");
        let error = cgroups.kill("a.service", Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(error, CgroupError::Left { left, .. } if left == [pid]));
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}
