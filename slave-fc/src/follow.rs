//! slave-fc: the root machine `Follower` and its world.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use headship_core::config::checked::{Config, Driver, Service};
use headship_core::follower::{self, Action, Event, Followed, Follower, Found};
use headship_core::node::Identity;
use headship_core::quorum;
use headship_core::record::Key;
use headship_core::say::Kind;
use headship_core::services::Report;
use headship_core::time::Time;
use headship_daemon::arguments::Arguments;
use headship_daemon::log::Stands;
use headship_daemon::notify::Notifier;
use headship_daemon::run::{self, Program};
use headship_daemon::signal::Signal;
use headship_daemon::start::{self, Refusal};
use headship_daemon::{Exit, log};
use headship_drivers::Executor;
use headship_drivers::host::run::{LockError, RunDir};
use headship_drivers::host::state::StateDir;
use headship_drivers::host::{hosts, identity};
use headship_zk::{Options, Quorum, Watched};
use tokio::sync::mpsc;

use crate::{Step, next_of};

/// The program's name, and its unit's without the ending.
pub const NAME: &str = "slave-fc";
/// How long the session may take to close.
const CLOSE: Duration = Duration::from_secs(1);
/// The word for this program's lines in the field of roles: it is none of a headnode's.
const ROLE: &str = "follower";

/// Runs slave-fc until it is told to end. Hosts file and agent stay as they are then.
pub fn main(arguments: &Arguments) -> Result<Exit, Refusal> {
    let config = start::configure(NAME, arguments)?;
    let run = RunDir::new(&arguments.run);
    run.create()?;
    let _lock = start::alone(run.lock(NAME), LockError::is_held)?;
    let me = identity::identity(config.node.clone(), &arguments.machine_id)?;
    let notifier = Notifier::from_environment()?;
    run::block_on(async {
        let mut program = SlaveFc::new(&config, me, run, arguments)?;
        let exit = run::run(&mut program, &notifier).await?;
        if let Some(quorum) = program.quorum {
            quorum.close(CLOSE).await;
        }
        Ok(exit)
    })?
}

/// What comes in.
#[derive(Debug)]
enum Input {
    Quorum(quorum::Event),
    Service(Report),
    Done(Event),
    /// The followed office is on disk, or could not be put there.
    Remembered,
    Signal(Signal),
}

impl From<Signal> for Input {
    fn from(signal: Signal) -> Self {
        Self::Signal(signal)
    }
}

/// slave-fc and its world.
#[derive(Debug)]
struct SlaveFc {
    follower: Follower,
    /// Who follows nobody needs no session.
    quorum: Option<Quorum>,
    executor: Executor,
    hosts_file: String,
    run: RunDir,
    state: StateDir,
    /// Outcomes that are known at once.
    own: VecDeque<Input>,
    tell: mpsc::UnboundedSender<Input>,
    told: mpsc::UnboundedReceiver<Input>,
    to_remember: Option<Followed>,
    remembering: bool,
    told_to_end: bool,
}

impl SlaveFc {
    fn new(
        config: &Config,
        me: Identity,
        run: RunDir,
        arguments: &Arguments,
    ) -> Result<Self, Refusal> {
        let state = StateDir::new(&arguments.state);
        let follow = config.follow.as_ref();
        let alias =
            follow.and_then(|follow| hosts::current(Path::new(&follow.hosts_file), &follow.alias));
        let found = Found { followed: state.followed()?, note: run.readable_agent_note(), alias };
        let agent = agent(config, &run)?;
        // Elsewhere nobody but its own starter knows how it is started.
        let guard = run.under_systemd().then(|| {
            let unit = format!("{}.service", follower::GUARD);
            follower::as_service(follower::GUARD, Driver::Systemd { unit })
        });
        let services = agent.iter().chain(&guard).cloned().collect();
        let executor = Executor::ungated(services, &run, &arguments.programs.join("gate"))?;
        let watched = Watched::Record(Key::Active);
        let (tell, told) = mpsc::unbounded_channel();
        Ok(Self {
            quorum: follow.map(|_| Quorum::connect(Options::new(config, watched))),
            hosts_file: follow.map(|follow| follow.hosts_file.clone()).unwrap_or_default(),
            follower: Follower::new(config, me.clone(), found, agent, guard, seed(&me)),
            executor,
            run,
            state,
            own: VecDeque::new(),
            tell,
            told,
            to_remember: None,
            remembering: false,
            told_to_end: false,
        })
    }

