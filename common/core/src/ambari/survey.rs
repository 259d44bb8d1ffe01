//! Everything that a decision rests on, read anew before each: no answer to an order says what it has brought about.

use std::collections::VecDeque;

use super::Component;
use super::answer::{self, Answer, Host, Queued, Roles, Task, TaskEnd, Trouble};
use super::request::Request;

/// What was read and seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) requests: Vec<Queued>,
    pub(super) host: Host,
    /// The component on this host; none if Ambari has none there.
    pub(super) own: Option<Roles>,
    /// The component on the other headnodes where Ambari has one.
    pub(super) others: Vec<(String, Roles)>,
    /// Whether anything of it runs on this host.
    pub(super) runs: bool,
}

/// A round of questions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    left: VecDeque<Question>,
    asked: Option<Question>,
    pub(super) seen: Seen,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Question {
    Requests,
    Host,
    Own,
    Other(String),
}

impl Survey {
    /// The questions of one round. The requests come first: what is queued after that is seen in the next one, and by then
    /// the states show what came of what was carried out.
    pub(super) fn new(component: &Component, with_others: bool) -> Self {
        let own = [Question::Requests, Question::Host, Question::Own];
        let others = component.others.iter().filter(|_| with_others).cloned();
        let left = own.into_iter().chain(others.map(Question::Other)).collect();
        Self { left, ..Self::default() }
    }

    /// The next question; none if all are answered.
    pub(super) fn next(&mut self, component: &Component) -> Option<Request> {
        let question = self.left.pop_front()?;
        let request = match &question {
            Question::Requests => component.requests(),
            Question::Host => component.host(),
            Question::Own => component.roles(&component.host),
            Question::Other(host) => component.roles(host),
        };
        self.asked = Some(question);
        Some(request)
    }

    /// Takes the answer to it.
    pub(super) fn take(&mut self, component: &Component, told: &Answer) -> Result<(), Trouble> {
        match self.asked.take() {
            Some(Question::Requests) => {
                let cluster = &component.server.cluster;
                let missing =
                    format!("Ambari has no cluster `{cluster}`: correct `ambari.cluster`");
                self.seen.requests = answer::requests(told)?.ok_or(Trouble::Lasting(missing))?;
            }
            Some(Question::Host) => {
                let host = &component.host;
                let missing = format!("Ambari has no host `{host}`: correct `ambari.hosts`");
                self.seen.host = answer::host(told)?.ok_or(Trouble::Lasting(missing))?;
            }
            Some(Question::Own) => self.seen.own = answer::roles(told)?,
            Some(Question::Other(host)) => {
                let roles = answer::roles(told)?;
                self.seen.others.extend(roles.map(|roles| (host, roles)));
            }
            None => {}
        }
        Ok(())
    }
}

impl Seen {
    /// A request that may still start the component on a host that `which` picks; not the one that is `known`.
    pub(super) fn pending_start(
        &self,
        component: &str,
        which: impl Fn(&str) -> bool,
        known: Option<u64>,
    ) -> Option<u64> {
        let starts = |task: &Task| {
            task.role == component
                && which(&task.host)
                && task.starts()
                && task.end() == TaskEnd::Open
        };
        let mut others = self.requests.iter().filter(|queued| Some(queued.id) != known);
        others.find(|queued| queued.tasks.iter().any(starts)).map(|queued| queued.id)
    }

    /// Whether anything about the component on `host` is queued or under way.
    pub(super) fn is_busy(&self, component: &str, host: &str) -> bool {
        let mut tasks = self.requests.iter().flat_map(|queued| &queued.tasks);
        tasks.any(|task| task.is_of(component, host) && task.end() == TaskEnd::Open)
    }

    /// How a request ended for the component on `host`; none if it is not listed.
    pub(super) fn end_of(&self, id: u64, component: &str, host: &str) -> Option<TaskEnd> {
        let queued = self.requests.iter().find(|queued| queued.id == id)?;
        queued.tasks.iter().find(|task| task.is_of(component, host)).map(Task::end)
    }
}
