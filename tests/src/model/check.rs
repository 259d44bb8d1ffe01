//! Runs the checker over a scope, and reports in words.
//!
//! Decides what counts as a violation. A verdict names the shortest run to it, one step a line.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use stateright::{Checker as _, HasDiscoveries, Model, Property};

use super::action::Action;
use super::scope::{Check, Scope};
use super::state::{Host, State};

/// A scope under check.
#[derive(Debug)]
pub struct Cluster {
    /// What is explored.
    pub scope: Scope,
    /// States from which somebody is known to come to run the services.
    pub(super) settled: Mutex<HashSet<u64>>,
}

impl Cluster {
    /// A cluster of this scope.
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self { scope, settled: Mutex::default() }
    }

    /// A state as a number.
    pub(super) fn fingerprint(state: &State) -> u64 {
        BuildHasherDefault::<DefaultHasher>::default().hash_one(state)
    }
}

impl Check {
    /// What must hold, in words.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Safe => "a moving service runs on at most one headnode",
            Self::NotStuck => "somebody comes to run the services",
            Self::NoNeedlessLoss => "no healthy holder loses the office",
            Self::NotInTurns => "claimants do not displace each other in turns",
        }
    }
}

impl Scope {
    /// Every step that is possible.
    pub(super) fn steps(&self, state: &State, steps: &mut Vec<Action>) {
        for node in self.nodes() {
            self.controller_work(state, node, steps);
            self.guard_work(state, node, steps);
        }
        if steps.is_empty() {
            steps.push(Action::Tick(None));
            let slow = self.nodes().filter(|node| state.host(*node).slow > 0);
            steps.extend(slow.map(|node| Action::Tick(Some(node))));
        }
        self.free_steps(state, steps);
        self.mischief(state, steps);
    }
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.scope.initial_states()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.scope.steps(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        self.scope.carry_out(&mut next, action);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let property = |check: &Check| {
            let name = check.sentence();
            match check {
                Check::Safe => Property::always(name, |model: &Self, state: &State| {
                    model.scope.nodes().filter(|node| state.runs(*node)).count() <= 1
                }),
                Check::NotStuck => Property::always(name, Self::settles),
                Check::NoNeedlessLoss => {
                    Property::always(name, |_: &Self, state: &State| !state.needless)
                }
                Check::NotInTurns => {
                    Property::always(name, |_: &Self, state: &State| state.displaced < 3)
                }
            }
        };
        self.scope.checks.iter().map(property).collect()
    }
}

/// What a run of the checker found.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What does not hold, with a shortest run to it.
    pub violated: Option<(&'static str, String)>,
    /// How many states were seen.
    pub states: usize,
    /// How long it took.
    pub time: Duration,
    /// Every state of the scope was seen, or a violation.
    pub complete: bool,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { violated, states, time, complete } = self;
        match violated {
            None if *complete => f.write_str("holds")?,
            None => f.write_str("NOT EXPLORED TO THE END")?,
            Some((name, _)) => write!(f, "violated: {name}")?,
        }
        write!(f, " ({states} states, {:.1} s)", time.as_secs_f64())
    }
}

/// Explores a scope until something does not hold, or to the end.
#[must_use]
pub fn explore(scope: Scope, threads: usize, limit: Option<Duration>) -> Verdict {
    explore_model(Cluster::new(scope), threads, limit, story)
}

/// Tells a run of a model in words.
pub type Tell<M> = fn(&M, &[(<M as Model>::State, Option<<M as Model>::Action>)]) -> String;

/// Explores any model, and tells the run to a violation in its words.
#[must_use]
pub fn explore_model<M>(model: M, threads: usize, limit: Option<Duration>, tell: Tell<M>) -> Verdict
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + fmt::Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + fmt::Debug + PartialEq,
{
    let began = Instant::now();
    let mut builder = model.checker().threads(threads).finish_when(HasDiscoveries::Any);
    if let Some(limit) = limit {
        builder = builder.timeout(limit);
    }
    let checker = builder.spawn_bfs().join();
    let time = began.elapsed();
    let found = checker.discoveries().into_iter().next();
    let violated = found.map(|(name, path)| (name, tell(checker.model(), &path.into_vec())));
    Verdict {
        complete: violated.is_some() || limit.is_none_or(|limit| time < limit),
        violated,
        states: checker.unique_state_count(),
        time,
    }
}

/// A run in words, and how it ends.
fn story(model: &Cluster, run: &[(State, Option<Action>)]) -> String {
    let mut story = String::new();
    let mut line = |text: &dyn fmt::Display| {
        writeln!(story, "  {text}").expect("a string takes all that is written");
    };
    for (_, action) in run {
        if let Some(action) = action {
            line(action);
        }
    }
    if let Some((last, _)) = run.last() {
        for node in model.scope.nodes() {
            let Host { controller, guard, permit, service, .. } = last.host(node);
            line(&format_args!(
                "at the end headnode{node}: service {service:?}, master-fc {:?}{}, guard {}, {}",
                controller.role,
                if controller.frozen { " (frozen)" } else { "" },
                if guard.away.is_some() { "away" } else { "there" },
                if permit.present { format!("D in {}", permit.left) } else { "no permit".into() },
            ));
        }
        line(&format_args!("at the end: {:?}", last.active));
    }
    story
}
