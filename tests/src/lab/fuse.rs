//! What the lab's two file systems of its own have in common: a mount that a thread outside of the host serves, and as much of
//! linux/fuse.h as they need.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

use super::error::{LabError, Result, Tried};

const DEVICE: &str = "/dev/fuse";

/// How often it is looked whether the mount is there still.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// More than the kernel wants room for with requests as small as those that are asked for.
const REQUEST_ROOM: usize = 64 << 10;

/// How long a request's own head is.
const HEAD: usize = 40;

/// How long the head of an answer is.
const ANSWER_HEAD: usize = 16;

/// For how many seconds what is said of the root need not be asked again.
const HOLDS: u64 = 1 << 20;

/// The number of what is mounted.
pub(super) const ROOT: u64 = 1;

/// The requests that are answered, by their numbers.
pub(super) mod opcode {
    pub(in crate::lab) const GETATTR: u32 = 3;
    pub(in crate::lab) const OPEN: u32 = 14;
    pub(in crate::lab) const WRITE: u32 = 16;
    pub(in crate::lab) const RELEASE: u32 = 18;
    pub(in crate::lab) const FLUSH: u32 = 25;
    pub(in crate::lab) const INIT: u32 = 26;
    pub(in crate::lab) const IOCTL: u32 = 39;
}

/// What the kernel asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) opcode: u32,
    pub(super) node: u64,
    number: &'a [u8],
    pub(super) body: &'a [u8],
}

impl<'a> Request<'a> {
    /// Nothing, if it is too short to be one.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        Some(Self {
            opcode: u32::from_ne_bytes(bytes.get(4..8)?.try_into().ok()?),
            node: u64::from_ne_bytes(bytes.get(16..24)?.try_into().ok()?),
            number: bytes.get(8..16)?,
            body: bytes.get(HEAD..)?,
        })
    }

    /// The answer under its own number.
    pub(super) fn answer(&self, body: &[u8]) -> Option<Vec<u8>> {
        self.reply(0, body)
    }

    /// That there is no such thing here.
    pub(super) fn refuse(&self, error: rustix::io::Errno) -> Option<Vec<u8>> {
        self.reply(-error.raw_os_error(), &[])
    }

    fn reply(&self, error: i32, body: &[u8]) -> Option<Vec<u8>> {
        let length = u32::try_from(ANSWER_HEAD + body.len()).ok()?;
        Some([&length.to_ne_bytes()[..], &error.to_ne_bytes(), self.number, body].concat())
    }

    /// The answer to the two requests that open a connection: `FUSE_INIT`, and `FUSE_GETATTR` of what is mounted, which is a
    /// file or folder of this mode. Nothing for every other one.
    pub(super) fn open_with(&self, mode: u32) -> Option<Vec<u8>> {
        let mut body: Vec<u8> = Vec::new();
        match self.opcode {
            opcode::INIT => {
                // Version 7.23, nothing read ahead, no flags; then the least that may be asked for at a time.
                body.extend([7_u32, 23, 0, 0].map(u32::to_ne_bytes).concat());
                body.extend([12_u16, 9].map(u16::to_ne_bytes).concat());
                body.extend(4096_u32.to_ne_bytes());
                body.resize(64, 0);
            }
            opcode::GETATTR if self.node == ROOT => {
                body.extend([HOLDS, 0, ROOT].map(u64::to_ne_bytes).concat());
                // Sizes and times.
                body.resize(body.len() + 5 * 8 + 3 * 4, 0);
                body.extend([mode, 2].map(u32::to_ne_bytes).concat());
                body.resize(104, 0);
            }
            _ => return None,
        }
        self.answer(&body)
    }
}

/// Whether this machine serves file systems that are not its kernel's.
///
/// # Errors
/// Why not, in one sentence.
pub(super) fn is_there() -> std::result::Result<(), String> {
    let device = OpenOptions::new().read(true).write(true).open(DEVICE);
    device.map(drop).map_err(|error| format!("it serves no file systems at `{DEVICE}`: {error}"))
}