    /// A disk that hangs holds up neither the watchdog nor what else there is to do.
    fn apart(&self, work: impl FnOnce() -> Input + Send + 'static) {
        let tell = self.tell.clone();
        tokio::task::spawn_blocking(move || {
            // If nobody listens any more we have ended already.
            drop(tell.send(work()));
        });
    }

    /// Writes whom this node follows, one write at a time, and the newest last.
    fn remember(&mut self) {
        if self.remembering {
            return;
        }
        let Some(followed) = self.to_remember.take() else { return };
        self.remembering = true;
        let state = self.state.clone();
        self.apart(move || {
            if let Err(error) = state.follow(&followed) {
                let epoch = followed.epoch;
                let text = format!("epoch {epoch} cannot be remembered: {}", log::chain(&error));
                log::tell(Kind::FileFault, text);
            }
            Input::Remembered
        });
    }
}

/// The agent as something to keep running, if the configuration has one that this host can run.
fn agent(config: &Config, run: &RunDir) -> Result<Option<Service>, Refusal> {
    let driver = config.follow.as_ref().and_then(|follow| follow.agent.clone());
    match driver {
        Some(Driver::Systemd { unit }) if !run.under_systemd() => Err(Refusal {
            exit: Exit::Configuration,
            why: format!(
                "the agent is the unit `{unit}`, but this host does not run under systemd: use `follow.agent_command`"
            ),
        }),
        driver => Ok(driver.map(|driver| follower::as_service(follower::AGENT, driver))),
    }
}

/// A number that differs from node to node: the process's id is drawn by chance.
fn seed(me: &Identity) -> u64 {
    let digits = me.process.chars().filter_map(|digit| digit.to_digit(16)).take(16);
    digits.fold(0, |seed, digit| seed << 4 | u64::from(digit))
}

impl Program for SlaveFc {
    type Input = Input;
    type Action = Step<Action>;

    async fn next(&mut self) -> Input {
        if let Some(input) = self.own.pop_front() {
            return input;
        }
        tokio::select! {
            event = next_of(&mut self.quorum) => Input::Quorum(event),
            report = self.executor.next() => Input::Service(report),
            Some(input) = self.told.recv() => input,
        }
    }

    fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Quorum(event) => self.follower.handle(now, Event::Quorum(event)),
            Input::Service(report) => self.follower.handle(now, Event::Service(report)),
            Input::Done(event) => self.follower.handle(now, event),
            Input::Remembered => {
                self.remembering = false;
                self.remember();
            }
            Input::Signal(Signal::HangUp) => self.follower.handle(now, Event::LookAnew),
            Input::Signal(Signal::Terminate | Signal::Interrupt) => self.told_to_end = true,
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.follower.handle_timeout(now);
    }

    fn poll_action(&mut self) -> Option<Step<Action>> {
        if self.told_to_end { Some(Step::End) } else { self.follower.poll_action().map(Step::Do) }
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.follower.poll_timeout()
    }

    fn carry_out(&mut self, step: Step<Action>) -> ControlFlow<Exit> {
        let Step::Do(action) = step else { return ControlFlow::Break(Exit::Ok) };
        match action {
            Action::Ask(ask) => {
                if let Some(quorum) = &mut self.quorum {
                    quorum.request(ask.id, ask.session, ask.request);
                }
            }
            Action::PutHosts { id, alias, address, only_look } => {
                let (file, keep) = (self.hosts_file.clone(), self.state.path().to_owned());
                self.apart(move || {
                    let file = Path::new(&file);
                    let outcome = if only_look {
                        hosts::differences(file, &alias, address)
                    } else {
                        hosts::put(file, &alias, address, &keep)
                    };
                    let outcome = outcome.map_err(|error| log::chain(&error));
                    Input::Done(Event::HostsPut { id, outcome })
                });
            }
            Action::NoteAgent { id, note } => {
                let error = self.run.write_agent_note(&note).err().map(|error| log::chain(&error));
                self.own.push_back(Input::Done(Event::AgentNoted { id, error }));
            }
            Action::Remember(followed) => {
                self.to_remember = Some(followed);
                self.remember();
            }
            Action::Service(action) => self.executor.carry_out(action),
            Action::Say(line) => log::say(&line),
        }
        ControlFlow::Continue(())
    }

    fn status(&self) -> String {
        self.follower.status().to_owned()
    }

    fn stands(&self) -> Stands {
        Stands { role: ROLE, epoch: self.follower.epoch() }
    }

    fn show(&mut self, status: &str) {
        if let Err(error) = self.run.write_status(NAME, status) {
            log::tell(Kind::StatusFault, log::chain(&error));
        }
    }
}
