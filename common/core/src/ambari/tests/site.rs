//! An Ambari server with its agents, as far as courses ask, and the host of one of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ambari::{Agent, Answer, Component, Course, Goal, Heard, Method, Request, Step, Why};
use crate::time::Time;

/// Longer than any course may take.
pub(super) const LIMIT: Duration = Duration::from_secs(180);

/// What tasks become of those that are queued, each time somebody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agents {
    /// Carried out.
    Work,
    /// Nothing.
    Hang,
    /// Given up by the server.
    AreLost,
    /// Tried in vain.
    Fail,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) id: u64,
    pub(super) role: String,
    pub(super) host: String,
    pub(super) command: String,
    pub(super) status: String,
}

/// At which second, and what.
type Event = (u64, fn(&mut Site));

pub(super) struct Site {
    pub(super) now: Time,
    /// State and last registration.
    pub(super) hosts: BTreeMap<&'static str, (&'static str, u64)>,
    /// State, desired state, maintenance.
    pub(super) roles: BTreeMap<&'static str, [&'static str; 3]>,
    pub(super) tasks: Vec<Task>,
    pub(super) agents: Agents,
    /// What the server answers to everything, if not what it should.
    pub(super) only: Option<Result<Answer, String>>,
    /// What it answers to orders, having done nothing.
    pub(super) to_orders: Option<Answer>,
    /// How many aborts it takes until one shows.
    pub(super) deaf: u32,
    /// Whether it runs on this host, whatever the server believes.
    pub(super) runs: bool,
    pub(super) gate: bool,
    pub(super) kept: Agent,
    /// What was written and done, in order.
    pub(super) log: Vec<String>,
    /// What happens at which second, beside all that.
    pub(super) events: Vec<Event>,
}

