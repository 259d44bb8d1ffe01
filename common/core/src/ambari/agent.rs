//! What the Ambari agent of this host was handed: one record a host, whichever services ordered it.
//!
//! An agent carries out one thing at a time, in the order in which it was handed them, and may do so late: after a freeze, a
//! cut cable, or behind a slow start of another service. What settles that an order cannot come any more is therefore the
//! host's matter: an end that the agent itself told settles everything that it was handed before, whoever asked for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::answer::{Queued, Task, TaskEnd};
use crate::time::Time;

/// How long an order that nobody answered may take to appear among the requests: the server answers 10 s after its database
/// went away, and has taken down by then what it will.
const LIMBO: Duration = Duration::from_secs(30);

/// What the agent of this host was handed and may still carry out, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    orders: Vec<Handed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Handed {
    component: String,
    start: bool,
    /// When it was about to be ordered.
    at: Time,
    /// The request; none before its answer, or if that was lost.
    request: Option<u64>,
    /// When it was seen given up by the server, which keeps no agent from carrying it out.
    cut: Option<Time>,
}

impl Agent {
    /// An order is about to be given.
    pub(super) fn begins(&mut self, component: &str, start: bool, at: Time) {
        let component = component.to_owned();
        self.orders.push(Handed { component, start, at, request: None, cut: None });
    }

    /// The last order was queued as this request, or nothing was queued.
    pub(super) fn answered(&mut self, request: Option<u64>) {
        match (request, self.orders.last_mut()) {
            (Some(id), Some(last)) => last.request = Some(id),
            (None, Some(_)) => drop(self.orders.pop()),
            (_, None) => {}
        }
    }

    /// Takes what the requests show of this host's orders. Whether anything is known now that was not before.
    pub(super) fn learn(&mut self, now: Time, host: &str, requests: &[Queued]) -> bool {
        let before = self.clone();
        let mut told = None;
        for (place, handed) in self.orders.iter_mut().enumerate() {
            let Some(id) = handed.request else { continue };
            let found = requests.iter().find(|queued| queued.id == id);
            let of = |task: &&Task| task.is_of(&handed.component, host);
            match found.and_then(|queued| queued.tasks.iter().find(of)).map(Task::end) {
                Some(TaskEnd::Well | TaskEnd::Badly) => told = Some(place),
                Some(TaskEnd::Cut) if handed.cut.is_none() => handed.cut = Some(now),
                Some(TaskEnd::Cut | TaskEnd::Open) | None => {}
            }
        }
        if let Some(told) = told {
            // What has no number may never have reached the server, and then be handed over after this one.
            let mut place = 0..;
            self.orders.retain(|handed| {
                place.next().is_some_and(|at: usize| at > told) || handed.request.is_none()
            });
        }
        let limbo = |handed: &Handed| handed.request.is_none() && now >= handed.at.after(LIMBO);
        self.orders.retain(|handed| !limbo(handed));
        *self != before
    }

    /// Where the agent has lived all the while, it has reported by `settle` what it really runs: what was given up before
    /// that cannot come any more.
    pub(super) fn settle(&mut self, now: Time, settle: Duration) -> bool {
        let before = self.orders.len();
        self.orders.retain(|handed| handed.cut.is_none_or(|cut| now < cut.after(settle)));
        self.orders.len() != before
    }

    /// Whether a start of the component may still be carried out here.
    pub(super) fn has_open_start(&self, component: &str) -> bool {
        self.orders.iter().any(|handed| handed.start && handed.component == component)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(25);

    fn at(second: u64) -> Time {
        Time::from_millis(second * 1000)
    }

    fn queued(id: u64, component: &str, command: &str, status: &str) -> Queued {
        let [role, host, command, status] = [component, "h1", command, status].map(str::to_owned);
        Queued { id, tasks: vec![Task { status, role, host, command }] }
    }

    fn handed(orders: &[(&str, bool, Option<u64>)]) -> Agent {
        let mut agent = Agent::default();
        for (component, start, request) in orders {
            agent.begins(component, *start, at(1));
            if request.is_some() {
                agent.answered(*request);
            }
        }
        agent
    }

    /// The agent is the host's: what it told of one service settles what another one had ordered before it.
    #[test]
    fn an_end_that_the_agent_told_settles_all_that_it_was_handed_before() {
        let mut agent = handed(&[("JHS", true, Some(4)), ("ATS", false, Some(7))]);
        let cut = [queued(4, "JHS", "START", "ABORTED"), queued(7, "ATS", "STOP", "QUEUED")];
        assert!(agent.learn(at(2), "h1", &cut));
        assert!(agent.has_open_start("JHS") && !agent.has_open_start("ATS"));
        // Another host's end says nothing of this agent.
        let done = [queued(7, "ATS", "STOP", "COMPLETED")];
        assert!(!agent.clone().learn(at(3), "h2", &done));
        assert!(agent.learn(at(3), "h1", &done));
        assert!(!agent.has_open_start("JHS"));
    }

    #[test]
    fn what_the_server_gave_up_stays_open_until_the_agent_has_surely_reported() {
        let mut agent = handed(&[("JHS", true, Some(4))]);
        assert!(agent.learn(at(2), "h1", &[queued(4, "JHS", "START", "ABORTED")]));
        assert!(!agent.settle(at(26), SETTLE) && agent.has_open_start("JHS"));
        // It counts from the first sight of it.
        assert!(!agent.learn(at(20), "h1", &[queued(4, "JHS", "START", "ABORTED")]));
        assert!(agent.settle(at(27), SETTLE) && !agent.has_open_start("JHS"));
    }

    #[test]
    fn an_order_without_an_answer_may_still_be_queued_for_a_while() {
        let mut agent = handed(&[("JHS", true, None), ("ATS", false, Some(7))]);
        let done = [queued(7, "ATS", "STOP", "COMPLETED")];
        assert!(agent.learn(at(3), "h1", &done) && agent.has_open_start("JHS"));
        assert!(!agent.learn(at(30), "h1", &done));
        assert!(agent.learn(at(31), "h1", &done) && !agent.has_open_start("JHS"));
    }

    #[test]
    fn an_order_that_queued_nothing_is_none() {
        let mut agent = handed(&[("JHS", true, None)]);
        agent.answered(None);
        assert_eq!(agent, Agent::default());
    }
}
