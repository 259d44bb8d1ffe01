//! The daemons' side of a service of actions: its unit, or its process, and its mark, taken together.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headship_core::actions::{Action, Means, Recipe};
use headship_core::fencing::End;
use headship_core::services::{Ended, Observed};
use nix::errno::Errno;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::look;
use super::marks::Marks;
use crate::ambari;
use crate::driver::SLICE;
use crate::host::cgroup::Cgroups;
use crate::host::run::RunDir;
use crate::process::{self, Gated, Process};
use crate::systemd::{Notify, Once, Systemd, Transient};
use crate::unit::Unit;

/// How often a mark is looked at whose end is waited for.
const AGAIN: Duration = Duration::from_millis(10);
/// How often is looked for what nobody is known to have started here: each time some shell is run.
const GHOSTS: Duration = Duration::from_secs(60);
/// How much longer than its actions a unit may take: the program ends them at their limits by itself.
const BEYOND: Duration = Duration::from_secs(5);

/// A service of actions.
#[derive(Clone, Debug)]
pub(crate) struct Acts {
    base: Base,
    recipe: Recipe,
    marks: Marks,
    run: RunDir,
    gate: PathBuf,
    /// The program that performs actions.
    program: PathBuf,
    looked: Arc<Mutex<Looked>>,
    /// Whether a clear of ours is under way that is our child.
    clearing: Arc<AtomicBool>,
}

#[derive(Clone, Debug)]
enum Base {
    /// Its unit, and the units in which it is cleared anew and looked for.
    Unit { unit: Unit, clear: Unit, look: Unit },
    /// Its process, where there is no systemd.
    Process(Process),
}

/// When was last looked for what nobody is known to have started.
#[derive(Debug, Default)]
struct Looked {
    at: Option<Instant>,
    under_way: bool,
}

impl Acts {
    /// `unit` is the name of its unit.
    pub(crate) fn new(
        recipe: Recipe,
        unit: String,
        run: &RunDir,
        gate: &Path,
        systemd: Option<(Systemd, Cgroups)>,
    ) -> Self {
        let program = gate.with_file_name("actions");
        let service = recipe.service.clone();
        let base = match systemd {
            Some((systemd, cgroups)) => {
                let named = |name| Unit::new(name, systemd.clone(), cgroups.clone(), Gated::Yes);
                // No service has a colon in its name.
                let spare = |verb| named(format!("headship:{verb}:{service}.service"));
                Base::Unit { clear: spare("clear"), look: spare("look"), unit: named(unit) }
            }
            None => Base::Process(Process::new(
                service,
                words(&program, "run", run, &recipe),
                run.clone(),
                gate.to_owned(),
                Gated::Yes,
            )),
        };
        let (marks, run, gate) = (Marks::new(run), run.clone(), gate.to_owned());
        let (looked, clearing) = (Arc::default(), Arc::default());
        Self { base, recipe, marks, run, gate, program, looked, clearing }
    }

    /// Its unit.
    pub(crate) fn unit(&self) -> Option<&Unit> {
        match &self.base {
            Base::Unit { unit, .. } => Some(unit),
            Base::Process(_) => None,
        }
    }

    /// Its process, where there is no unit.
    pub(crate) fn process(&self) -> Option<&Process> {
        match &self.base {
            Base::Unit { .. } => None,
            Base::Process(process) => Some(process),
        }
    }

    /// Which program of it cannot be run, or what else it lacks, in a sentence.
    pub(crate) fn lacks(&self) -> Option<String> {
        let speaker = match self.recipe.means() {
            Means::Programs(speaker) => speaker,
            Means::Ambari(component) => return ambari::lacks(component),
        };
        let actions = [Action::Start, Action::Stop, Action::Monitor];
        let mut commands = actions.map(|action| speaker.step(action).command).into_iter();
        commands.find_map(|command| {
            let program = command.into_iter().next()?;
            let is_fit = fs::metadata(&program)
                .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
            (!is_fit).then(|| format!("`{program}` is no program on this host"))
        })
    }

    /// Starts it, through the gate; done when its start has succeeded.
    pub(crate) async fn start(&self, limit: Duration) -> Ended {
        match &self.base {
            Base::Unit { unit, .. } => self.start_unit(unit, limit).await,
            Base::Process(process) => {
                // The mark of an earlier life says that that one was up.
                if !process.runs().unwrap_or(true) {
                    self.clear_anew(limit).await;
                }
                match process.start(limit).await {
                    Ended::Done => self.up(process, limit).await,
                    other @ (Ended::Failed { .. } | Ended::Unknown { .. }) => other,
                }
            }
        }
    }

