//! Full disks: a host's `/run`, and the folder in which the suite remembers things.

use super::error::Result;
use super::host::Host;

/// What can be full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// `/run`, in memory: permits, closed epochs, systemd's own state.
    Run,
    /// `/var/lib/headship`: what a node remembers over boots.
    State,
}

/// How long it may take on a host that does not stand still. Its PID 1 has no part in it.
const LIMIT: &str = "20";

/// Its size becomes what is in use, so that no memory is needed to fill it.
const FILL_RUN: &str = "used=$(df --output=used --block-size=1K /run | tail --lines=1)
    mount -o remount,size=$((used + 4))k /run
    dd if=/dev/zero of=/run/full bs=1k status=none 2>/dev/null; true";
const EMPTY_RUN: &str = "mount -o remount,size=20% /run; rm --force /run/full";

/// The hosts' disks share a memory file system, so the folder becomes a small disk of its own.
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
        };
        self.run(&["timeout", LIMIT, "sh", "-c", script]).map(drop)
    }
}
