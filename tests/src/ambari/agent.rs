//! An agent: registers, reports, and carries out what it was handed, one thing at a time.

use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::state::{self, Store};

/// How often it looks for something to do.
const AGAIN: Duration = Duration::from_millis(20);

/// What an agent runs for its component.
type Scripts = Arc<dyn Fn() -> Command + Send + Sync>;

/// An agent on a thread of its own, until it is dropped. What it started is ended with it, so that no test leaves anything.
pub struct Agent {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Agent")
    }
}

struct Work {
    store: Store,
    host: String,
    component: String,
    program: Scripts,
    /// The server whose name it follows.
    server: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    child: Option<Child>,
    reported: Option<Instant>,
}

impl Agent {
    /// The agent of `host`, which follows the name of `server`. To start its component it runs `program`, which stays; to stop
    /// it, it ends that.
    pub fn start(
        store: Store,
        (host, component): (&str, &str),
        server: Arc<AtomicU64>,
        program: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let mut work = Work {
            store,
            host: host.to_owned(),
            component: component.to_owned(),
            program: Arc::new(program),
            server,
            ends: ends.clone(),
            child: None,
            reported: None,
        };
        let run = move || {
            while !work.ends.load(Ordering::Acquire) {
                // A folder that is gone ends the test, and the agent with it.
                if work.step().is_err() {
                    break;
                }
                thread::sleep(AGAIN);
            }
            if work.run_script("STOP").is_err() {
                // It has ended by itself.
            }
        };
        Self { ends, thread: Some(thread::spawn(run)) }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // One that has panicked has said so.
            drop(thread.join());
        }
    }
}

impl Work {
    fn runs(&mut self) -> bool {
        // One that cannot be asked is taken for gone.
        let child = self.child.as_mut();
        child.is_some_and(|child| child.try_wait().is_ok_and(|end| end.is_none()))
    }

    fn step(&mut self) -> io::Result<()> {
        if self.is_frozen()? {
            return Ok(());
        }
        let server = self.server.load(Ordering::Acquire);
        let runs = self.runs();
        let (host, component) = (self.host.clone(), self.component.clone());
        let reported = self.reported;
        let (did_report, handed) = self.store.change(|state| {
            let pace = state.pace;
            let shown = state.host(&host);
            shown.beat = state::now();
            let mut due =
                reported.is_none_or(|at| at.elapsed().as_millis() >= u128::from(pace.report));
            if shown.server != server {
                shown.server = server;
                shown.registered = state::now().max(shown.registered + 1);
                due = false;
            } else if due {
                shown.report += 1;
                shown.runs = if runs { vec![component.clone()] } else { Vec::new() };
            }
            let queued = |it: &&mut state::Request| it.host == host && it.status == "QUEUED";
            let handed = state.requests.iter_mut().find(queued).map(|it| {
                "IN_PROGRESS".clone_into(&mut it.status);
                (it.id, it.steps.clone())
            });
            (due, handed)
        })?;
        if did_report {
            self.reported = Some(Instant::now());
        }
        match handed {
            Some((id, steps)) => self.carry_out(id, &steps),
            None => Ok(()),
        }
    }

    fn is_frozen(&self) -> io::Result<bool> {
        let host = self.host.clone();
        self.store.change(|state| state.host(&host).is_frozen)
    }

    /// What it holds it carries out, whatever the server calls it meanwhile, if it was frozen: only one that lives hears that
    /// it was given up before it has begun.
    fn carry_out(&mut self, id: u64, steps: &[String]) -> io::Result<()> {
        let begun = Instant::now();
        let mut has_thawed = false;
        loop {
            let host = self.host.clone();
            let (is_frozen, delay, is_given_up) = self.store.change(|state| {
                let shown = state.host(&host);
                let (is_frozen, delay) = (shown.is_frozen, shown.delay);
                if !is_frozen {
                    shown.beat = state::now();
                }
                let request = state.requests.iter().find(|it| it.id == id);
                (is_frozen, delay, request.is_none_or(|it| it.status == "ABORTED"))
            })?;
            has_thawed |= is_frozen;
            if self.ends.load(Ordering::Acquire) || is_given_up && !has_thawed {
                return Ok(());
            }
            if !is_frozen && (has_thawed || begun.elapsed() >= Duration::from_millis(delay)) {
                break;
            }
            thread::sleep(AGAIN);
        }
        let host = self.host.clone();
        let fails = self.store.change(|state| state.host(&host).fails)?;
        for step in steps.iter().filter(|_| !fails) {
            self.run_script(step)?;
        }
        self.store.change(|state| {
            if let Some(request) = state.requests.iter_mut().find(|it| it.id == id && it.is_open())
            {
                let (status, said) = if fails {
                    ("FAILED", "Traceback (most recent call last):\nFail: no room\n")
                } else {
                    ("COMPLETED", "")
                };
                status.clone_into(&mut request.status);
                said.clone_into(&mut request.stderr);
            }
        })
    }

    fn run_script(&mut self, step: &str) -> io::Result<()> {
        if step == "START" {
            if !self.runs() {
                let mut command = (self.program)();
                self.child = Some(command.stdin(Stdio::null()).spawn()?);
            }
        } else if let Some(mut child) = self.child.take() {
            // One that has ended cannot be ended again.
            drop(child.kill());
            child.wait()?;
        }
        Ok(())
    }
}
