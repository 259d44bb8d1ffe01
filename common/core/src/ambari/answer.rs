//! What an Ambari server's answers mean.

use serde::Deserialize;

/// What came back to a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body. Its type says text though it is JSON.
    pub body: String,
}

/// Why an answer tells nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It may be better in a moment.
    Passing(String),
    /// It stays until somebody changes something.
    Lasting(String),
}

/// A host, as the server believes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Host {
    #[serde(rename = "host_state")]
    pub(super) state: String,
    /// In milliseconds of the server's clock; rises with each registration.
    #[serde(rename = "last_registration_time")]
    pub(super) registered: u64,
}

/// A component on a host, as the server believes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Roles {
    pub(super) state: String,
    #[serde(rename = "desired_state")]
    pub(super) desired: String,
    /// What is in force: its own maintenance hides that of its host and its service.
    #[serde(rename = "maintenance_state")]
    pub(super) maintenance: String,
}

/// A part of a request: one command on one host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Task {
    pub(super) status: String,
    pub(super) role: String,
    #[serde(rename = "host_name")]
    pub(super) host: String,
    pub(super) command: String,
}

/// A request that was queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) id: u64,
    pub(super) tasks: Vec<Task>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskEnd {
    /// It did not yet.
    Open,
    /// The agent said that it was carried out.
    Well,
    /// The agent said that it was not.
    Badly,
    /// The server gave it up. The agent may hold it still: one that was frozen carried it out a second after it woke.
    Cut,
}

impl Host {
    /// The agent has registered with the very server that says so: each server finds every host lost when it starts.
    pub(super) fn is_healthy(&self) -> bool {
        self.state == "HEALTHY"
    }

    /// Its registration is over. One that has registered and not reported yet is neither healthy nor lost.
    pub(super) fn is_lost(&self) -> bool {
        !self.is_healthy() && self.state != "WAITING_FOR_HOST_STATUS_UPDATES"
    }
}

impl Roles {
    /// The server knows nothing of it: it ignores orders, and takes down all the same what is desired.
    pub(super) fn is_unknown(&self) -> bool {
        self.state == "UNKNOWN"
    }

    pub(super) fn is_started(&self) -> bool {
        self.state == "STARTED"
    }

    pub(super) fn is_changing(&self) -> bool {
        matches!(self.state.as_str(), "STARTING" | "STOPPING" | "INSTALLING" | "UPGRADING")
    }

    /// Whether an agent that restarts what is down would start it.
    pub(super) fn is_desired(&self) -> bool {
        self.desired == "STARTED"
    }

    pub(super) fn is_in_maintenance(&self) -> bool {
        self.maintenance == "ON"
    }
}

impl Task {
    pub(super) fn end(&self) -> TaskEnd {
        match self.status.as_str() {
            "COMPLETED" => TaskEnd::Well,
            "FAILED" => TaskEnd::Badly,
            "ABORTED" | "TIMEDOUT" | "SKIPPED_FAILED" => TaskEnd::Cut,
            // PENDING, QUEUED, IN_PROGRESS, HOLDING and its kin, and whatever a later version says.
            _ => TaskEnd::Open,
        }
    }

    /// Whether it may start something. RESTART comes as CUSTOM_COMMAND: whatever is not known to start nothing does.
    pub(super) fn starts(&self) -> bool {
        !matches!(self.command.as_str(), "STOP" | "INSTALL" | "UNINSTALL" | "ABORT")
    }

    pub(super) fn is_of(&self, component: &str, host: &str) -> bool {
        self.role == component && self.host == host
    }
}

/// `None` if the server has no such thing.
type Found<T> = Result<Option<T>, Trouble>;

pub(super) fn host(answer: &Answer) -> Found<Host> {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(rename = "Hosts")]
        host: Host,
    }
    Ok(found::<Envelope>(answer)?.map(|envelope| envelope.host))
}

