//! Who is let in, and what each path is.

use serde_json::{Value, json};

use super::server::{Call, Reply, Server};
use super::state::{Component, State};
use super::{order, requests};

impl Server {
    /// The answer to a call.
    pub fn answer(&mut self, state: &mut State, call: &Call) -> Reply {
        let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let ["api", "v1", parts @ ..] = parts.as_slice() else { return Reply::new(404, "") };
        let (cookie, by_cookie) = match self.log_in(state, call) {
            Ok(cookie) => cookie,
            Err(reply) => return reply,
        };
        // What is in memory is told from there: a session, and the state of a component.
        let in_memory =
            matches!(parts, ["check"] | ["clusters", _, "hosts", _, "host_components", _]);
        if state.database_is_away && !(by_cookie && in_memory && call.method == "GET") {
            return Reply { after: state.pace.database, ..Reply::refusal(500, "Server Error") };
        }
        let writes = matches!(call.method.as_str(), "PUT" | "POST" | "DELETE");
        let mut reply = if writes && !call.headers.contains_key("x-requested-by") {
            let why = "CSRF protection is turned on. X-Requested-By HTTP header is required.";
            Reply::refusal(400, why)
        } else {
            self.at(state, call, parts, query)
        };
        reply.cookie = cookie;
        reply
    }

    /// A session that was begun, and whether the caller came with one that holds, which wins over any password.
    fn log_in(&mut self, state: &State, call: &Call) -> Result<(Option<String>, bool), Reply> {
        let given = call.headers.get("cookie");
        if given.is_some_and(|cookie| self.sessions.contains(cookie)) {
            return Ok((None, true));
        }
        let Some(basic) = call.headers.get("authorization") else {
            return Err(Reply::refusal(403, "Missing authentication token"));
        };
        let pairs = state.users.iter().map(|(user, password)| format!("{user}:{password}"));
        let is_known = pairs.map(|pair| format!("Basic {}", base64(pair.as_bytes())));
        if !is_known.into_iter().any(|known| known == *basic) {
            let why = "Unable to sign in. Invalid username/password combination.";
            return Err(Reply::refusal(403, why));
        }
        let cookie = format!("AMBARISESSIONID=node{}-{}", self.id, self.sessions.len());
        self.sessions.insert(cookie.clone());
        Ok((Some(cookie), false))
    }

    fn at(&mut self, state: &mut State, call: &Call, parts: &[&str], query: &str) -> Reply {
        let cluster = match parts {
            ["check"] => return Reply::new(200, "RUNNING"),
            ["clusters"] => {
                let item = json!({ "Clusters": { "cluster_name": state.cluster } });
                return Reply::new(200, json!({ "items": [item] }).to_string());
            }
            ["clusters", cluster, ..] => *cluster,
            _ => return Reply::refusal(404, "The requested resource doesn't exist"),
        };
        if cluster != state.cluster {
            return Reply::refusal(404, "The requested resource doesn't exist: Cluster not found");
        }
        let rest = parts.get(2..).unwrap_or_default();
        match (call.method.as_str(), rest) {
            ("GET", ["hosts", host]) => self.host(state, host),
            ("GET", ["hosts", host, "host_components", name]) => match find(state, host, name) {
                Some(component) => self.component(state, component),
                None => missing(),
            },
            ("PUT", ["hosts", host, "host_components", name]) => {
                order::put(self, state, (host, name), &call.body)
            }
            ("GET", ["requests"]) => requests::list(state, query),
            ("GET", ["requests", id]) => requests::one(state, id),
            ("PUT", ["requests", id]) => requests::abort(state, id, &call.body),
            ("POST", ["requests"]) => order::restart(self, state, &call.body),
            ("PATCH", _) => Reply::refusal(405, "Method Not Allowed"),
            _ => missing(),
        }
    }

    fn host(&self, state: &State, host: &str) -> Reply {
        let Some(believed) = self.hosts.get(host).filter(|_| state.hosts.contains_key(host)) else {
            return missing();
        };
        let told = json!({ "Hosts": {
            "host_name": host,
            "host_state": believed.state,
            "last_registration_time": believed.registered,
        } });
        Reply::new(200, told.to_string())
    }

    fn component(&self, state: &State, component: &Component) -> Reply {
        let told = json!({ "HostRoles": {
            "component_name": component.name,
            "host_name": component.host,
            "state": self.believes(&component.host, &component.name),
            "desired_state": component.desired,
            "maintenance_state": self.maintenance(state, component),
        } });
        Reply::new(200, told.to_string())
    }
}

pub(super) fn missing() -> Reply {
    Reply::refusal(404, "The requested resource doesn't exist")
}

pub(super) fn find<'a>(state: &'a State, host: &str, name: &str) -> Option<&'a Component> {
    state.components.iter().find(|it| it.host == host && it.name == name)
}

/// The body of a write, however it is wrapped: what belongs to the request, and the properties.
pub(super) fn unwrap(body: &str) -> Result<(Value, Value), Reply> {
    let parsed: Value = match serde_json::from_str(body) {
        Ok(parsed) => parsed,
        Err(_) if body.trim().is_empty() => Value::Null,
        Err(_) => return Err(Reply::refusal(400, "Invalid Request: Malformed Request Body")),
    };
    let info = parsed.get("RequestInfo").cloned().unwrap_or(Value::Null);
    let inner = parsed.get("Body").cloned().unwrap_or_else(|| parsed.clone());
    let properties = inner.as_object().is_some_and(|it| it.keys().any(|key| key != "RequestInfo"));
    if properties {
        Ok((info, inner))
    } else {
        Err(Reply::refusal(400, "Received an update request with no properties"))
    }
}

/// A text in a body, by its JSON pointer.
pub(super) fn text<'a>(body: &'a Value, pointer: &str) -> Option<&'a str> {
    body.pointer(pointer).and_then(Value::as_str)
}

/// As Basic wants it.
pub(super) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let at = |place: usize| u32::from(group.get(place).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let letter = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or_default();
            let letter = LETTERS.get(letter).copied().unwrap_or(b'=');
            text.push(if place > group.len() { '=' } else { char::from(letter) });
        }
    }
    text
}