impl Site {
    pub(super) fn new() -> Self {
        Self {
            now: Time::from_millis(1000),
            hosts: [("h1", ("HEALTHY", 10)), ("h2", ("HEALTHY", 10))].into(),
            roles: ["h1", "h2"].map(|host| (host, ["INSTALLED", "INSTALLED", "ON"])).into(),
            tasks: Vec::new(),
            agents: Agents::Work,
            only: None,
            to_orders: None,
            deaf: 0,
            runs: false,
            gate: true,
            kept: Agent::default(),
            log: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(super) fn queue(&mut self, id: u64, host: &str, command: &str, status: &str) {
        let [role, host, command, status] =
            ["HISTORYSERVER", host, command, status].map(str::to_owned);
        self.tasks.push(Task { id, role, host, command, status });
    }

    pub(super) fn register(&mut self, host: &'static str, shown: (&'static str, u64)) {
        self.hosts.insert(host, shown);
    }

    /// Carries a course out to its end.
    pub(super) fn go(&mut self, component: Component, goal: Goal) -> Result<(), Why> {
        let begun = Course::begin(component, goal, self.kept.clone(), (self.now, LIMIT));
        let (mut course, mut step) = begun;
        for _ in 0..10_000 {
            let heard = match step {
                Step::Ask(request) => Heard::Answer(self.answer(&request)),
                Step::Look => Heard::Runs(Ok(self.runs)),
                Step::Kill(grace) => {
                    self.log.push(format!("kill after {grace:?}"));
                    self.runs = false;
                    Heard::Runs(Ok(false))
                }
                Step::Gate => Heard::Gate(self.gate),
                Step::Keep(agent) => {
                    self.kept = agent;
                    Heard::Kept(Ok(()))
                }
                Step::Wait(pause) => {
                    self.now = self.now.after(pause);
                    self.pass();
                    Heard::Waited
                }
                Step::End(ended) => return ended,
            };
            step = course.next(self.now, heard);
        }
        panic!("it has no end: {:?}", self.log);
    }

    fn pass(&mut self) {
        let second = self.now.as_micros() / 1_000_000;
        let due: Vec<_> = self.events.iter().filter(|(at, _)| *at <= second).copied().collect();
        self.events.retain(|(at, _)| *at > second);
        due.into_iter().for_each(|(_, event)| event(self));
        for place in 0..self.tasks.len() {
            let task = self.tasks[place].clone();
            let host = if task.host == "h1" { "h1" } else { "h2" };
            let is_known = task.role == "HISTORYSERVER" && self.roles.contains_key(&*task.host);
            if !is_known || !["PENDING", "QUEUED", "IN_PROGRESS"].contains(&task.status.as_str()) {
                continue;
            }
            let is_start = task.command != "STOP";
            let status = match self.agents {
                Agents::Hang => continue,
                Agents::AreLost => "ABORTED",
                Agents::Fail => "FAILED",
                Agents::Work => {
                    let role = self.roles.get_mut(host).unwrap();
                    role[0] = if is_start { "STARTED" } else { "INSTALLED" };
                    if host == "h1" {
                        self.runs = is_start;
                    }
                    "COMPLETED"
                }
            };
            self.tasks[place].status = status.to_owned();
        }
    }

    fn answer(&mut self, request: &Request) -> Result<Answer, String> {
        if let Some(only) = &self.only {
            return only.clone();
        }
        let path = request.path.strip_prefix("/api/v1/clusters/lab/").unwrap();
        let (path, _) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<&str> = path.split('/').collect();
        let body = || serde_json::from_str::<Value>(&request.body).unwrap();
        let answer = match (request.method, parts.as_slice()) {
            (Method::Get, ["requests"]) => (200, self.requests()),
            (Method::Get, ["requests", id]) => {
                let text = format!("Traceback\n  why {id} failed\n");
                (200, json!({ "tasks": [{ "Tasks": { "stderr": text } }] }))
            }
            (Method::Get, ["hosts", host]) => {
                let (state, at) = self.hosts[host];
                (200, json!({ "Hosts": { "host_state": state, "last_registration_time": at } }))
            }
            (Method::Get, ["hosts", host, _, "HISTORYSERVER"]) => match self.roles.get(host) {
                Some([state, desired, maintenance]) => (
                    200,
                    json!({ "HostRoles": {
                        "state": state, "desired_state": desired, "maintenance_state": maintenance,
                    } }),
                ),
                None => (404, json!({ "message": "it is not there" })),
            },
            (Method::Put, ["requests", id]) => self.abort(id.parse().unwrap(), &body()),
            (Method::Put, ["hosts", host, _, "HISTORYSERVER"]) => self.put(host, &body()),
            (method, parts) => panic!("{method:?} {parts:?}"),
        };
        let (status, body) = answer;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Ok(Answer { status, body })
    }

    fn requests(&self) -> Value {
        let item = |task: &Task| {
            json!({ "Requests": { "id": task.id }, "tasks": [{ "Tasks": {
                "role": task.role, "host_name": task.host, "command": task.command,
                "status": task.status,
            } }] })
        };
        json!({ "items": self.tasks.iter().map(item).collect::<Vec<_>>() })
    }

    fn abort(&mut self, id: u64, body: &Value) -> (u16, Value) {
        self.log.push(format!("abort {id}"));
        assert!(body["Requests"]["abort_reason"].is_string());
        if self.deaf > 0 {
            self.deaf -= 1;
        } else {
            let task = self.tasks.iter_mut().find(|task| task.id == id).unwrap();
            task.status = "ABORTED".to_owned();
        }
        (200, Value::Null)
    }

    fn put(&mut self, host: &str, body: &Value) -> (u16, Value) {
        let host = if host == "h1" { "h1" } else { "h2" };
        let wanted = &body["Body"]["HostRoles"];
        if let Some(word) = wanted["maintenance_state"].as_str() {
            self.log.push(format!("maintenance {word} {host}"));
            self.roles.get_mut(host).unwrap()[2] = if word == "ON" { "ON" } else { "OFF" };
            return (200, Value::Null);
        }
        assert_eq!(body["RequestInfo"]["operation_level"]["level"], "HOST_COMPONENT");
        let is_start = wanted["state"] == "STARTED";
        self.log.push(format!("{} {host}", if is_start { "start" } else { "stop" }));
        if let Some(answer) = self.to_orders.clone() {
            return (answer.status, Value::Null);
        }
        let desired = if is_start { "STARTED" } else { "INSTALLED" };
        let role = self.roles.get_mut(host).unwrap();
        let is_ignored = role[0] == "UNKNOWN" || role[0] == desired;
        role[1] = desired;
        if is_ignored {
            return (200, Value::Null);
        }
        if role[0] == "STARTING" && !is_start {
            return (500, json!({ "message": "Invalid transition" }));
        }
        role[0] = if is_start { "STARTING" } else { "STOPPING" };
        let id = 100 + self.tasks.len() as u64;
        self.queue(id, host, if is_start { "START" } else { "STOP" }, "PENDING");
        (202, json!({ "Requests": { "id": id, "status": "Accepted" } }))
    }
}
