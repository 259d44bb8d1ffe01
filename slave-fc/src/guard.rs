//! slave-ha-service: the root machine `Guard` and its world.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use headship_core::config::checked::Config;
use headship_core::duty;
use headship_core::guard::{Action, Event, Guard};
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
use headship_drivers::host::run::{LockError, RunDir, Touches};
use headship_drivers::host::{identity, reboot};
use headship_zk::{Options, Quorum, Watched};

use crate::{Step, next_of};

/// The program's name, and its unit's without the ending.
pub const NAME: &str = "slave-ha-service";
/// How long the session may take to close.
const CLOSE: Duration = Duration::from_secs(1);

/// Runs slave-ha-service until it is told to end. The services stay as they are then.
pub fn main(arguments: &Arguments) -> Result<Exit, Refusal> {
    let config = start::configure(NAME, arguments)?;
    let run = RunDir::new(&arguments.run);
    run.create()?;
    let _lock = start::alone(run.lock(NAME), LockError::is_held)?;
    let me = identity::identity(config.node.clone(), &arguments.machine_id)?;
    let notifier = Notifier::from_environment()?;
    run::block_on(async {
        let mut program = SlaveHaService::new(config, me, run, arguments)?;
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
    Written(Event),
    Files,
    Signal(Signal),
}

impl From<Signal> for Input {
    fn from(signal: Signal) -> Self {
        Self::Signal(signal)
    }
}

/// slave-ha-service and its world.
#[derive(Debug)]
struct SlaveHaService {
    guard: Guard,
    /// Only headnodes have promises to give; the other nodes need no session.
    quorum: Option<Quorum>,
    executor: Executor,
    run: RunDir,
    touches: Touches,
    /// Outcomes that are known at once.
    own: VecDeque<Input>,
    told_to_end: bool,
}

impl SlaveHaService {
    fn new(
        config: Config,
        me: Identity,
        run: RunDir,
        arguments: &Arguments,
    ) -> Result<Self, Refusal> {
        let driver = duty::driver(run.under_systemd(), || arguments.command(duty::NAME));
        let duty = duty::as_service(&config, driver);
        let services = config.services.iter().chain(&config.pinned).cloned();
        let services = services.chain([duty.clone()]).collect();
        let executor = Executor::new(services, &run, &arguments.programs.join("gate"))?;
        Ok(Self {
            quorum: config
                .is_headnode()
                .then(|| Quorum::connect(Options::new(&config, Watched::Record(Key::Active)))),
            guard: Guard::new(config, me, run.readable_permit(), run.readable_closed(), duty),
            executor,
            touches: run.touches(),
            run,
            own: VecDeque::new(),
            told_to_end: false,
        })
    }
}

impl SlaveHaService {
    /// Before whatever else is handed in: a change of the permit whose hint has not come yet must not find us acting on the
    /// older one.
    fn look_at_permit(&mut self, now: Time) {
        self.guard.handle(now, Event::Permit(self.run.readable_permit()));
    }
}

impl Program for SlaveHaService {
    type Input = Input;
    type Action = Step<Action>;

    async fn next(&mut self) -> Input {
        if let Some(input) = self.own.pop_front() {
            return input;
        }
        tokio::select! {
            event = next_of(&mut self.quorum) => Input::Quorum(event),
            report = self.executor.next() => Input::Service(report),
            _ = self.touches.next() => Input::Files,
        }
    }

    fn handle(&mut self, now: Time, input: Input) {
        self.look_at_permit(now);
        match input {
            Input::Quorum(event) => self.guard.handle(now, Event::Quorum(event)),
            Input::Service(report) => self.guard.handle(now, Event::Service(report)),
            Input::Written(event) => self.guard.handle(now, event),
            Input::Files => {
                let closed = self.run.closed().map_err(|error| log::chain(&error));
                self.guard.handle(now, Event::Closed(closed));
            }
            Input::Signal(Signal::HangUp) => self.guard.handle(now, Event::LookAnew),
            Input::Signal(Signal::Terminate | Signal::Interrupt) => self.told_to_end = true,
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.look_at_permit(now);
        self.guard.handle_timeout(now);
    }

    fn poll_action(&mut self) -> Option<Step<Action>> {
        if self.told_to_end { Some(Step::End) } else { self.guard.poll_action().map(Step::Do) }
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.guard.poll_timeout()
    }

    fn carry_out(&mut self, step: Step<Action>) -> ControlFlow<Exit> {
        let Step::Do(action) = step else { return ControlFlow::Break(Exit::Ok) };
        match action {
            Action::Ask(ask) => {
                if let Some(quorum) = &mut self.quorum {
                    quorum.request(ask.id, ask.session, ask.request);
                }
            }
            Action::WriteClosed { id, closed } => {
                let error = self.run.write_closed(&closed).err().map(|error| log::chain(&error));
                self.own.push_back(Input::Written(Event::ClosedWritten { id, error }));
            }
            Action::Service(action) => self.executor.carry_out(action),
            Action::Reboot { why } => last_resort(&why, &self.run),
            Action::Say(line) => log::say(&line),
        }
        ControlFlow::Continue(())
    }

    fn status(&self) -> String {
        self.guard.status().to_owned()
    }

    fn stands(&self) -> Stands {
        let (role, epoch) = self.guard.stands();
        Stands { role, epoch }
    }

    fn show(&mut self, status: &str) {
        if let Err(error) = self.run.write_status(NAME, status) {
            log::tell(Kind::StatusFault, log::chain(&error));
        }
    }
}

/// Reboots the host, if it is ours to reboot.
fn last_resort(why: &str, run: &RunDir) {
    let text = format!("{why}: this host reboots at once");
    log::tell(Kind::HostReboots, text);
    let Err(error) = reboot::immediately(run);
    log::tell(Kind::RebootFailed, log::chain(&error));
}
