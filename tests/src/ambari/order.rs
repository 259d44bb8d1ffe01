//! Orders about components, and which of them are ignored.

use serde_json::{Value, json};

use super::answer::{find, missing, text, unwrap};
use super::server::{Reply, Server};
use super::state::{Request, State};

/// The longest context that the database has room for.
const CONTEXT: usize = 255;

/// An order for one component on one host.
pub(super) fn put(
    server: &mut Server,
    state: &mut State,
    (host, name): (&str, &str),
    body: &str,
) -> Reply {
    if find(state, host, name).is_none() {
        return missing();
    }
    let (info, wanted) = match unwrap(body) {
        Ok(parts) => parts,
        Err(reply) => return reply,
    };
    let context = text(&info, "/context").unwrap_or_default();
    if context.chars().count() > CONTEXT {
        return Reply::refusal(500, "Server Error");
    }
    let level = match level(&info) {
        Ok(level) => level,
        Err(reply) => return reply,
    };
    if let Some(word) = text(&wanted, "/HostRoles/maintenance_state") {
        if word != "ON" && word != "OFF" {
            let why = "can only set maintenance state to one of [OFF, ON]";
            return Reply::refusal(400, why);
        }
        let component = state.components.iter_mut().find(|it| it.host == host && it.name == name);
        if let Some(component) = component {
            server.maintain(component, word == "ON");
        }
    }
    let Some(word) = text(&wanted, "/HostRoles/state") else { return Reply::new(200, "") };
    match word {
        "STARTED" | "INSTALLED" => {
            let reply = to_state(server, state, (host, name), (word, level.as_str(), context));
            // Its audit stumbles after it was done.
            if level == "HOST" { Reply::refusal(500, "Server Error") } else { reply }
        }
        "STARTING" | "STOPPING" => Reply::refusal(400, "invalid desired state"),
        other => {
            let why = format!("No enum constant org.apache.ambari.server.state.State.{other}");
            Reply::refusal(400, &why)
        }
    }
}

/// The operation level; empty if none is given.
fn level(info: &Value) -> Result<String, Reply> {
    let Some(given) = info.get("operation_level") else { return Ok(String::new()) };
    let level = text(given, "/level").unwrap_or_default();
    if !["CLUSTER", "SERVICE", "HOST", "HOST_COMPONENT"].contains(&level) {
        return Err(Reply::refusal(400, &format!("Wrong operation level value: {level}")));
    }
    if text(given, "/cluster_name").is_none() {
        let why = "Mandatory key operation_level/cluster_name for operation level is not specified";
        return Err(Reply::refusal(400, why));
    }
    Ok(level.to_owned())
}

fn is_carried_out(level: &str, maintenance: &str) -> bool {
    match level {
        "HOST_COMPONENT" => true,
        "HOST" => matches!(maintenance, "OFF" | "IMPLIED_FROM_HOST"),
        "SERVICE" => matches!(maintenance, "OFF" | "IMPLIED_FROM_SERVICE"),
        _ => maintenance == "OFF",
    }
}

fn to_state(
    server: &mut Server,
    state: &mut State,
    (host, name): (&str, &str),
    (word, level, context): (&str, &str, &str),
) -> Reply {
    let maintenance = find(state, host, name).map_or("OFF", |it| server.maintenance(state, it));
    if !is_carried_out(level, maintenance) {
        return Reply::new(200, "");
    }
    let believed = server.believes(host, name).to_owned();
    let refused = |now: &str| {
        matches!((now, word), ("STARTING", "INSTALLED") | ("STOPPING", "STARTED"))
            || (now == "INIT" && word == "INSTALLED")
    };
    if refused(&believed) {
        return Reply::refusal(500, "Server Error");
    }
    for component in state.components.iter_mut().filter(|it| it.host == host && it.name == name) {
        word.clone_into(&mut component.desired);
    }
    // An id is used up all the same.
    state.last_id += 1;
    let is_lost = server.hosts.get(host).is_none_or(|it| it.state == "HEARTBEAT_LOST");
    if is_lost || believed == "UNKNOWN" || believed == word {
        return Reply::new(200, "");
    }
    let (command, next) =
        if word == "STARTED" { ("START", "STARTING") } else { ("STOP", "STOPPING") };
    server.believe(host, name, next);
    queue(server.id, state, (host, name), (command, &[command], context))
}

fn queue(
    server: u64,
    state: &mut State,
    (host, name): (&str, &str),
    (command, steps, context): (&str, &[&str], &str),
) -> Reply {
    let id = state.last_id;
    state.requests.push(Request {
        id,
        context: context.to_owned(),
        server,
        host: host.to_owned(),
        role: name.to_owned(),
        command: command.to_owned(),
        steps: steps.iter().map(|it| (*it).to_owned()).collect(),
        status: "PENDING".to_owned(),
        aborted: false,
        stderr: String::new(),
    });
    let told = json!({
        "href": format!("/api/v1/clusters/{}/requests/{id}", state.cluster),
        "Requests": { "id": id, "status": "Accepted" },
    });
    Reply::new(202, told.to_string())
}

/// RESTART: stops and starts whatever is believed, and whatever the maintenance.
pub(super) fn restart(server: &Server, state: &mut State, body: &str) -> Reply {
    let Ok(body) = serde_json::from_str::<Value>(body) else {
        return Reply::refusal(400, "Invalid Request: Malformed Request Body");
    };
    let filter = |key: &str| text(&body, &format!("/Requests~1resource_filters/0/{key}"));
    let (host, name) = (filter("hosts"), filter("component_name"));
    let (Some(host), Some(name)) = (host, name) else { return missing() };
    if text(&body, "/RequestInfo/command") != Some("RESTART") || find(state, host, name).is_none() {
        return missing();
    }
    for component in state.components.iter_mut().filter(|it| it.host == host && it.name == name) {
        "STARTED".clone_into(&mut component.desired);
    }
    state.last_id += 1;
    let context = text(&body, "/RequestInfo/context").unwrap_or_default();
    let reply =
        queue(server.id, state, (host, name), ("CUSTOM_COMMAND", &["STOP", "START"], context));
    let is_lost = server.hosts.get(host).is_none_or(|it| it.state == "HEARTBEAT_LOST");
    if let Some(request) = state.requests.last_mut().filter(|_| is_lost) {
        "ABORTED".clone_into(&mut request.status);
    }
    reply
}
