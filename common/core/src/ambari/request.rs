//! What is asked of an Ambari server.

use serde_json::{Value, json};

use super::Component;

/// The longest context that the server's database has room for; a longer one is answered by 500.
const CONTEXT: usize = 255;

/// How many of the newest requests are read. One that is unfinished is never far behind: a host that does not carry out
/// what it was handed loses it after a minute.
const NEWEST: u32 = 100;

/// How a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Writes; it has a body, and the header `X-Requested-By`.
    Put,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// How.
    pub method: Method,
    /// The path with its query, behind the server's URL.
    pub path: String,
    /// The body; empty for a read.
    pub body: String,
}

impl Component {
    /// The newest requests, with whom each concerns.
    pub(super) fn requests(&self) -> Request {
        let fields = "Requests/id,Requests/request_status,tasks/Tasks/status,tasks/Tasks/role,tasks/Tasks/host_name,tasks/Tasks/command";
        // `sortBy` would sort within the oldest ones, and a filter by status knows neither PENDING nor QUEUED.
        self.get(&format!("requests?to=end&page_size={NEWEST}&fields={fields}"))
    }

    /// What became of one request, with what its programs said.
    pub(super) fn request(&self, id: u64) -> Request {
        self.get(&format!("requests/{id}?fields=Requests/request_status,tasks/Tasks/stderr"))
    }

    /// This host.
    pub(super) fn host(&self) -> Request {
        let host = &self.host;
        self.get(&format!("hosts/{host}?fields=Hosts/host_state,Hosts/last_registration_time"))
    }

    /// The component on `host`.
    pub(super) fn roles(&self, host: &str) -> Request {
        let name = &self.name;
        self.get(&format!(
            "hosts/{host}/host_components/{name}?fields=HostRoles/state,HostRoles/desired_state,HostRoles/maintenance_state"
        ))
    }

    /// Orders its start, or its stop, on `host`. Of the levels only HOST_COMPONENT is carried out whatever the maintenance;
    /// HOST is answered by 500 and carried out all the same.
    pub(super) fn order(&self, host: &str, start: bool, why: &str) -> Request {
        let (verb, state) = if start { ("start", "STARTED") } else { ("stop", "INSTALLED") };
        let name = &self.name;
        let level = json!({
            "level": "HOST_COMPONENT",
            "cluster_name": self.server.cluster,
            "host_name": host,
        });
        let body = json!({
            "RequestInfo": {
                "context": context(&format!("headship: {verb} {name} on {host}{why}")),
                "operation_level": level,
            },
            "Body": { "HostRoles": { "state": state } },
        });
        self.put(&format!("hosts/{host}/host_components/{name}"), &body)
    }

    /// Takes it into maintenance on `host`, or out of it.
    pub(super) fn maintain(&self, host: &str, on: bool) -> Request {
        let (name, word) = (&self.name, if on { "ON" } else { "OFF" });
        let body = json!({
            "RequestInfo": { "context": context(&format!("headship: maintenance {word}")) },
            "Body": { "HostRoles": { "maintenance_state": word } },
        });
        self.put(&format!("hosts/{host}/host_components/{name}"), &body)
    }

    /// Aborts a request; without a reason it is not taken.
    pub(super) fn abort(&self, id: u64) -> Request {
        let why = format!("headship: {} may run on the active headnode only", self.name);
        let body = json!({
            "Requests": { "request_status": "ABORTED", "abort_reason": context(&why) },
        });
        self.put(&format!("requests/{id}"), &body)
    }

    fn get(&self, rest: &str) -> Request {
        Request { method: Method::Get, path: self.path(rest), body: String::new() }
    }

    fn put(&self, rest: &str, body: &Value) -> Request {
        Request { method: Method::Put, path: self.path(rest), body: body.to_string() }
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/clusters/{}/{rest}", self.server.cluster)
    }
}

fn context(text: &str) -> String {
    text.chars().take(CONTEXT).collect()
}