    async fn start_unit(&self, unit: &Unit, limit: Duration) -> Ended {
        let command = self.words("run");
        let start_limit = self.recipe.limit(Action::Start);
        let transient = Transient {
            unit: unit.name(),
            description: format!("HA service {}", self.recipe.service),
            slice: SLICE,
            gate: Some(vec![self.gate.display().to_string(), unit.name().to_owned()]),
            command: &command,
            stop_limit: self.recipe.clear_limit().saturating_add(BEYOND),
            credential: self.credential(),
            notify: Some(Notify {
                start_limit: start_limit.saturating_add(BEYOND),
                clear: self.words("clear"),
            }),
        };
        unit.systemd().start_transient(&transient, &self.gate, limit).await
    }

    /// What systemd is to give its units to tell a server who asks.
    fn credential(&self) -> Option<&str> {
        match self.recipe.means() {
            Means::Programs(_) => None,
            Means::Ambari(component) => ambari::credential(component),
        }
    }

    /// Waits until the process says by its mark that it is up.
    async fn up(&self, process: &Process, limit: Duration) -> Ended {
        let end = Instant::now() + limit;
        loop {
            // In this order: what ends after the look at its process has left its mark by then.
            let runs = process.runs().unwrap_or(true);
            match self.marks.read(&self.recipe.service) {
                Ok(Some(mark)) if mark.up => return Ended::Done,
                Ok(mark) if !runs => {
                    let why = mark.map(|mark| mark.why).filter(|why| !why.is_empty());
                    let why = why.unwrap_or_else(|| "its start ended without a word".to_owned());
                    self.clear_anew(limit).await;
                    return failed(why);
                }
                Ok(_) | Err(_) if Instant::now() < end => sleep(AGAIN).await,
                Ok(_) | Err(_) => {
                    return Ended::Unknown { why: format!("it did not start in {limit:?}") };
                }
            }
        }
    }

    /// Stops it; done means that it was seen gone. What its unit could not clear is cleared anew.
    pub(crate) async fn stop(&self, limit: Duration) -> Ended {
        let ended = match &self.base {
            Base::Unit { unit, .. } => {
                let ended = unit.stop(limit).await;
                if ended == Ended::Done {
                    self.clear_anew(limit).await;
                }
                ended
            }
            // What its start left running gets SIGTERM only after its own stop.
            Base::Process(process) => {
                self.clear_anew(limit).await;
                process.stop(limit).await
            }
        };
        self.unless_marked(ended)
    }

    /// SIGKILL to everything of it, then its stop once more, as a child of ours: it needs neither systemd nor D-Bus. Done
    /// means seen gone.
    pub(crate) async fn kill(&self, limit: Duration) -> Ended {
        let end = Instant::now() + limit;
        let base = async {
            match &self.base {
                Base::Unit { unit, clear, look } => {
                    // Whoever hangs there keeps our own clear waiting.
                    let (_, _, ended) =
                        tokio::join!(clear.kill(limit), look.kill(limit), unit.kill(limit));
                    ended
                }
                Base::Process(process) => process.kill(limit).await,
            }
        };
        // What an agent started is in none of our control groups, and may run without a mark.
        let (ended, elsewhere) = tokio::join!(base, self.kill_elsewhere(limit));
        let ended = match elsewhere {
            Ok(()) => ended,
            Err(why) => failed(why),
        };
        self.clear_by_ourselves();
        while self.is_marked() && Instant::now() < end {
            sleep(AGAIN).await;
        }
        self.unless_marked(ended)
    }

    async fn kill_elsewhere(&self, limit: Duration) -> Result<(), String> {
        match self.recipe.means() {
            Means::Programs(_) => Ok(()),
            Means::Ambari(component) => ambari::kill(component, limit).await,
        }
    }

    /// What it is doing. While there is a mark, it is at best about to stop.
    pub(crate) async fn observe(&self, limit: Duration) -> Observed {
        let seen = match &self.base {
            Base::Unit { unit, .. } => unit.observe(&self.gate, limit).await,
            Base::Process(process) => self.without_ready(process.observe()),
        };
        if !seen.is_down() {
            return seen;
        }
        if !self.is_marked() && !self.looked_for_ghosts(limit / 2).await {
            return Observed::Unknown;
        }
        if self.is_marked() { Observed::Stopping } else { seen }
    }

    /// Whether anything of it may run, by the kernel and the mark alone.
    pub(crate) fn runs(&self) -> Result<bool, String> {
        let base = match &self.base {
            Base::Unit { unit, .. } => unit.populated().map_err(|error| error.to_string())?,
            Base::Process(process) => process.runs().map_err(|error| error.to_string())?,
        };
        let marked = self.marks.is_there(&self.recipe.service);
        let elsewhere = match self.recipe.means() {
            Means::Programs(_) => None,
            Means::Ambari(component) => ambari::populated(component),
        };
        Ok(base || marked.map_err(|error| error.to_string())? || elsewhere.unwrap_or(Ok(false))?)
    }

    /// Without systemd only the mark tells that its start has ended.
    fn without_ready(&self, seen: Observed) -> Observed {
        let up = || matches!(self.marks.read(&self.recipe.service), Ok(Some(mark)) if mark.up);
        if seen == Observed::Running && !up() { Observed::Starting } else { seen }
    }

