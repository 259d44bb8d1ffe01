//! What the program `actions` does: it performs a service's actions, and keeps its mark.
//!
//! What performs them is `means`: programs, or an Ambari server.

use std::time::Duration;

use headship_core::actions::{Action, Mark, Recipe, Watch};
use tokio::time::sleep;

use super::marks::{MarkError, Marks};
use super::means::{self, Haste};
use crate::host::files::FileError;
use crate::host::gate;
use crate::host::run::RunDir;

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
    let _lock = marks.lock(service, recipe.limit(Action::Start)).await?;
    // It may have been started otherwise than it is now: what only that knows how to stop would stay for ever.
    clear_marked(run, marks, recipe, Haste::No).await.map_err(NotRunning::Failed)?;
    let mark = |up, why| Mark { recipe: recipe.clone(), up, why };
    // First the mark, then the gate: whoever closes the gate looks for the mark afterwards, so one of the two sees the other.
    marks.write(&mark(false, String::new()))?;
    if let Err(refused) = gate::check(run) {
        marks.remove(service)?;
        return Err(refused.into());
    }
    if let Err(why) = means::start(run, marks, recipe).await {
        marks.write(&mark(false, why.to_string()))?;
        return Err(why);
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
        let told = means::monitor(recipe).await;
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
    clear_marked(run, &marks, recipe, Haste::No).await
}

/// As `clear`, at the end of the lease: what can be killed is killed first, whoever else is at it, and nobody is asked for
/// the sake of grace.
///
/// # Errors
///
/// Why it is not gone, as far as anybody knows.
pub async fn kill(run: &RunDir, recipe: &Recipe) -> Result<(), String> {
    means::kill(recipe).await;
    let marks = Marks::new(run);
    let lock = marks.lock(&recipe.service, recipe.clear_limit()).await;
    let _lock = lock.map_err(|error| error.to_string())?;
    clear_marked(run, &marks, recipe, Haste::Yes).await
}

/// What a mark tells of its service counts, not what is configured by now; that of a damaged one is not known any more.
async fn clear_marked(
    run: &RunDir,
    marks: &Marks,
    recipe: &Recipe,
    haste: Haste,
) -> Result<(), String> {
    let service = &recipe.service;
    let told = |error: FileError| error.to_string();
    if !marks.is_there(service).map_err(told)? {
        return Ok(());
    }
    let recipe = match marks.read(service) {
        Ok(Some(mark)) => mark.recipe,
        Ok(None) | Err(_) => recipe.clone(),
    };
    let cleared = means::stop(run, marks, &recipe, haste).await;
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
    if !means::may_run(recipe).await {
        return Ok(false);
    }
    let why = "it was found here, and nobody is known to have started it".to_owned();
    // Not up: whoever waits for a start of its own must not take this for it.
    marks.write(&Mark { recipe: recipe.clone(), up: false, why })?;
    Ok(true)
}
