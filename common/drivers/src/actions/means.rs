//! Performs single actions, by whatever a recipe has for it: programs of this host, or an Ambari server.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use headship_core::actions::{Action, Means, Recipe, Step, Told};
use headship_core::ambari::Goal;
use headship_core::fencing::End;
use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::NotRunning;
use super::marks::{MarkError, Marks};
use crate::ambari::{self, Failed};
use crate::host::run::RunDir;
use crate::process;

/// Where actions look for the programs that they run.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a killed program may take to be gone; one that a disk holds is left to the control group.
const GONE: Duration = Duration::from_millis(500);
/// The lock of this host's Ambari agent: there is one of it, whichever services it is asked for. No service has a colon in
/// its name.
const AGENT: &str = ":ambari-agent";

/// Whether the time for grace is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    /// It is not.
    No,
    /// It is: at the end of the lease.
    Yes,
}

/// Starts the service; it is up afterwards.
pub(super) async fn start(run: &RunDir, marks: &Marks, recipe: &Recipe) -> Result<(), NotRunning> {
    match recipe.means() {
        Means::Programs(speaker) => {
            let end = perform(&speaker.step(Action::Start)).await;
            speaker.started(&end).map_err(NotRunning::Failed)
        }
        Means::Ambari(component) => {
            let end = Instant::now() + recipe.limit(Action::Start);
            let _agent = agent(marks, left(end)).await.map_err(NotRunning::Failed)?;
            let epoch = run.permit().ok().flatten().map(|permit| permit.epoch);
            match ambari::go(run, component, Goal::Start(epoch), left(end)).await {
                Ok(()) => Ok(()),
                Err(Failed::Refused(refused)) => Err(refused.into()),
                Err(Failed::Because(why)) => Err(NotRunning::Failed(why)),
            }
        }
    }
}

/// Stops the service, and sees it gone.
pub(super) async fn stop(
    run: &RunDir,
    marks: &Marks,
    recipe: &Recipe,
    haste: Haste,
) -> Result<(), String> {
    let component = match recipe.means() {
        Means::Programs(speaker) => {
            let stop = perform(&speaker.step(Action::Stop)).await;
            let monitor = perform(&speaker.step(Action::Monitor)).await;
            return speaker.cleared(&stop, &monitor);
        }
        Means::Ambari(component) => component,
    };
    let limit = recipe.limit(Action::Stop);
    let end = Instant::now() + limit;
    let (goal, patience) = match haste {
        Haste::No => (Goal::Stop, limit / 2),
        Haste::Yes => (Goal::Kill, limit),
    };
    let _agent = match agent(marks, patience).await {
        Ok(lock) => lock,
        Err(why) => {
            // What runs is ended all the same, which is proof where the gate is.
            ambari::kill(component, left(end)).await?;
            return if component.is_gated() { Ok(()) } else { Err(why) };
        }
    };
    match ambari::go(run, component, goal, left(end)).await {
        Ok(()) => Ok(()),
        Err(Failed::Because(why)) => Err(why),
        Err(Failed::Refused(refused)) => Err(refused.to_string()),
    }
}

/// The host's one lock: its agent does one thing at a time, and what it was handed is one record.
async fn agent(marks: &Marks, limit: Duration) -> Result<Flock<File>, String> {
    marks.lock(AGENT, limit).await.map_err(|error| match error {
        MarkError::Busy => {
            "the Ambari agent of this host is still busy with another service".to_owned()
        }
        MarkError::File(_) | MarkError::Lock { .. } => error.to_string(),
    })
}

fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}

/// Ends what can be ended without anybody's help.
pub(super) async fn kill(recipe: &Recipe) {
    match recipe.means() {
        Means::Programs(_) => {}
        Means::Ambari(component) => {
            if let Err(why) = ambari::kill(component, recipe.limit(Action::Stop)).await {
                tracing::debug!("{} was not killed: {why}", recipe.service);
            }
        }
    }
}

/// Whether it runs.
pub(super) async fn monitor(recipe: &Recipe) -> Told {
    match recipe.means() {
        Means::Programs(speaker) => {
            let end = perform(&speaker.step(Action::Monitor)).await;
            speaker.told(&end)
        }
        Means::Ambari(component) => match ambari::runs(component).await {
            Ok(true) => Told::Running,
            Ok(false) => Told::Down,
            Err(why) => Told::Late(why),
        },
    }
}

/// Whether anything of a service may run that nobody is known to have started here.
pub(super) async fn may_run(recipe: &Recipe) -> bool {
    match recipe.means() {
        Means::Programs(speaker) => {
            let step = speaker.step(Action::Monitor);
            // What could have started it is not here.
            let missing =
                |program: &String| Path::new(program).try_exists().is_ok_and(|there| !there);
            !step.command.first().is_some_and(missing) && speaker.may_run(&perform(&step).await)
        }
        Means::Ambari(component) => ambari::runs(component).await != Ok(false),
    }
}

/// Runs one program, in a process group that is killed at its limit. What a start leaves running is left: it is in the
/// control group of the unit.
async fn perform(step: &Step) -> End {
    let (mut child, pid) = match spawn(step) {
        Ok(spawned) => spawned,
        Err(error) => return End::Unseen(format!("cannot be run: {error}")),
    };
    match timeout(step.limit, child.wait()).await {
        Ok(Ok(status)) => process::end_of(status),
        Ok(Err(error)) => End::Unseen(format!("was not seen to end: {error}")),
        Err(_) => {
            // Before its leader is reaped: until then its number cannot be anybody else's. The whole session may be gone.
            match killpg(pid, Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => tracing::debug!("a program cannot be killed: {error}"),
            }
            // One that does not end is late, too.
            drop(timeout(GONE, child.wait()).await);
            End::Late(step.limit)
        }
    }
}

fn spawn(step: &Step) -> std::io::Result<(Child, Pid)> {
    let (program, arguments) = step.command.split_first().ok_or(Errno::EINVAL)?;
    let child = Command::new(program)
        .args(arguments)
        // Ours to use: a program that said READY would say it for us.
        .env_remove("NOTIFY_SOCKET")
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .envs(&step.environment)
        .current_dir("/")
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or(Errno::ESRCH)?;
    Ok((child, Pid::from_raw(pid)))
}