/// Mounts at `place` of a host a file or folder of this mode, which `serve` answers for in a thread of its own from before that on.
///
/// # Errors
/// The host's kernel knows no such file systems, or there is nothing at `place`.
pub(super) fn mount(
    pid1: Pid,
    place: &str,
    mode: u32,
    serve: impl FnOnce(File) + Send + 'static,
) -> Result<()> {
    let device = OpenOptions::new().read(true).write(true).open(DEVICE);
    let device = device.tried(|| format!("open `{DEVICE}`"))?;
    let inherited = device.try_clone().tried(|| format!("open `{DEVICE}`"))?;
    // Before it is mounted: who mounts may look at what it mounted.
    thread::spawn(move || serve(device));
    let mut mount = Command::new("nsenter");
    mount.args(["--mount", "--target", &pid1.as_raw_nonzero().to_string(), "--"]);
    mount.args(["mount", "--internal-only", "-t", "fuse", "headship-lab", place, "-o"]);
    // The kernel knows the device by its number in who mounts.
    mount.arg(format!("fd=0,rootmode={mode:o},user_id=0,group_id=0,allow_other"));
    let mounted = mount.stdin(Stdio::from(inherited)).output();
    let mounted = mounted.tried(|| "start `nsenter`".to_owned())?;
    if mounted.status.success() {
        return Ok(());
    }
    Err(LabError::Command {
        line: format!("mount {place}"),
        status: mounted.status.to_string(),
        stderr: String::from_utf8_lossy(&mounted.stderr).trim().to_owned(),
    })
}

/// Takes requests for as long as `goes_on` says so, which is asked between them and every few milliseconds. The end of the file is the
/// end of the connection.
pub(super) fn serve(
    mut device: File,
    mut goes_on: impl FnMut() -> bool,
    mut answer: impl FnMut(&Request<'_>) -> Option<Vec<u8>>,
) {
    let mut room = vec![0; REQUEST_ROOM];
    while goes_on() {
        let mut ready = [PollFd::new(&device, PollFlags::IN)];
        if poll(&mut ready, Some(&LOOK_EVERY)).is_ok_and(|count| count > 0) {
            match device.read(&mut room) {
                Ok(length) => {
                    let request = Request::parse(room.get(..length).unwrap_or_default());
                    if let Some(answer) = request.and_then(|request| answer(&request)) {
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

/// Whether a host's PID 1 lives.
pub(super) fn lives(pid1: Pid) -> bool {
    mounts(pid1).is_some()
}

/// Whether something is mounted at `place` of a host.
pub(super) fn is_mounted(pid1: Pid, place: &Path) -> bool {
    let is_there = |line: &str| line.split(' ').nth(4).map(Path::new) == Some(place);
    mounts(pid1).is_some_and(|text| text.lines().any(is_there))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A request of this number, under the number `numbered`, of what is mounted.
    pub(in crate::lab) fn request(opcode: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEAD];
        bytes[4..8].copy_from_slice(&opcode.to_ne_bytes());
        bytes[8..16].copy_from_slice(b"numbered");
        bytes[16..24].copy_from_slice(&ROOT.to_ne_bytes());
        [bytes, body.to_vec()].concat()
    }

    #[test]
    fn the_opening_and_the_root_are_answered_under_their_own_number_and_nothing_else_is() {
        for (opcode, length) in [(opcode::INIT, 80_u32), (opcode::GETATTR, 120)] {
            let bytes = request(opcode, &[0; 16]);
            let reply = Request::parse(&bytes).unwrap().open_with(0o040_755).unwrap();
            assert_eq!(reply[..4], length.to_ne_bytes());
            assert_eq!(reply.len(), usize::try_from(length).unwrap());
            assert_eq!(&reply[8..16], b"numbered");
        }
        let mut inside = request(opcode::GETATTR, &[0; 16]);
        inside[16] = 2;
        assert_eq!(Request::parse(&inside).unwrap().open_with(0o040_755), None, "of what is in it");
        for opcode in [1, opcode::OPEN, opcode::IOCTL] {
            let bytes = request(opcode, &[0; 16]);
            assert_eq!(Request::parse(&bytes).unwrap().open_with(0o040_755), None);
        }
        assert!(Request::parse(&[]).is_none());
    }
}
