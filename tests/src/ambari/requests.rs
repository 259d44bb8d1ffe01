//! Requests: listed, shown, and given up.

use serde_json::{Value, json};

use super::answer::{missing, text, unwrap};
use super::server::Reply;
use super::state::{Request, State};

/// How many are listed unasked.
const PAGE: usize = 20;

/// The list, by what the query says of it.
pub(super) fn list(state: &State, query: &str) -> Reply {
    let value = |key: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| *name == key).map(|(_, value)| value).next()
    };
    let mut all: Vec<&Request> = state.requests.iter().collect();
    if let Some(wanted) = value("Requests/request_status") {
        if !["IN_PROGRESS", "COMPLETED", "FAILED"].contains(&wanted) {
            let why = format!(
                "No enum constant org.apache.ambari.server.actionmanager.RequestStatus.{wanted}"
            );
            return Reply::refusal(400, &why);
        }
        all.retain(|it| status(it) == wanted);
    }
    if value("from") == Some("end") {
        return Reply::refusal(400, "Invalid page");
    }
    let size = value("page_size").and_then(|size| size.parse().ok());
    let is_newest = value("to") == Some("end") || size.is_none();
    let size = size.unwrap_or(PAGE).min(all.len());
    let from = if is_newest { all.len() - size } else { 0 };
    let mut page: Vec<&Request> = all.into_iter().skip(from).take(size).collect();
    // Within what was picked already, which are the oldest.
    if value("sortBy") == Some("Requests/id.desc") {
        page.reverse();
    }
    let items: Vec<Value> = page.into_iter().map(|it| item(it, false)).collect();
    Reply::new(200, json!({ "items": items }).to_string())
}

/// One of them.
pub(super) fn one(state: &State, id: &str) -> Reply {
    let found = state.requests.iter().find(|it| it.id.to_string() == id);
    found.map_or_else(missing, |it| Reply::new(200, item(it, true).to_string()))
}

/// Gives one up, at once. What an agent holds of it, it holds.
pub(super) fn abort(state: &mut State, id: &str, body: &str) -> Reply {
    let Some(request) = state.requests.iter_mut().find(|it| it.id.to_string() == id) else {
        return missing();
    };
    let wanted = match unwrap(body) {
        Ok((_, wanted)) => wanted,
        Err(reply) => return reply,
    };
    if text(&wanted, "/Requests/abort_reason").is_none() {
        return Reply::refusal(400, "Abort reason can not be null.");
    }
    if request.is_open() {
        request.aborted = true;
        "ABORTED".clone_into(&mut request.status);
    }
    Reply::new(200, "")
}

fn status(request: &Request) -> &str {
    match request.status.as_str() {
        _ if request.aborted => "ABORTED",
        "QUEUED" => "IN_PROGRESS",
        other => other,
    }
}

fn item(request: &Request, with_stderr: bool) -> Value {
    let mut task = json!({
        "request_id": request.id,
        "host_name": request.host,
        "role": request.role,
        "command": request.command,
        "status": request.status,
        // Whatever became of it.
        "exit_code": 0,
    });
    if with_stderr {
        let task = task.as_object_mut().expect("it was made one above");
        task.insert("stderr".to_owned(), json!(request.stderr));
    }
    json!({
        "Requests": {
            "id": request.id,
            "request_context": request.context,
            "request_status": status(request),
        },
        "tasks": [{ "Tasks": task }],
    })
}
