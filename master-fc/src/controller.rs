//! master-fc: the root machine `Controller` and its world.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use headship_core::config::checked::Config;
use headship_core::controller::{Action, Controller, Ending, Event, Farewell, Found};
use headship_core::duty;
use headship_core::epoch::Remembered;
use headship_core::fencing::Victim;
use headship_core::node::{Identity, NodeName};
use headship_core::quorum::{self, ActionId};
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
use headship_drivers::fence::Fence;
use headship_drivers::host::run::{LockError, RunDir, Touches};
use headship_drivers::host::state::StateDir;
use headship_drivers::host::{clock, identity, reboot};
use headship_drivers::systemd::{Job, Systemd};
use headship_drivers::{Executor, knock};
use headship_zk::{Options, Quorum, Watched};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// The program's name, and its unit's without the ending.
pub const NAME: &str = "master-fc";
/// How long systemd may take to say why we were told to end.
const ASK_SYSTEMD: Duration = Duration::from_secs(1);
/// How long the session may take to close.
const CLOSE: Duration = Duration::from_secs(1);

/// Runs master-fc until it is told to end.
pub fn main(arguments: &Arguments) -> Result<Exit, Refusal> {
    let config = start::configure_headnode(NAME, arguments)?;
    let run = RunDir::new(&arguments.run);
    run.create()?;
    let _lock = start::alone(run.lock(NAME), LockError::is_held)?;
    let me = identity::identity(config.node.clone(), &arguments.machine_id)?;
    let notifier = Notifier::from_environment()?;
    run::block_on(async {
        let mut program = MasterFc::new(config, me, run, arguments)?;
        let exit = run::run(&mut program, &notifier).await?;
        if program.hand_over {
            program.quorum.detach();
        } else {
            program.quorum.close(CLOSE).await;
        }
        Ok(exit)
    })?
}

/// What comes in.
#[derive(Debug)]
pub enum Input {
    /// The quorum reports.
    Quorum(quorum::Event),
    /// The drivers report.
    Service(Report),
    /// What was asked for has come about: a file was written or removed, a host was knocked at, a fence method has answered.
    Outcome(Event),
    /// slave-ha-service may have closed an epoch.
    Closed,
    /// The highest epoch is written.
    Remembered,
    /// A signal.
    Signal(Signal),
    /// We were told to end, and systemd was asked why.
    Ending(Ending),
}

impl From<Signal> for Input {
    fn from(signal: Signal) -> Self {
        Self::Signal(signal)
    }
}

/// master-fc and its world.
#[derive(Debug)]
struct MasterFc {
    controller: Controller,
    quorum: Quorum,
    executor: Executor,
    /// The fence methods, if there are any.
    fence: Option<Arc<Fence>>,
    /// The fence method that is being asked, by the id of the action.
    asking: BTreeMap<ActionId, AbortHandle>,
    /// Where each headnode is reached.
    addresses: BTreeMap<NodeName, String>,
    run: RunDir,
    state: StateDir,
    touches: Touches,
    /// Outcomes that are known at once.
    own: VecDeque<Input>,
    tell: mpsc::UnboundedSender<Input>,
    told: mpsc::UnboundedReceiver<Input>,
    to_remember: Option<Remembered>,
    remembering: bool,
    /// We end, and office goes on: its session is left to the next process.
    hand_over: bool,
}

impl MasterFc {
    fn new(
        config: Config,
        me: Identity,
        run: RunDir,
        arguments: &Arguments,
    ) -> Result<Self, Refusal> {
        let state = StateDir::new(&arguments.state);
        let remembered = state.seen()?;
        let found =
            Found { permit: run.readable_permit(), closed: run.readable_closed(), remembered };
        let driver = duty::driver(run.under_systemd(), || arguments.command(duty::NAME));
        let duty = duty::as_service(&config, driver);
        let services = config.services.iter().cloned().chain([duty.clone()]).collect();
        let executor = Executor::new(services, &run, &arguments.programs.join("gate"))?;
        let fences = !config.fencing.methods.is_empty();
        let fence = fences.then(|| Arc::new(Fence::new(&config, &run)));
        let addresses = config.headnodes.iter().map(|it| (it.name.clone(), it.address.clone()));
        let addresses = addresses.collect();
        let quorum = Quorum::connect(Options::new(&config, Watched::Everything));
        let (tell, told) = mpsc::unbounded_channel();
        Ok(Self {
            controller: Controller::new(config, me, found, duty),
            quorum,
            executor,
            fence,
            asking: BTreeMap::new(),
            addresses,
            touches: run.touches(),
            run,
            state,
            own: VecDeque::new(),
            tell,
            told,
            to_remember: None,
            remembering: false,
            hand_over: false,
        })
    }

    /// systemd knows whether it starts us again.
    fn ask_why_to_end(&self) {
        let (systemd, tell) = (self.executor.systemd().cloned(), self.tell.clone());
        tokio::spawn(async move {
            let ending = match systemd {
                Some(systemd) => ending(&systemd).await,
                None => Ending::default(),
            };
            // If nobody listens any more we have ended already.
            drop(tell.send(Input::Ending(ending)));
        });
    }

