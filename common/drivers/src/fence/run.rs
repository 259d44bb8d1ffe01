//! One run of a fence program: what it is told, a limit that ends it and all that it started, how it ended, and what it said.
//!
//! Under systemd it is a transient unit, as every program that is none of ours: it neither dies with our upgrade nor sees our
//! sandbox, PID 1 ends it at its limit even if we are gone, and its control group leaves nobody out. Elsewhere (a container, a
//! test without root) it leads a process group of its own.

mod group;
mod kept;

use std::io::{Write, pipe};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use headship_core::fencing::{End, Run};
use headship_core::say::Kind;
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;

use self::kept::Kept;
use crate::driver::SLICE;
use crate::host::cgroup::Cgroups;
use crate::host::run::RunDir;
use crate::systemd::{Once, Systemd, TRANSIENT};

/// The most that is written to a program's standard input: what every pipe takes at once, so that nobody waits for a program
/// that does not read.
pub(super) const MOST_INPUT: usize = 4096;
/// How long a killed program may take to be gone.
const GONE: Duration = Duration::from_millis(500);
/// How long the rest of its output is waited for when it has ended: it is in the pipe, or somebody else holds that open.
const REST: Duration = Duration::from_millis(200);
/// Where programs are looked for that a fence program runs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Tells units of this process apart.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// What is run.
#[derive(Debug)]
pub(super) struct Job<'a> {
    /// Program and arguments.
    pub(super) command: &'a [String],
    /// Its environment, beside a path and a locale.
    pub(super) environment: Vec<(String, String)>,
    /// Its standard input.
    pub(super) input: String,
    /// What must not show in what it is heard to say: some agents print what they do not understand.
    pub(super) hidden: Vec<String>,
}

/// Runs fence programs.
#[derive(Debug)]
pub(super) enum Runner {
    /// As transient units.
    Units { systemd: Systemd, cgroups: Cgroups },
    /// In process groups.
    Groups,
}

/// The ends of the pipes that the program gets.
#[derive(Debug)]
struct Pipes {
    input: OwnedFd,
    output: OwnedFd,
    errors: OwnedFd,
}

impl Runner {
    pub(super) fn new(run: &RunDir) -> Self {
        if run.under_systemd() {
            Self::Units { systemd: Systemd::open([]), cgroups: Cgroups::of_host() }
        } else {
            Self::Groups
        }
    }

    /// Runs a program for no longer than `limit`: how it ended, and its standard output. Nothing of it is left afterwards,
    /// unless the kernel does not let go of it; that is logged.
    pub(super) async fn run(&self, job: Job<'_>, limit: Duration) -> (Run, String) {
        let unseen =
            |why: String| (Run { end: End::Unseen(why), said: String::new() }, String::new());
        if limit.is_zero() {
            return unseen("was not asked, for want of time".to_owned());
        }
        let (pipes, output, errors) = match pipes(&job.input) {
            Ok(made) => made,
            Err(why) => return unseen(format!("cannot be run: {why}")),
        };
        let mut environment = job.environment;
        environment.push(("PATH".to_owned(), PATH.to_owned()));
        environment.push(("LC_ALL".to_owned(), "C".to_owned()));
        let (mut out, mut err) = (Kept::default(), Kept::default());
        let end = {
            let reading = async { tokio::join!(out.read(output), err.read(errors)) };
            let ending = self.end_of(job.command, &environment, pipes, limit);
            tokio::pin!(reading, ending);
            tokio::select! {
                end = &mut ending => {
                    // What is not read by then is lost, which is no harm.
                    drop(timeout(REST, reading).await);
                    end
                }
                // It closed its outputs, and may go on.
                _ = &mut reading => ending.await,
            }
        };
        let said =
            if err.is_empty() { out.last_words(&job.hidden) } else { err.last_words(&job.hidden) };
        (Run { end, said }, out.text())
    }

    async fn end_of(
        &self,
        command: &[String],
        environment: &[(String, String)],
        pipes: Pipes,
        limit: Duration,
    ) -> End {
        let (systemd, cgroups) = match self {
            Self::Groups => return group::run(command, environment, pipes, limit).await,
            Self::Units { systemd, cgroups } => (systemd, cgroups),
        };
        // A name of its own for each run: one that another process left behind ends by its own limit, and is in nobody's way.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unit = format!("{TRANSIENT}fence-{}-{number}.service", std::process::id());
        let once = Once {
            unit: &unit,
            description: "headship: a fence program".to_owned(),
            slice: SLICE,
            command,
            environment,
            stdio: Some([pipes.input, pipes.output, pipes.errors]),
            credential: None,
            limit,
        };
        let abandoned = Abandoned { unit: &unit, cgroups, over: false };
        let end = abandoned.unless_over(systemd.run_once(once)).await;
        // By the kernel alone: a systemd that hangs ends nothing.
        if let Err(error) = cgroups.kill(&unit, GONE).await {
            tracing::warn!(
                MESSAGE_ID = Kind::FenceProgramLeft.id(),
                "a fence program may still run: {error}"
            );
        }
        end
    }
}

/// A run that nobody waits for any more: what it started is killed. One that systemd is only about to start ends by its limit.
struct Abandoned<'a> {
    unit: &'a str,
    cgroups: &'a Cgroups,
    over: bool,
}

impl Abandoned<'_> {
    async fn unless_over(mut self, run: impl Future<Output = End>) -> End {
        let end = run.await;
        self.over = true;
        end
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if let Err(error) = self.cgroups.kill_now(self.unit) {
            tracing::warn!(
                MESSAGE_ID = Kind::FenceProgramLeft.id(),
                "a fence program may still run: {error}"
            );
        }
    }
}

/// Pipes with the input written already: the program's ends, and ours of its output and errors.
fn pipes(input: &str) -> Result<(Pipes, Receiver, Receiver), String> {
    if input.len() > MOST_INPUT {
        return Err(format!("its parameters are longer than {MOST_INPUT} bytes"));
    }
    let make = || {
        let (read, mut write) = pipe()?;
        write.write_all(input.as_bytes())?;
        let ((output, its_output), (errors, its_errors)) = (pipe()?, pipe()?);
        let (output, errors) = (OwnedFd::from(output), OwnedFd::from(errors));
        let pipes =
            Pipes { input: read.into(), output: its_output.into(), errors: its_errors.into() };
        Ok((pipes, Receiver::from_owned_fd(output)?, Receiver::from_owned_fd(errors)?))
    };
    make().map_err(|error: std::io::Error| format!("there is no pipe: {error}"))
}