pub(super) fn roles(answer: &Answer) -> Found<Roles> {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(rename = "HostRoles")]
        roles: Roles,
    }
    Ok(found::<Envelope>(answer)?.map(|envelope| envelope.roles))
}

pub(super) fn requests(answer: &Answer) -> Found<Vec<Queued>> {
    #[derive(Deserialize)]
    struct Envelope {
        items: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(rename = "Requests")]
        request: Id,
        #[serde(default)]
        tasks: Vec<Inner>,
    }
    #[derive(Deserialize)]
    struct Id {
        id: u64,
    }
    #[derive(Deserialize)]
    struct Inner {
        #[serde(rename = "Tasks")]
        task: Task,
    }
    let queued = |item: Item| Queued {
        id: item.request.id,
        tasks: item.tasks.into_iter().map(|inner| inner.task).collect(),
    };
    let found = found::<Envelope>(answer)?;
    Ok(found.map(|envelope| envelope.items.into_iter().map(queued).collect()))
}

/// The id of what an order has queued; none if it was answered in any other way, which proves nothing: 200 has four causes,
/// and 500 may mean that it was done.
pub(super) fn accepted(answer: &Answer) -> Option<u64> {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(rename = "Requests")]
        request: Id,
    }
    #[derive(Deserialize)]
    struct Id {
        id: u64,
    }
    let envelope = || serde_json::from_str::<Envelope>(&answer.body).ok();
    if answer.status == 202 { envelope().map(|it| it.request.id) } else { None }
}

/// What the programs of a request wrote on their standard error, in one line.
pub(super) fn stderr(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(default)]
        tasks: Vec<Inner>,
    }
    #[derive(Deserialize)]
    struct Inner {
        #[serde(rename = "Tasks")]
        task: Said,
    }
    #[derive(Deserialize)]
    struct Said {
        #[serde(default)]
        stderr: String,
    }
    let envelope: Option<Envelope> = serde_json::from_str(&answer.body).ok();
    let said = envelope.into_iter().flat_map(|it| it.tasks).map(|it| it.task.stderr);
    // What is to the point stands at the end of a traceback.
    let last = |text: String| text.trim().lines().last().unwrap_or_default().trim().to_owned();
    said.map(last).find(|line| !line.is_empty()).unwrap_or_else(|| "no reason".to_owned())
}

/// Why an answer to a write shows that nobody will ever be let write, if so.
pub(super) fn refused(answer: &Answer) -> Option<Trouble> {
    match answer.status {
        200..=299 | 404 | 500.. => None,
        _ => trouble(answer),
    }
}

fn found<'a, T: Deserialize<'a>>(answer: &'a Answer) -> Found<T> {
    match answer.status {
        200 => serde_json::from_str(&answer.body).map(Some).map_err(|error| {
            Trouble::Passing(format!("Ambari answers what is not understood: {error}"))
        }),
        404 => Ok(None),
        _ => match trouble(answer) {
            Some(trouble) => Err(trouble),
            None => Err(Trouble::Passing(format!("Ambari answers with {}", answer.status))),
        },
    }
}

fn trouble(answer: &Answer) -> Option<Trouble> {
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    let message = serde_json::from_str::<Message>(&answer.body).map(|it| it.message);
    let said = message.unwrap_or_default();
    let said = said.lines().next().unwrap_or_default();
    match answer.status {
        401 | 403 => Some(Trouble::Lasting(format!(
            "Ambari refuses its login ({}: {said}): correct the credentials, or give the user the role of a service operator",
            answer.status
        ))),
        400..=499 => {
            Some(Trouble::Lasting(format!("Ambari refuses with {}: {said}", answer.status)))
        }
        500.. => Some(Trouble::Passing(format!("Ambari answers with {}", answer.status))),
        _ => None,
    }
}

/// The cookie that a `Set-Cookie` header gives, as it goes back. Without it each request would leave a session behind.
pub fn cookie(header: &str) -> Option<String> {
    let pair = header.split(';').next().unwrap_or_default().trim();
    pair.contains('=').then(|| pair.to_owned())
}