    /// Writes the highest epoch, one write at a time, and the newest last: two at once would spoil the file.
    fn remember(&mut self) {
        if self.remembering {
            return;
        }
        let Some(remembered) = self.to_remember.take() else { return };
        self.remembering = true;
        let (state, tell) = (self.state.clone(), self.tell.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = state.remember(&remembered) {
                let epoch = remembered.epoch;
                let text = format!("epoch {epoch} cannot be remembered: {}", log::chain(&error));
                log::tell(Kind::FileFault, text);
            }
            drop(tell.send(Input::Remembered));
        });
    }

    /// Sees whether a headnode answers anything.
    fn knock(&self, id: ActionId, node: &NodeName, limit: Duration) {
        let address = self.addresses.get(node).cloned().unwrap_or_default();
        let tell = self.tell.clone();
        tokio::spawn(async move {
            let knocked = knock(&address, limit).await;
            drop(tell.send(Input::Outcome(Event::Knocked { id, knocked })));
        });
    }

    /// Asks a fence method.
    fn ask_fence(&mut self, id: ActionId, method: usize, victim: Victim, limit: Duration) {
        let Some(fence) = self.fence.clone() else { return };
        let tell = self.tell.clone();
        let asking = tokio::spawn(async move {
            let answer = fence.ask(method, &victim, limit).await;
            drop(tell.send(Input::Outcome(Event::Fenced { id, answer })));
        });
        self.asking.retain(|_, asking| !asking.is_finished());
        self.asking.insert(id, asking.abort_handle());
    }

    fn role(&self) -> Role {
        self.controller.status().0
    }
}

/// What systemd says of our end, as far as it answers.
async fn ending(systemd: &Systemd) -> Ending {
    let shutting_down = systemd.shutting_down(ASK_SYSTEMD).await.ok();
    let job = systemd.job_of(&format!("{NAME}.service"), ASK_SYSTEMD).await.ok();
    Ending { shutting_down, stops_us: job.map(|job| job == Some(Job::Stop)) }
}

/// Waits for the next change of what is closed; the permit is our own.
async fn closed(touches: &mut Touches) {
    while !touches.next().await.closed {}
}

impl Program for MasterFc {
    type Input = Input;
    type Action = Action;

    async fn next(&mut self) -> Input {
        if let Some(input) = self.own.pop_front() {
            return input;
        }
        tokio::select! {
            event = self.quorum.next() => Input::Quorum(event),
            report = self.executor.next() => Input::Service(report),
            Some(input) = self.told.recv() => input,
            () = closed(&mut self.touches) => Input::Closed,
        }
    }

    fn handle(&mut self, now: Time, input: Input) {
        let event = match input {
            Input::Quorum(event) => Event::Quorum { wall: clock::wall(), event },
            Input::Service(report) => Event::Service(report),
            Input::Outcome(event) => event,
            Input::Closed => Event::Closed(self.run.closed().map_err(|error| log::chain(&error))),
            Input::Signal(Signal::Terminate) => return self.ask_why_to_end(),
            Input::Signal(Signal::Interrupt) => Event::Stop,
            Input::Ending(ending) => match ending.farewell() {
                Farewell::Cede => Event::Stop,
                Farewell::HandOver => {
                    self.hand_over = true;
                    return;
                }
            },
            Input::Signal(Signal::HangUp) => Event::LookAnew,
            Input::Remembered => {
                self.remembering = false;
                return self.remember();
            }
        };
        self.controller.handle(now, event);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.controller.handle_timeout(now);
    }

    fn poll_action(&mut self) -> Option<Action> {
        if self.hand_over {
            return Some(Action::Exit);
        }
        self.controller.poll_action()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.controller.poll_timeout()
    }

    fn carry_out(&mut self, action: Action) -> ControlFlow<Exit> {
        match action {
            Action::Ask(ask) => self.quorum.request(ask.id, ask.session, ask.request),
            Action::WritePermit { id, permit } => {
                let error = self.run.write_permit(&permit).err().map(|error| log::chain(&error));
                self.own.push_back(Input::Outcome(Event::PermitWritten { id, error }));
            }
            Action::RemovePermit { id } => {
                let error = self.run.remove_permit().err().map(|error| log::chain(&error));
                self.own.push_back(Input::Outcome(Event::PermitWritten { id, error }));
            }
            Action::Remember(remembered) => {
                self.to_remember = Some(remembered);
                self.remember();
            }
            Action::Service(action) => self.executor.carry_out(action),
            Action::Knock { id, node, limit } => self.knock(id, &node, limit),
            Action::Fence { id, method, victim, limit } => {
                self.ask_fence(id, method, victim, limit);
            }
            Action::StopFence { id } => {
                if let Some(asking) = self.asking.remove(&id) {
                    asking.abort();
                }
            }
            Action::Reboot { why } => last_resort(&why, &self.run),
            Action::Say(line) => log::say(&line),
            Action::Exit => return ControlFlow::Break(Exit::Ok),
        }
        ControlFlow::Continue(())
    }

    fn status(&self) -> String {
        let (role, why) = self.controller.status();
        match self.controller.held() {
            Some((epoch, _)) => format!("{} (epoch {epoch}): {why}", role.as_str()),
            None => format!("{}: {why}", role.as_str()),
        }
    }

    fn stands(&self) -> Stands {
        Stands { role: self.role().as_str(), epoch: Some(self.controller.highest_epoch()) }
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
