//! The root machine `HealthMonitor` and its world.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use headship_core::config::checked::Config;
use headship_core::eligibility::{Action, Event, HealthMonitor, Measured};
use headship_core::epoch::Epoch;
use headship_core::node::Identity;
use headship_core::quorum;
use headship_core::record::Verdict;
use headship_core::say::Kind;
use headship_core::time::Time;
use headship_daemon::arguments::Arguments;
use headship_daemon::log::Stands;
use headship_daemon::notify::Notifier;
use headship_daemon::run::{self, Program};
use headship_daemon::signal::Signal;
use headship_daemon::start::{self, Refusal};
use headship_daemon::{Exit, log};
use headship_drivers::Drivers;
use headship_drivers::host::identity;
use headship_drivers::host::run::{LockError, RunDir};
use headship_drivers::process::Gated;
use headship_zk::{Options, Quorum, Watched};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::measure;

/// The program's name, and its unit's without the ending.
pub const NAME: &str = "health-monitor";
/// How long the session may take to close.
const CLOSE: Duration = Duration::from_secs(1);
/// How long systemd may take to tell whether it knows a unit.
const UNIT_LIMIT: Duration = Duration::from_secs(1);

/// Runs health-monitor until it is told to end.
pub fn main(arguments: &Arguments) -> Result<Exit, Refusal> {
    let config = start::configure_headnode(NAME, arguments)?;
    let run = RunDir::new(&arguments.run);
    run.create()?;
    let _lock = start::alone(run.lock(NAME), LockError::is_held)?;
    let me = identity::identity(config.node.clone(), &arguments.machine_id)?;
    let notifier = Notifier::from_environment()?;
    run::block_on(async {
        let mut program = Monitor::new(&config, me, run, arguments)?;
        let exit = run::run(&mut program, &notifier).await?;
        program.quorum.close(CLOSE).await;
        Ok(exit)
    })?
}

/// What comes in.
#[derive(Debug)]
enum Input {
    Quorum(quorum::Event),
    Measured(Measured),
    Signal(Signal),
}

/// What is done next.
#[derive(Debug)]
enum Step {
    Do(Action),
    End,
}

impl From<Signal> for Input {
    fn from(signal: Signal) -> Self {
        Self::Signal(signal)
    }
}

/// health-monitor and its world.
#[derive(Debug)]
struct Monitor {
    monitor: HealthMonitor,
    quorum: Quorum,
    drivers: Arc<Drivers>,
    run: RunDir,
    tell: mpsc::UnboundedSender<Measured>,
    measured: mpsc::UnboundedReceiver<Measured>,
    told_to_end: bool,
    /// That of the permit, when it was last measured.
    epoch: Option<Epoch>,
}

impl Monitor {
    fn new(
        config: &Config,
        me: Identity,
        run: RunDir,
        arguments: &Arguments,
    ) -> Result<Self, Refusal> {
        let drivers =
            Drivers::new(&config.services, &run, &arguments.programs.join("gate"), Gated::Yes)?;
        let (tell, measured) = mpsc::unbounded_channel();
        Ok(Self {
            monitor: HealthMonitor::new(config.health.clone(), me),
            quorum: Quorum::connect(Options::new(config, Watched::Nothing)),
            drivers: Arc::new(drivers),
            run,
            tell,
            measured,
            told_to_end: false,
            epoch: None,
        })
    }

    /// A disk that hangs holds up the measurement, never the heartbeat.
    fn measure(&mut self) {
        let (drivers, tell) = (Arc::clone(&self.drivers), self.tell.clone());
        let permit = self.run.readable_permit();
        self.epoch = permit.as_ref().map(|permit| permit.epoch);
        let alone = permit.into_iter().flat_map(|permit| permit.alone.into_keys()).collect();
        tokio::spawn(async move {
            let missing_units = drivers.unusable(UNIT_LIMIT).await;
            // On a thread of its own: it may hang with a disk.
            let local = spawn_blocking(|| (measure::disks(), measure::memory_available_mib()));
            // It comes to nothing only where it panics, which ends the process.
            if let Ok((disks, memory_available_mib)) = local.await {
                drop(tell.send(Measured { disks, memory_available_mib, missing_units, alone }));
            }
        });
    }
}

impl Program for Monitor {
    type Input = Input;
    type Action = Step;

    async fn next(&mut self) -> Input {
        tokio::select! {
            event = self.quorum.next() => Input::Quorum(event),
            Some(measured) = self.measured.recv() => Input::Measured(measured),
        }
    }

    fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Quorum(event) => self.monitor.handle(now, Event::Quorum(event)),
            Input::Measured(measured) => self.monitor.handle(now, Event::Measured(measured)),
            Input::Signal(Signal::HangUp) => self.monitor.handle(now, Event::LookAnew),
            Input::Signal(Signal::Terminate | Signal::Interrupt) => self.told_to_end = true,
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.monitor.handle_timeout(now);
    }

    fn poll_action(&mut self) -> Option<Step> {
        if self.told_to_end { Some(Step::End) } else { self.monitor.poll_action().map(Step::Do) }
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.monitor.poll_timeout()
    }

    fn carry_out(&mut self, step: Step) -> ControlFlow<Exit> {
        let Step::Do(action) = step else { return ControlFlow::Break(Exit::Ok) };
        match action {
            Action::Ask(ask) => self.quorum.request(ask.id, ask.session, ask.request),
            Action::Measure => self.measure(),
            Action::Say(line) => log::say(&line),
        }
        ControlFlow::Continue(())
    }

    fn status(&self) -> String {
        let (_, reasons) = self.monitor.status();
        if reasons.is_empty() {
            format!("{}: all checks are good", self.word())
        } else {
            format!("{}: {}", self.word(), reasons.join("; "))
        }
    }

    fn stands(&self) -> Stands {
        Stands { role: self.word(), epoch: self.epoch }
    }

    fn show(&mut self, status: &str) {
        if let Err(error) = self.run.write_status(NAME, status) {
            log::tell(Kind::StatusFault, log::chain(&error));
        }
    }
}

impl Monitor {
    fn word(&self) -> &'static str {
        match self.monitor.status().0 {
            Verdict::Eligible => "eligible",
            Verdict::Reluctant => "reluctant",
            Verdict::Ineligible => "ineligible",
        }
    }
}
