//! A program of the node that is kept running: the agent, and slave-ha-service.

use std::time::Duration;

use crate::config::checked::{Driver, RestartBudget, Service, Starter};
use crate::say::Kind;
use crate::services::{Desired, Ids, Observed, Report, ServiceAction, Supervisor};
use crate::time::Time;

/// How long such a program may take to start, and to stop before it is killed.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// The pauses before it is started again. The first leaves a package's upgrade, which stops and starts it, its turn.
const BACK_OFF: [u64; 5] = [1, 2, 5, 15, 60];

/// The node's agent as something to start and stop.
pub const AGENT: &str = "slave-fc-agent";
/// slave-ha-service as something to keep running.
pub const GUARD: &str = "slave-ha-service";

/// A program of the node as something to keep running. `driver` is how, on this host.
pub fn as_service(name: &str, driver: Driver) -> Service {
    Service {
        name: name.to_owned(),
        driver,
        started_by: Starter::MasterHaService,
        after: std::collections::BTreeSet::new(),
        announce: false,
        critical: false,
        pinned: None,
        start_limit: START_LIMIT,
        stop_limit: STOP_LIMIT,
        // Never given up: nobody else would start it.
        restart: RestartBudget {
            times: u32::MAX,
            within: Duration::from_secs(600),
            back_off: BACK_OFF.map(Duration::from_secs).to_vec(),
        },
        probes: Vec::new(),
    }
}

/// Keeps one program running, and tells when it will not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Keeper {
    /// What people call it.
    word: &'static str,
    services: Supervisor,
    /// What was last said of why it is down.
    said: Option<String>,
}

impl Keeper {
    pub(super) fn new(word: &'static str, service: Service, period: Duration) -> Self {
        let mut services = Supervisor::new([service], period, |_| true);
        services.desire(Desired::Running);
        Self { word, services, said: None }
    }

    /// It shall stop, in order that it can be started anew.
    pub(super) fn stop(&mut self, now: Time) {
        self.services.desire(Desired::Stopped { kill_at: now.after(STOP_LIMIT) });
    }

    /// It shall run.
    pub(super) fn start(&mut self) {
        self.services.desire(Desired::Running);
    }

    /// Whether it is verified stopped, as it should be.
    pub(super) fn is_stopped(&self) -> bool {
        self.services.all_stopped()
    }

    pub(super) fn handle(&mut self, now: Time, report: Report) {
        self.services.handle(now, report);
    }

    /// What is to be done.
    pub(super) fn decide(&mut self, now: Time, ids: &mut Ids) -> Vec<ServiceAction> {
        self.services.decide(now, ids);
        std::iter::from_fn(|| self.services.poll_action()).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.services.poll_timeout()
    }

    /// What was last seen of it.
    pub(super) fn observed(&self, now: Time) -> &Observed {
        self.services.survey(now).next().map_or(&Observed::Unknown, |(_, observed, ..)| observed)
    }

    /// Whether it runs.
    pub(super) fn runs(&self, now: Time) -> bool {
        *self.observed(now) == Observed::Running
    }

    /// Whether it was last seen down.
    pub(super) fn is_down(&self, now: Time) -> bool {
        self.observed(now).is_down()
    }

    /// Why it is down although it should run, if it is.
    pub(super) fn fault(&self, now: Time) -> Option<String> {
        let should_run = self.services.desired() == Desired::Running;
        let mut services = self.services.survey(now).filter(|_| should_run);
        let down = |(_, observed, _, why): &(_, &Observed, _, String)| {
            observed.is_down() && !why.is_empty()
        };
        let (.., why) = services.next().filter(down)?;
        Some(format!("{} is down: {why}", self.word))
    }

    /// What is to be said now: a fault once for as long as it stays the same, and its end.
    pub(super) fn news(&mut self, now: Time) -> Option<(Kind, String)> {
        match self.fault(now) {
            Some(fault) if self.said.as_ref() != Some(&fault) => {
                self.said = Some(fault.clone());
                Some((Kind::ProgramDown, format!("{fault}; it is started again")))
            }
            None if self.said.is_some() && self.runs(now) => {
                self.said = None;
                Some((Kind::ProgramBack, format!("{} runs again", self.word)))
            }
            Some(_) | None => None,
        }
    }
}
