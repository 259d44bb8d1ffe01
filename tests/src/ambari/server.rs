//! One server: what it believes, who is logged in, and what it does by itself.

use std::collections::{BTreeMap, BTreeSet};

use super::state::{Component, Request, State};

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// GET or PUT, for instance.
    pub method: String,
    /// The path behind the host, with its query.
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// What is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
    /// The session that was begun.
    pub cookie: Option<String>,
    /// After how many milliseconds.
    pub after: u64,
}

/// A server. Whatever it believes is gone with it.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its number among those that share a state.
    pub(super) id: u64,
    pub(super) sessions: BTreeSet<String>,
    pub(super) hosts: BTreeMap<String, Believed>,
    /// States of components by host and name.
    pub(super) states: BTreeMap<(String, String), String>,
    /// Its own cache: what another server changes stays what it was here.
    maintenance: BTreeMap<(String, String), bool>,
    /// Requests whose end has been taken in.
    over: BTreeSet<u64>,
}

/// What is believed of a host.
#[derive(Clone, Debug)]
pub(super) struct Believed {
    pub(super) state: &'static str,
    report: u64,
    pub(super) registered: u64,
}

impl Server {
    /// A server that has just started: it knows hosts and components by name only.
    pub fn new(id: u64, state: &State) -> Self {
        let lost = |registered| Believed { state: "HEARTBEAT_LOST", report: 0, registered };
        let hosts = state.hosts.iter();
        let hosts = hosts.map(|(host, shown)| (host.clone(), lost(shown.registered))).collect();
        let key = |it: &Component| (it.host.clone(), it.name.clone());
        let components = state.components.iter();
        Self {
            id,
            sessions: BTreeSet::new(),
            hosts,
            states: components.clone().map(|it| (key(it), "UNKNOWN".to_owned())).collect(),
            maintenance: components.map(|it| (key(it), it.maintenance)).collect(),
            over: state.requests.iter().filter(|it| !it.is_open()).map(|it| it.id).collect(),
        }
    }

    /// What it does by itself: takes in what agents show, gives hosts up, hands out what is pending.
    pub fn work(&mut self, state: &mut State, now: u64) {
        // Its scheduler knows nothing of another server's requests, and gives them up. What their agents do goes on.
        for request in state.requests.iter_mut().filter(|it| it.server != self.id) {
            request.aborted |= request.is_open();
        }
        let hosts: Vec<String> = state.hosts.keys().cloned().collect();
        for host in &hosts {
            self.look_at(state, host, now);
            self.hand_out(state, host);
        }
        self.take_in(state);
    }

    fn look_at(&mut self, state: &mut State, host: &str, now: u64) {
        let (Some(shown), Some(believed)) = (state.hosts.get(host), self.hosts.get_mut(host))
        else {
            return;
        };
        if shown.server != self.id {
            return;
        }
        let holds = |it: &Request| it.host == host && it.is_open() && it.status != "PENDING";
        if believed.registered < shown.registered {
            // What was lost is healthy again once it has reported.
            (believed.state, believed.registered) =
                ("WAITING_FOR_HOST_STATUS_UPDATES", shown.registered);
            believed.report = shown.report;
        } else if believed.report < shown.report && believed.state != "HEARTBEAT_LOST" {
            believed.state = "HEALTHY";
            believed.report = shown.report;
            let runs = shown.runs.clone();
            for (key, told) in self.states.iter_mut().filter(|((on, _), _)| on == host) {
                // A report may overwrite what is under way.
                let word = if runs.contains(&key.1) { "STARTED" } else { "INSTALLED" };
                word.clone_into(told);
            }
        } else if now.saturating_sub(shown.beat) >= state.pace.lost
            && state.requests.iter().any(holds)
        {
            believed.state = "HEARTBEAT_LOST";
            for request in state.requests.iter_mut().filter(|it| holds(it)) {
                "ABORTED".clone_into(&mut request.status);
            }
            for (_, told) in self.states.iter_mut().filter(|((on, _), _)| on == host) {
                "UNKNOWN".clone_into(told);
            }
            // It is told to register anew when it is heard again.
            state.host(host).server = 0;
        }
    }

    /// One at a time: what comes later for a busy host stays pending.
    fn hand_out(&self, state: &mut State, host: &str) {
        let mut requests = state.requests.iter_mut().filter(|it| it.host == host && it.is_open());
        if let Some(first) = requests.next()
            && first.status == "PENDING"
            && first.server == self.id
        {
            "QUEUED".clone_into(&mut first.status);
        }
    }

    fn take_in(&mut self, state: &State) {
        for request in state.requests.iter().filter(|it| !it.is_open()) {
            if !self.over.insert(request.id) {
                continue;
            }
            let key = (request.host.clone(), request.role.clone());
            let Some(told) = self.states.get_mut(&key).filter(|told| *told != "UNKNOWN") else {
                continue;
            };
            let starts = request.steps.last().is_some_and(|step| step == "START");
            let well = request.status == "COMPLETED";
            let word = if well == starts { "STARTED" } else { "INSTALLED" };
            word.clone_into(told);
        }
    }

    pub(super) fn believes(&self, host: &str, name: &str) -> &str {
        let key = (host.to_owned(), name.to_owned());
        self.states.get(&key).map_or("UNKNOWN", String::as_str)
    }

    pub(super) fn believe(&mut self, host: &str, name: &str, word: &str) {
        self.states.insert((host.to_owned(), name.to_owned()), word.to_owned());
    }

    pub(super) fn maintain(&mut self, component: &mut Component, on: bool) {
        component.maintenance = on;
        self.maintenance.insert((component.host.clone(), component.name.clone()), on);
    }

    /// What is in force: the component's own hides what follows from its host and its service.
    pub(super) fn maintenance(&self, state: &State, component: &Component) -> &'static str {
        let key = (component.host.clone(), component.name.clone());
        let is_in = |name: &String| state.in_maintenance.contains(name);
        match (self.maintenance.get(&key), is_in(&component.host), is_in(&component.service)) {
            (Some(true), _, _) => "ON",
            (_, true, true) => "IMPLIED_FROM_SERVICE_AND_HOST",
            (_, true, false) => "IMPLIED_FROM_HOST",
            (_, false, true) => "IMPLIED_FROM_SERVICE",
            (_, false, false) => "OFF",
        }
    }
}

impl Reply {
    pub(super) fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }

    /// A refusal, as JSON.
    pub(super) fn refusal(status: u16, message: &str) -> Self {
        Self::new(status, serde_json::json!({ "status": status, "message": message }).to_string())
    }
}
