//! Full disks: a host's `/run`, the folder in which the suite remembers things, and the whole disk.

use std::ffi::CString;

use rustix::fs::statvfs;
use rustix::mount::{MountFlags, mount_remount};

use super::error::{LabError, Result, Tried};
use super::host::Host;

/// What can be full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// `/run`, in memory: permits, closed epochs, systemd's own state.
    Run,
    /// `/var/lib/headship`: what a node remembers over boots.
    State,
    /// All of `/` but what is in memory: every folder that something is kept in.
    Root,
}

/// How long it may take on a host that does not stand still. Its PID 1 has no part in it.
const LIMIT: &str = "20";

/// Its size becomes what is in use, so that no memory is needed to fill it.
const FILL_RUN: &str = "used=$(df --output=used --block-size=1K /run | tail --lines=1)
    mount -o remount,size=$((used + 4))k /run
    dd if=/dev/zero of=/run/full bs=1k status=none 2>/dev/null; true";
const EMPTY_RUN: &str = "mount -o remount,size=20% /run; rm --force /run/full";

/// Not all of the disk is to be full, so the folder becomes a small one of its own.
const FILL_STATE: &str = "rm --recursive --force /run/full-state
    cp --archive /var/lib/headship /run/full-state
    mount -t tmpfs -o size=256k,mode=755 full /var/lib/headship
    cp --archive /run/full-state/. /var/lib/headship
    dd if=/dev/zero of=/var/lib/headship/full bs=1k status=none 2>/dev/null; true";
const EMPTY_STATE: &str = "mountpoint --quiet /var/lib/headship || exit 0
    rm --force /var/lib/headship/full
    cp --archive /var/lib/headship/. /run/full-state
    umount --lazy /var/lib/headship
    cp --archive /run/full-state/. /var/lib/headship";

impl Host {
    /// Fills a disk to its last byte.
    ///
    /// # Errors
    /// The host has no power, or its kernel refuses.
    pub fn fill(&self, disk: Disk) -> Result<()> {
        let script = match disk {
            Disk::Run => FILL_RUN,
            Disk::State => FILL_STATE,
            Disk::Root => return self.resize_root(&format!("size={}k", self.root_used_kib()?)),
        };
        self.run(&["timeout", LIMIT, "sh", "-c", script]).map(drop)
    }

    /// Ends [`Host::fill`]; a boot ends it as well.
    ///
    /// # Errors
    /// The host has no power, or its kernel refuses.
    pub fn empty(&self, disk: Disk) -> Result<()> {
        let script = match disk {
            Disk::Run => EMPTY_RUN,
            Disk::State => EMPTY_STATE,
            Disk::Root => return self.resize_root("size=50%"),
        };
        self.run(&["timeout", LIMIT, "sh", "-c", script]).map(drop)
    }

    /// From outside, so that a host that stands still has a full disk, too.
    fn resize_root(&self, size: &str) -> Result<()> {
        let disk = self.disk_dir();
        let size = CString::new(size).map_err(|error| LabError::Unavailable(error.to_string()))?;
        mount_remount(&disk, MountFlags::empty(), size.as_c_str())
            .map_err(std::io::Error::from)
            .tried(|| format!("change the size of `{}`", disk.display()))
    }

    fn root_used_kib(&self) -> Result<u64> {
        let disk = self.disk_dir();
        let found = statvfs(&disk)
            .map_err(std::io::Error::from)
            .tried(|| format!("measure `{}`", disk.display()))?;
        Ok((found.f_blocks - found.f_bfree) * found.f_frsize / 1024)
    }
}
