//! master-ha-service: the root machine `DutyKeeper` and its world.

use std::ops::ControlFlow;
use std::time::Duration;

use headship_core::config::checked::Config;
pub use headship_core::duty::NAME;
use headship_core::duty::{Action, DutyKeeper, Event};
use headship_core::lease;
use headship_core::node::Identity;
use headship_core::quorum;
use headship_core::record::Role;
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
use headship_drivers::host::{clock, identity};
use headship_zk::{Options, Quorum, Watched};

/// How long the session may take to close.
const CLOSE: Duration = Duration::from_secs(1);

/// Runs master-ha-service until it is told to end, or has no permit to work under.
pub fn main(arguments: &Arguments) -> Result<Exit, Refusal> {
    let config = start::configure_headnode(NAME, arguments)?;
    let run = RunDir::new(&arguments.run);
    run.create()?;
    let _lock = start::alone(run.lock(NAME), LockError::is_held)?;
    let me = identity::identity(config.node.clone(), &arguments.machine_id)?;
    let (permit, closed) = (run.readable_permit(), run.readable_closed());
    lease::gate(permit.as_ref(), closed.as_ref(), &me.boot, clock::now())
        .map_err(|refusal| Refusal::new(Exit::NotActive, &refusal))?;
    let notifier = Notifier::from_environment()?;
    run::block_on(async {
        let mut program = MasterHaService::new(&config, me, run, arguments)?;
        let exit = run::run(&mut program, &notifier).await?;
        program.quorum.close(CLOSE).await;
        Ok(exit)
    })?
}

/// What comes in.
#[derive(Debug)]
enum Input {
    Quorum(quorum::Event),
    Service(Report),
    Files,
    Signal(Signal),
}

impl From<Signal> for Input {
    fn from(signal: Signal) -> Self {
        Self::Signal(signal)
    }
}

/// master-ha-service and its world.
#[derive(Debug)]
struct MasterHaService {
    keeper: DutyKeeper,
    quorum: Quorum,
    executor: Executor,
    run: RunDir,
    touches: Touches,
    /// Whether somebody told it to end, or it has no permit any more.
    told_to_end: bool,
}

impl MasterHaService {
    fn new(
        config: &Config,
        me: Identity,
        run: RunDir,
        arguments: &Arguments,
    ) -> Result<Self, Refusal> {
        let executor =
            Executor::new(config.services.clone(), &run, &arguments.programs.join("gate"))?;
        Ok(Self {
            keeper: DutyKeeper::new(config, me, run.readable_permit(), run.readable_closed()),
            quorum: Quorum::connect(Options::new(config, Watched::Nothing)),
            executor,
            touches: run.touches(),
            run,
            told_to_end: false,
        })
    }
}

impl MasterHaService {
    /// Before whatever else is handed in: a change of the permit whose hint has not come yet must not find us acting on the
    /// older one.
    fn look_at_permit(&mut self, now: Time) {
        let (permit, closed) = (self.run.readable_permit(), self.run.readable_closed());
        self.keeper.handle(now, Event::Permit(permit, closed));
    }
}

impl Program for MasterHaService {
    type Input = Input;
    type Action = Action;

    async fn next(&mut self) -> Input {
        tokio::select! {
            event = self.quorum.next() => Input::Quorum(event),
            report = self.executor.next() => Input::Service(report),
            _ = self.touches.next() => Input::Files,
        }
    }

    fn handle(&mut self, now: Time, input: Input) {
        self.look_at_permit(now);
        let event = match input {
            Input::Quorum(event) => Event::Quorum(event),
            Input::Service(report) => Event::Service(report),
            Input::Files => return,
            Input::Signal(Signal::HangUp) => Event::LookAnew,
            Input::Signal(Signal::Terminate | Signal::Interrupt) => {
                self.told_to_end = true;
                Event::Stop
            }
        };
        self.keeper.handle(now, event);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.look_at_permit(now);
        self.keeper.handle_timeout(now);
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.keeper.poll_action()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.keeper.poll_timeout()
    }

    fn carry_out(&mut self, action: Action) -> ControlFlow<Exit> {
        match action {
            Action::Ask(ask) => self.quorum.request(ask.id, ask.session, ask.request),
            Action::Service(action) => self.executor.carry_out(action),
            Action::Say(line) => log::say(&line),
            Action::Exit => {
                return ControlFlow::Break(if self.told_to_end {
                    Exit::Ok
                } else {
                    Exit::NotActive
                });
            }
        }
        ControlFlow::Continue(())
    }

    fn status(&self) -> String {
        self.keeper.status()
    }

    fn stands(&self) -> Stands {
        Stands { role: Role::Active.as_str(), epoch: Some(self.keeper.epoch()) }
    }

    fn show(&mut self, status: &str) {
        if let Err(error) = self.run.write_status(NAME, status) {
            log::tell(Kind::StatusFault, log::chain(&error));
        }
    }
}