    /// A mark that cannot be looked for may be there.
    fn is_marked(&self) -> bool {
        self.marks.is_there(&self.recipe.service).unwrap_or(true)
    }

    fn unless_marked(&self, ended: Ended) -> Ended {
        match ended {
            Ended::Done if self.is_marked() => {
                let mark = self.marks.read(&self.recipe.service).ok().flatten();
                let why = mark.map(|mark| mark.why).filter(|why| !why.is_empty());
                failed(why.unwrap_or_else(|| "it was not seen gone yet".to_owned()))
            }
            other @ (Ended::Done | Ended::Failed { .. } | Ended::Unknown { .. }) => other,
        }
    }

    async fn clear_anew(&self, limit: Duration) {
        if self.is_marked() {
            let limit = limit.min(self.recipe.clear_limit().saturating_add(BEYOND));
            // What came of it stands in the mark.
            drop(self.once("clear", limit).await);
        }
    }

    /// At most one at a time: it ends by itself at its actions' limits.
    fn clear_by_ourselves(&self) {
        if !self.is_marked() || self.clearing.swap(true, Ordering::AcqRel) {
            return;
        }
        match self.spawn("kill") {
            Ok(mut child) => {
                let clearing = self.clearing.clone();
                tokio::spawn(async move {
                    // What came of it stands in the mark.
                    drop(child.wait().await);
                    clearing.store(false, Ordering::Release);
                });
            }
            Err(error) => {
                tracing::debug!("{} cannot be cleared: {error}", self.recipe.service);
                self.clearing.store(false, Ordering::Release);
            }
        }
    }

    /// Whether is known if anything runs here that nobody is known to have started. Begins to look, if it is time, and waits
    /// for that a while.
    async fn looked_for_ghosts(&self, patience: Duration) -> bool {
        if let Means::Ambari(_) = self.recipe.means() {
            // The kernel tells at once; and what nobody is known to have started may come at any moment.
            return look(&self.run, &self.recipe).await.is_ok();
        }
        let end = Instant::now() + patience;
        self.look_for_ghosts();
        loop {
            let (known, under_way) = {
                let looked = self.looked();
                (looked.at.is_some(), looked.under_way)
            };
            if !under_way || Instant::now() >= end {
                return known;
            }
            sleep(AGAIN).await;
        }
    }

    fn look_for_ghosts(&self) {
        {
            let mut looked = self.looked();
            if looked.under_way || looked.at.is_some_and(|at| at.elapsed() < GHOSTS) {
                return;
            }
            looked.under_way = true;
        }
        let acts = self.clone();
        tokio::spawn(async move {
            let limit = acts.recipe.limit(Action::Monitor);
            let end = acts.once("look", limit.saturating_add(BEYOND)).await;
            let mut looked = acts.looked();
            looked.under_way = false;
            if end == End::Exited(0) {
                looked.at = Some(Instant::now());
            } else {
                tracing::debug!("{} was not looked for: {end:?}", acts.recipe.service);
            }
        });
    }

    fn looked(&self) -> MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Performs `verb` apart from us, and waits for its end.
    async fn once(&self, verb: &str, limit: Duration) -> End {
        let (unit, spare) = match &self.base {
            Base::Unit { unit, clear, look } => (unit, if verb == "look" { look } else { clear }),
            Base::Process(_) => return self.once_as_child(verb, limit).await,
        };
        let command = self.words(verb);
        let once = Once {
            unit: spare.name(),
            description: format!("headship: {verb} {}", self.recipe.service),
            slice: SLICE,
            command: &command,
            environment: &[],
            stdio: None,
            credential: self.credential(),
            limit,
        };
        unit.systemd().run_once(once).await
    }

    /// Its actions end at their limits by themselves, and it with them.
    async fn once_as_child(&self, verb: &str, limit: Duration) -> End {
        let mut child = match self.spawn(verb) {
            Ok(child) => child,
            Err(error) => return End::Unseen(format!("cannot be run: {error}")),
        };
        match timeout(limit, child.wait()).await {
            Ok(Ok(status)) => process::end_of(status),
            Ok(Err(error)) => End::Unseen(format!("was not seen to end: {error}")),
            Err(_) => End::Late(limit),
        }
    }

    fn spawn(&self, verb: &str) -> io::Result<Child> {
        let words = self.words(verb);
        let (_, arguments) = words.split_first().ok_or(Errno::EINVAL)?;
        Command::new(&self.program)
            .args(arguments)
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
    }

    fn words(&self, verb: &str) -> Vec<String> {
        words(&self.program, verb, &self.run, &self.recipe)
    }
}

fn words(program: &Path, verb: &str, run: &RunDir, recipe: &Recipe) -> Vec<String> {
    let (program, run) = (program.display().to_string(), run.path().display().to_string());
    vec![program, verb.to_owned(), run, recipe.to_word()]
}

fn failed(why: String) -> Ended {
    Ended::Failed { why, by_gate: false }
}
