//! Runs a real program as an HA service of the lab: it executes the program, and leaves an observer beside it.
//!
//! The program knows of nothing. That it lives is told by others: the observer watches its process and writes into the
//! shared log, and the lock that the log's witnesses ask for is inherited by the program, so that the kernel lets go of
//! it with the program's own process, whatever becomes of the observer. systemd's main process is the program itself;
//! the observer is in its control group, ends after it, and tells systemd when it answers by HTTP, as none of them does.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{FdFlags, fcntl_setfd, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::error::{LabError, Result, Tried};
use super::service::{BEAT, notify, stop_orders};
use super::service_log::{What, Writer, hold_lock};
use super::web;

/// Tells the runner that the start is on record.
const BEGUN: u8 = b'.';

/// How long an answer may take, and how long to wait after a bad one.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// Which service to be, and by what.
#[derive(Clone, Debug)]
pub struct Runner {
    /// Name, for the log.
    pub name: String,
    /// What it has to answer with 200 to count as serving: host, port and path.
    pub page: String,
    /// Host name, for the log.
    pub host: String,
    /// Directory of the shared log.
    pub log_dir: PathBuf,
}

impl Runner {
    /// Becomes the program of this command line, once its start is on record.
    ///
    /// # Errors
    /// The log cannot be written, or the program cannot be executed.
    pub fn run(&self, line: &[String]) -> Result<Infallible> {
        let lock = hold_lock(&self.log_dir, &self.host)?;
        let own = std::env::current_exe().tried(|| "find one's own program".to_owned())?;
        let observer = Command::new(own)
            .args([&self.name, &self.page, "--host", &self.host, "--log-dir"])
            .arg(&self.log_dir)
            .args(["--observe", &std::process::id().to_string()])
            .stdout(Stdio::piped())
            .spawn();
        let observer = observer.tried(|| "start the observer".to_owned())?;
        let mut said = observer.stdout.ok_or_else(|| nothing("the observer has no output"))?;
        // It says why it ends, if it does.
        said.read_exact(&mut [0]).tried(|| "hear that the start is on record".to_owned())?;
        // From here on it is the program's.
        fcntl_setfd(&lock, FdFlags::empty())
            .map_err(std::io::Error::from)
            .tried(|| "hand the lock on".to_owned())?;
        let (program, arguments) =
            line.split_first().ok_or_else(|| nothing("no program is named"))?;
        let error = Command::new(program).args(arguments).exec();
        Err(error).tried(|| format!("execute `{program}`"))
    }

    /// Observes the process `pid`, which is about to execute the program, until its end.
    ///
    /// # Errors
    /// The log cannot be written, or there is no such process.
    pub fn observe(&self, pid: Pid) -> Result<()> {
        let told = stop_orders()?;
        let process = pidfd_open(pid, PidfdFlags::empty())
            .map_err(std::io::Error::from)
            .tried(|| format!("observe process {}", pid.as_raw_nonzero()))?;
        let number = pid.as_raw_nonzero().get().unsigned_abs();
        let mut log = Writer::start(&self.log_dir, &self.host, &self.name, number)?;
        let mut out = std::io::stdout();
        out.write_all(&[BEGUN])
            .and_then(|()| out.flush())
            .tried(|| "say that the start is on record".to_owned())?;
        let serves = self.serves();
        while !ends_within(process.as_fd(), BEAT)? {
            log.beat()?;
            if told.try_recv().is_ok() {
                log.write(What::Term)?;
            }
            if serves.try_recv().is_ok() {
                log.write(What::Ready)?;
                notify("READY=1")?;
            }
        }
        log.write(What::Stop)
    }

    /// Hears once that the program answers.
    fn serves(&self) -> Receiver<()> {
        let (tell, serves) = channel();
        let page = self.page.clone();
        thread::spawn(move || {
            let (address, path) = page.split_once('/').unwrap_or((&page, ""));
            let answers = || {
                web::get(address, &format!("/{path}"), ANSWER_LIMIT)
                    .is_ok_and(|answer| answer.status == 200)
            };
            while !answers() {
                thread::sleep(PAUSE);
            }
            // Nobody listens to a program that has ended.
            tell.send(()).ok();
        });
        serves
    }
}

fn nothing(what: &str) -> LabError {
    LabError::Unavailable(what.to_owned())
}

/// Whether the process has ended, at the latest after `limit`.
fn ends_within(process: BorrowedFd<'_>, limit: Duration) -> Result<bool> {
    let limit = Timespec::try_from(limit).unwrap_or_default();
    let ended = retry_on_intr(|| {
        let mut watched = [PollFd::from_borrowed_fd(process, PollFlags::IN)];
        poll(&mut watched, Some(&limit))
    });
    let ended = ended.map_err(std::io::Error::from).tried(|| "watch a process".to_owned())?;
    Ok(ended > 0)
}
