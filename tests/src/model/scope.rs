//! What a run of the checker explores: how many headnodes, which figures, which faults.

use super::rules::{Behind, Figures, Rule, Rules};
use super::state::{
    Active, Host, Lock, MOST_HEADNODES, Node, Permit, Role, Service, Settings, State, Yes,
};

/// A kind of fault. Repairs are free, and may come at any time or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// A host loses its network; its session may end at any time from then on.
    Cut,
    /// master-fc's server lags: reads bring nothing new, writes are done and answered later.
    Lag,
    /// master-fc freezes, perhaps in the middle of a write.
    Freeze,
    /// master-fc is killed, perhaps in the middle of a write, and started again.
    Kill,
    /// The guard freezes or dies.
    GuardAway,
    /// Both freeze at once.
    BothAway,
    /// The server ends a session of a client that is well.
    SessionLost,
    /// A write's outcome is Unknown.
    Unknown,
    /// A host loses power.
    PowerLoss,
    /// A host's clock is slow: it loses a tick in the lease and one in the kill time.
    SlowClock,
    /// `active` is lost.
    ActiveLost,
}

impl Fault {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Cut,
        Self::Lag,
        Self::Freeze,
        Self::Kill,
        Self::GuardAway,
        Self::BothAway,
        Self::SessionLost,
        Self::Unknown,
        Self::PowerLoss,
        Self::SlowClock,
        Self::ActiveLost,
    ];
}

/// What an operator may order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// The holder cedes to the next headnode.
    Cede,
    /// The holder is given up: a standby claims over its lock, however alive it is.
    Failover,
    /// `pause`, and `resume`.
    Pause,
    /// `pause --keep`, and `resume`.
    PauseKeep,
    /// `fence confirm`, of a holder without power; or in vain, of one that shows a sign of life.
    Confirm,
    /// The same of the host of a keep that was resumed, where nobody claims.
    ConfirmKeep,
}

impl Command {
    /// Every command.
    pub const ALL: &'static [Self] = &[
        Self::Cede,
        Self::Failover,
        Self::Pause,
        Self::PauseKeep,
        Self::Confirm,
        Self::ConfirmKeep,
    ];
}

/// Where a run starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The first headnode is active, and all is quiet; or its first start is still on its way.
    InOffice,
    /// A new cluster: no `active`, nothing runs.
    New,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Check {
    /// A moving service runs on at most one headnode.
    Safe,
    /// From every state somebody comes to run the services.
    NotStuck,
    /// No healthy holder loses the office.
    NoNeedlessLoss,
    /// Claimants do not displace each other in turns.
    NotInTurns,
}

/// A scope.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Configured headnodes.
    pub headnodes: u8,
    /// A configured headnode that is without power for ever.
    pub dead: Option<Node>,
    /// Lease, kill time and watchdog, in ticks.
    pub figures: Figures,
    /// The rules in force.
    pub rules: Rules,
    /// Where it starts.
    pub start: Start,
    /// Which faults may happen.
    pub faults: Vec<Fault>,
    /// How many of them.
    pub most_faults: u8,
    /// Faults can happen in the middle of a write.
    pub late_writes: bool,
    /// Which commands may be given.
    pub commands: Vec<Command>,
    /// How many of them.
    pub most_commands: u8,
    /// There is a fence agent.
    pub fencing: bool,
    /// What must hold.
    pub checks: Vec<Check>,
}

impl Scope {
    /// Two headnodes in office, all rules, safety, and the faults that are named.
    #[must_use]
    pub fn with_faults(most_faults: u8, faults: &[Fault]) -> Self {
        Self {
            headnodes: 2,
            dead: None,
            figures: Figures::new(3, 3),
            rules: Rules::all(),
            start: Start::InOffice,
            faults: faults.to_vec(),
            most_faults,
            late_writes: true,
            commands: Vec::new(),
            most_commands: 0,
            fencing: false,
            checks: vec![Check::Safe],
        }
    }

    /// The same without faults in the middle of a write.
    #[must_use]
    pub const fn without_late_writes(mut self) -> Self {
        self.late_writes = false;
        self
    }

    /// The same with commands.
    #[must_use]
    pub fn and_commands(mut self, most_commands: u8, commands: &[Command]) -> Self {
        self.most_commands = most_commands;
        self.commands = commands.to_vec();
        self
    }

    /// The same with other figures.
    #[must_use]
    pub const fn with_figures(mut self, figures: Figures) -> Self {
        self.figures = figures;
        self
    }

    /// The same with a fence agent.
    #[must_use]
    pub const fn with_fencing(mut self) -> Self {
        self.fencing = true;
        self
    }

    /// The same with other things to hold.
    #[must_use]
    pub fn checking(mut self, checks: &[Check]) -> Self {
        self.checks = checks.to_vec();
        self
    }

    /// The same with a rule dropped.
    #[must_use]
    pub const fn without(mut self, rule: Rule) -> Self {
        self.rules = self.rules.without(rule);
        self
    }

    /// Whether a rule is in force.
    #[must_use]
    pub const fn has(&self, rule: Rule) -> bool {
        self.rules.has(rule)
    }

    /// The headnodes.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        0..self.headnodes
    }

    /// The headnode after this one.
    #[must_use]
    pub const fn next(&self, node: Node) -> Node {
        (node + 1) % self.headnodes
    }

    /// The states that a run starts from.
    #[must_use]
    pub fn initial_states(&self) -> Vec<State> {
        match self.start {
            Start::InOffice => {
                let quiet = self.in_office();
                let mut starting = quiet;
                starting.host_mut(0).service = Service::Stopped;
                starting.host_mut(0).order = true;
                vec![quiet, starting]
            }
            Start::New => {
                let mut state = self.in_office();
                state.lock = None;
                state.active.missing = true;
                state.active.boot_runs = false;
                let node = state.host_mut(0);
                node.controller.role = Role::Standby;
                node.permit = Permit::NONE;
                node.service = Service::Stopped;
                for node in self.nodes() {
                    state.host_mut(node).promised = 2;
                    state.host_mut(node).closed = 2;
                }
                vec![state]
            }
        }
    }

    /// The first headnode in office, the others with a promise.
    fn in_office(&self) -> State {
        const OLDER: Behind = 2;
        let mut state = State {
            hosts: [Host::DOWN; MOST_HEADNODES],
            lock: Some(Lock { owner: 0, old: false }),
            active: Active {
                missing: false,
                node: 0,
                boot_runs: true,
                ceded: None,
                claimant: None,
            },
            settings: Settings::Automatic,
            confirm: Yes::None,
            kept_off: false,
            faults_left: self.most_faults,
            commands_left: self.most_commands,
            slow_clock: false,
            displaced: 0,
            needless: false,
        };
        for node in self.nodes().filter(|node| Some(*node) != self.dead) {
            let host = state.host_mut(node);
            host.up = true;
            host.closed = 0;
            host.promised = 0;
            host.controller.session = true;
            host.controller.knows_active = true;
            host.controller.knows_lease = true;
            host.controller.active_age = self.figures.longest();
        }
        let holder = state.host_mut(0);
        holder.closed = OLDER;
        holder.promised = OLDER;
        holder.controller.role = Role::Holder;
        holder.controller.active_age = 0;
        holder.permit = Permit { present: true, epoch: 0, left: self.figures.lease };
        holder.service = Service::Running;
        state
    }
}
