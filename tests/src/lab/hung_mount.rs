//! A file system that hangs: whoever asks it anything waits in the kernel, and no kill ends that, as with a disk or a file
//! server that does not come back.
//!
//! It is one of FUSE, served from outside of the host by a thread that takes every request, and answers none but what its root
//! is. When the host loses its power, or the mount is taken away, the thread ends, and all who wait with it.

use std::fs::{self, File};
use std::path::Path;

use rustix::process::Pid;

use super::error::{LabError, Result, Tried};
use super::fuse;
use super::host::Host;

/// Where it is mounted. Below `/run`, where nobody but who is told to looks at file systems.
pub const HUNG_MOUNT: &str = "/run/hung";

const FOLDER: u32 = 0o040_755;

/// How long a command on the host may take that does not touch the mount.
const LIMIT: &str = "20";

/// Whether [`Host::mount_hung`] is possible on this machine.
///
/// # Errors
/// Why not, in one sentence.
pub fn can_hang_mounts() -> std::result::Result<(), String> {
    fuse::is_there()
}

impl Host {
    /// Mounts a file system at [`HUNG_MOUNT`] that hangs.
    ///
    /// # Errors
    /// The host has no power, or its kernel knows no such file systems.
    pub fn mount_hung(&self) -> Result<()> {
        let pid1 = self.pid1().ok_or_else(|| LabError::PoweredOff(self.name().to_owned()))?;
        self.run(&["mkdir", "--parents", HUNG_MOUNT])?;
        let marker = self.hung_marker();
        File::create(&marker).tried(|| format!("create `{}`", marker.display()))?;
        let mounted = fuse::mount(pid1, HUNG_MOUNT, FOLDER, move |device| {
            fuse::serve(
                device,
                || marker.exists() && fuse::lives(pid1),
                |request| request.open_with(FOLDER),
            );
        });
        mounted.inspect_err(|_| drop(fs::remove_file(self.hung_marker())))
    }

    /// Ends [`Host::mount_hung`]: who waits for it gets an error, and the mount is gone.
    ///
    /// # Errors
    /// The host loses its power.
    pub fn unmount_hung(&self) -> Result<()> {
        // Not there is what is wanted, too. Who looks at the mount before the connection has ended waits for that.
        fs::remove_file(self.hung_marker()).ok();
        if !self.pid1().is_some_and(|pid1| fuse::is_mounted(pid1, Path::new(HUNG_MOUNT))) {
            return Ok(());
        }
        let script = "umount --lazy $0 2>/dev/null; true";
        self.run(&["timeout", LIMIT, "sh", "-c", script, HUNG_MOUNT]).map(drop)
    }

    /// Whether a process of a unit or program waits where no kill reaches it.
    ///
    /// # Errors
    /// Nothing of that name runs here.
    pub fn waits_beyond_kill(&self, what: &str) -> Result<bool> {
        let waits = |pid: Pid| {
            let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
            tasks.into_iter().flatten().flatten().any(|task| {
                let stack = fs::read_to_string(task.path().join("wchan")).unwrap_or_default();
                stack.contains("fuse") || stack.contains("request_wait_answer")
            })
        };
        Ok(self.find_processes(what)?.into_iter().any(waits))
    }
}
