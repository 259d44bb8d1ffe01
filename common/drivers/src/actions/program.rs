//! What the program `actions` does: it performs a service's actions, and keeps its mark.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use headship_core::actions::{Action, Mark, Recipe, Step, Watch};
use headship_core::fencing::End;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::marks::{MarkError, Marks};
use crate::host::files::FileError;
use crate::host::gate;
use crate::host::run::RunDir;
use crate::process;

/// Why a daemon stops no service of actions by itself if it was started before the generator knew of one.
const CONFINED: &str = "it cannot be stopped from within the sandbox of a daemon: run `systemctl daemon-reload`, then restart slave-ha-service and master-fc";

/// Where actions look for the programs that they run.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a killed program may take to be gone; one that a disk holds is left to the control group.
const GONE: Duration = Duration::from_millis(500);

/// Why a service of actions does not run, or runs no more.
#[derive(Debug, thiserror::Error)]
pub enum NotRunning {
    /// Somebody stopped it, and saw it gone.
    #[error("it was stopped")]
    Stopped,
    /// The gate refused.
    #[error(transparent)]
    Refused(#[from] gate::Refused),
    /// Its mark stands in the way.
    #[error(transparent)]
    Mark(#[from] MarkError),
    /// It failed. What it left is there until it is cleared.
    #[error("{0}")]
    Failed(String),
}

impl From<FileError> for NotRunning {
    fn from(error: FileError) -> Self {
        Self::Mark(error.into())
    }
}

/// Starts the service, calls `up` when it is up, and stays for as long as it runs. Returns why it does not, or no more.
pub async fn run(run: &RunDir, recipe: &Recipe, up: impl FnOnce()) -> NotRunning {
    let marks = Marks::new(run);
    if let Err(why) = start(run, &marks, recipe).await {
        return why;
    }
    up();
    match stay(&marks, recipe).await {
        Ok(why) => why,
        Err(error) => error.into(),
    }
}

async fn start(run: &RunDir, marks: &Marks, recipe: &Recipe) -> Result<(), NotRunning> {
    let service = &recipe.service;
    let step = recipe.step(Action::Start);
    let _lock = marks.lock(service, step.limit).await?;
    // It may have been started otherwise than it is now: what only that knows how to stop would stay for ever.
    clear_marked(marks, recipe).await.map_err(NotRunning::Failed)?;
    let mark = |up, why| Mark { recipe: recipe.clone(), up, why };
    // First the mark, then the gate: whoever closes the gate looks for the mark afterwards, so one of the two sees the other.
    marks.write(&mark(false, String::new()))?;
    if let Err(refused) = gate::check(run) {
        marks.remove(service)?;
        return Err(refused.into());
    }
    if let Err(why) = recipe.started(&perform(&step).await) {
        marks.write(&mark(false, why.clone()))?;
        return Err(NotRunning::Failed(why));
    }
    marks.write(&mark(true, String::new()))?;
    Ok(())
}

/// Looks at the service time after time, until it runs no more.
async fn stay(marks: &Marks, recipe: &Recipe) -> Result<NotRunning, FileError> {
    let service = &recipe.service;
    let mut watch = Watch::default();
    loop {
        sleep(recipe.interval()).await;
        let told = recipe.told(&perform(&recipe.step(Action::Monitor)).await);
        // While somebody stops it, it fails to nobody's surprise.
        let Ok(_lock) = marks.lock(service, Duration::ZERO).await else { continue };
        if !marks.is_there(service)? {
            return Ok(NotRunning::Stopped);
        }
        if let Some(why) = watch.take(told) {
            marks.write(&Mark { recipe: recipe.clone(), up: false, why: why.clone() })?;
            return Ok(NotRunning::Failed(why));
        }
    }
}

/// Stops what a mark of the service stands for, sees it gone, and removes the mark; nothing if there is none. Waits for
/// another start, stop or look for as long as that may take.
///
/// # Errors
///
/// Why it is not gone, as far as anybody knows.
pub async fn clear(run: &RunDir, recipe: &Recipe) -> Result<(), String> {
    let marks = Marks::new(run);
    let lock = marks.lock(&recipe.service, recipe.clear_limit()).await;
    let _lock = lock.map_err(|error| error.to_string())?;
    if run.under_systemd() && is_confined() {
        return leave(&marks, recipe);
    }
    clear_marked(&marks, recipe).await
}

/// Whether this process sees other mounts than the host does, as the daemons do whose child it may be: what it took away would
/// stay there, and what stayed there it might not see. The generator lifts that as soon as it knows of a service of actions.
fn is_confined() -> bool {
    let mounts = |process| fs::read_link(Path::new("/proc").join(process).join("ns/mnt")).ok();
    mounts("self") != mounts("1")
}

/// The mark stays, with why.
fn leave(marks: &Marks, recipe: &Recipe) -> Result<(), String> {
    let told = |error: FileError| error.to_string();
    if let Ok(Some(mark)) = marks.read(&recipe.service) {
        marks.write(&Mark { up: false, why: CONFINED.to_owned(), ..mark }).map_err(told)?;
    }
    let marked = marks.is_there(&recipe.service).map_err(told)?;
    if marked { Err(CONFINED.to_owned()) } else { Ok(()) }
}

/// What a mark tells of its service counts, not what is configured by now; that of a damaged one is not known any more.
async fn clear_marked(marks: &Marks, recipe: &Recipe) -> Result<(), String> {
    let service = &recipe.service;
    let told = |error: FileError| error.to_string();
    if !marks.is_there(service).map_err(told)? {
        return Ok(());
    }
    let recipe = match marks.read(service) {
        Ok(Some(mark)) => mark.recipe,
        Ok(None) | Err(_) => recipe.clone(),
    };
    let stop = perform(&recipe.step(Action::Stop)).await;
    let monitor = perform(&recipe.step(Action::Monitor)).await;
    let cleared = recipe.cleared(&stop, &monitor);
    match &cleared {
        Ok(()) => marks.remove(service).map_err(told)?,
        Err(why) => {
            let mark = Mark { recipe, up: false, why: why.clone() };
            // The old mark says less, and stands for it as well.
            marks.write(&mark).map_err(told)?;
        }
    }
    cleared
}

/// Looks whether anything of the service may run here that nobody is known to have started: that gets a mark. Whether there
/// is a mark now.
///
/// # Errors
///
/// Nothing is known: it is being started, stopped or looked at, or no mark can be written.
pub async fn look(run: &RunDir, recipe: &Recipe) -> Result<bool, MarkError> {
    let marks = Marks::new(run);
    let _lock = marks.lock(&recipe.service, Duration::ZERO).await?;
    if marks.is_there(&recipe.service)? {
        return Ok(true);
    }
    let step = recipe.step(Action::Monitor);
    // What could have started it is not here.
    let missing = |program: &String| Path::new(program).try_exists().is_ok_and(|there| !there);
    if step.command.first().is_some_and(missing) || !recipe.may_run(&perform(&step).await) {
        return Ok(false);
    }
    let why = "it was found here, and nobody is known to have started it".to_owned();
    // Not up: whoever waits for a start of its own must not take this for it.
    marks.write(&Mark { recipe: recipe.clone(), up: false, why })?;
    Ok(true)
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
