//! A file system that hangs: whoever asks it anything waits in the kernel, and no kill ends that, as with a disk or a file
//! server that does not come back.
//!
//! It is one of FUSE, served from outside of the host by a thread that takes every request, and answers none but what its root
//! is. When the host loses its power, or the mount is taken away, the thread ends, and all who wait with it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

use super::error::{LabError, Result, Tried};
use super::host::Host;

/// Where it is mounted. Below `/run`, where nobody but who is told to looks at file systems.
pub const HUNG_MOUNT: &str = "/run/hung";

const DEVICE: &str = "/dev/fuse";

/// How often it is looked whether the mount is there still.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// How long a command on the host may take that does not touch the mount.
const LIMIT: &str = "20";

/// More than the kernel wants room for with requests as small as those that are asked for.
const REQUEST_ROOM: usize = 64 << 10;

/// Whether [`Host::mount_hung`] is possible on this machine.
///
/// # Errors
/// Why not, in one sentence.
pub fn can_hang_mounts() -> std::result::Result<(), String> {
    let device = OpenOptions::new().read(true).write(true).open(DEVICE);
    device.map(drop).map_err(|error| format!("it serves no file systems at `{DEVICE}`: {error}"))
}

impl Host {
    /// Mounts a file system at [`HUNG_MOUNT`] that hangs.
    ///
    /// # Errors
    /// The host has no power, or its kernel knows no such file systems.
    pub fn mount_hung(&self) -> Result<()> {
        let pid1 = self.pid1().ok_or_else(|| LabError::PoweredOff(self.name().to_owned()))?;
        let device = OpenOptions::new().read(true).write(true).open(DEVICE);
        let device = device.tried(|| format!("open `{DEVICE}`"))?;
        let inherited = device.try_clone().tried(|| format!("open `{DEVICE}`"))?;
        self.run(&["mkdir", "--parents", HUNG_MOUNT])?;
        let marker = self.hung_marker();
        File::create(&marker).tried(|| format!("create `{}`", marker.display()))?;
        // Before it is mounted: who mounts may look at what it mounted.
        thread::spawn(move || serve(device, pid1, &marker));
        let mut mount = Command::new("nsenter");
        mount.args(["--mount", "--target", &pid1.as_raw_nonzero().to_string(), "--"]);
        mount.args(["mount", "--internal-only", "-t", "fuse", "hung", HUNG_MOUNT]);
        mount.args(["-o", "fd=0,rootmode=40000,user_id=0,group_id=0,allow_other"]);
        // The kernel knows the file by its number in who mounts.
        let mounted = mount.stdin(Stdio::from(inherited)).output();
        let mounted = mounted.tried(|| "start `nsenter`".to_owned())?;
        if !mounted.status.success() {
            fs::remove_file(self.hung_marker()).ok();
            return Err(LabError::Command {
                line: format!("mount {HUNG_MOUNT}"),
                status: mounted.status.to_string(),
                stderr: String::from_utf8_lossy(&mounted.stderr).trim().to_owned(),
            });
        }
        Ok(())
    }

    /// Ends [`Host::mount_hung`]: who waits for it gets an error, and the mount is gone.
    ///
    /// # Errors
    /// The host loses its power.
    pub fn unmount_hung(&self) -> Result<()> {
        // Not there is what is wanted, too. Who looks at the mount before the connection has ended waits for that.
        fs::remove_file(self.hung_marker()).ok();
        if !self.pid1().is_some_and(is_mounted) {
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

/// Takes requests for as long as the host and `marker` are there. The end of the file is the end of the connection.
fn serve(mut device: File, pid1: Pid, marker: &Path) {
    let mut request = vec![0; REQUEST_ROOM];
    while marker.exists() && mounts(pid1).is_some() {
        let mut ready = [PollFd::new(&device, PollFlags::IN)];
        if poll(&mut ready, Some(&LOOK_EVERY)).is_ok_and(|count| count > 0) {
            match device.read(&mut request) {
                Ok(length) => {
                    if let Some(answer) = answer(request.get(..length).unwrap_or_default()) {
                        // Who asks hangs as well if it is not heard.
                        device.write_all(&answer).ok();
                    }
                }
                // It is not mounted yet, the request was taken back, or the connection is over, which the next look shows.
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

/// The mounts of a host's PID 1; nothing once that is gone. Nothing of the file systems themselves is asked.
fn mounts(pid1: Pid) -> Option<String> {
    fs::read_to_string(format!("/proc/{}/mountinfo", pid1.as_raw_nonzero())).ok()
}

fn is_mounted(pid1: Pid) -> bool {
    let is_hung = |line: &str| line.split(' ').nth(4) == Some(HUNG_MOUNT);
    mounts(pid1).is_some_and(|text| text.lines().any(is_hung))
}

/// The answer of linux/fuse.h to the two requests that have one: `FUSE_INIT`, which opens the connection, and `FUSE_GETATTR`
/// of the root, which is a folder.
fn answer(request: &[u8]) -> Option<Vec<u8>> {
    const GETATTR: u32 = 3;
    const INIT: u32 = 26;
    const HEADER: usize = 16;
    const ROOT: u64 = 1;
    const FOLDER: u32 = 0o040_755;
    /// For how many seconds it need not be asked again.
    const HOLDS: u64 = 1 << 20;
    let opcode = u32::from_ne_bytes(request.get(4..8)?.try_into().ok()?);
    let node = u64::from_ne_bytes(request.get(16..24)?.try_into().ok()?);
    let mut body: Vec<u8> = Vec::new();
    match opcode {
        INIT => {
            // Version 7.23, nothing read ahead, no flags; then the least that may be asked for at a time.
            body.extend([7_u32, 23, 0, 0].map(u32::to_ne_bytes).concat());
            body.extend([12_u16, 9].map(u16::to_ne_bytes).concat());
            body.extend(4096_u32.to_ne_bytes());
            body.resize(64, 0);
        }
        GETATTR if node == ROOT => {
            body.extend([HOLDS, 0, ROOT].map(u64::to_ne_bytes).concat());
            // Sizes and times.
            body.resize(body.len() + 5 * 8 + 3 * 4, 0);
            body.extend([FOLDER, 2].map(u32::to_ne_bytes).concat());
            body.resize(104, 0);
        }
        _ => return None,
    }
    let length = u32::try_from(HEADER + body.len()).ok()?;
    let header = [length, 0].map(u32::to_ne_bytes).concat();
    Some([&header[..], request.get(8..16)?, &body].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opening_and_the_root_are_answered_under_their_own_number_and_nothing_else_is() {
        let mut request = vec![0; 56];
        request[8..16].copy_from_slice(b"numbered");
        request[16] = 1;
        for (opcode, length) in [(26_u8, 80_u32), (3, 120)] {
            request[4] = opcode;
            let reply = answer(&request).unwrap();
            assert_eq!(reply[..4], length.to_ne_bytes());
            assert_eq!(reply.len(), usize::try_from(length).unwrap());
            assert_eq!(&reply[8..16], b"numbered");
        }
        request[16] = 2;
        assert_eq!(answer(&request), None, "of what is in it");
        for opcode in [1, 17, 27] {
            request[4] = opcode;
            assert_eq!(answer(&request), None);
        }
        assert_eq!(answer(&[]), None);
    }
}
