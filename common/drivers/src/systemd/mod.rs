//! Units over D-Bus: starting, stopping and seeing them, and hearing at once when one changes.
//!
//! Every call ends within the limit that its caller gives, as unknown if need be: the bus or PID 1 may hang. A call that
//! ran into its limit may still be carried out later; the gate is what keeps such a start harmless.

mod bus;
mod once;
mod unit;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use headship_core::services::{Ended, Observed};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{sleep, timeout};
use zbus::{OwnedObjectPath, OwnedVariant, Variant};

use self::bus::{Bus, MANAGER, Object, Signal, Trouble, unit_path};
pub(crate) use self::once::Once;
pub use self::unit::FAILED_WORDS;
use self::unit::{Listed, ServiceProperties};
pub(crate) use self::unit::{TRANSIENT, alias};

/// The interface of what only services have.
const SERVICE: &str = "org.freedesktop.systemd1.Service";
/// What the manager's state is called while the system goes down.
const STOPPING: &str = "stopping";
/// How soon a transient unit is tried again while systemd has not yet forgotten the one before it.
const AGAIN: Duration = Duration::from_millis(5);

/// systemd, over the system bus. Clones share one connection.
#[derive(Clone, Debug)]
pub struct Systemd {
    bus: Arc<Bus>,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This unit's state or job: look at it anew.
    Unit(String),
    /// Changes may have been missed: look at everything anew.
    All,
}

/// Tells of changes.
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Signal>);

/// What systemd is about to do with a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// It will be started (or only its start be verified).
    Start,
    /// It will be stopped.
    Stop,
    /// It will be stopped and started again.
    Restart,
    /// Something else, such as a reload; systemd's word.
    Other(String),
}

/// What a look at a unit found.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) observed: Observed,
    /// The unit's own name: another one than was asked for if that is an alias.
    pub(crate) own: String,
    /// Whether its process has ended though it was to stay, and systemd calls it active all the same.
    pub(crate) hollow: bool,
}

/// A question to systemd that has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(String);

/// A command that is to run as a transient unit.
#[derive(Clone, Debug)]
pub(crate) struct Transient<'a> {
    pub(crate) unit: &'a str,
    pub(crate) description: String,
    pub(crate) slice: &'a str,
    /// What runs before it, unless it needs not pass the gate.
    pub(crate) gate: Option<Vec<String>>,
    pub(crate) command: &'a [String],
    pub(crate) stop_limit: Duration,
    /// A credential that it is given.
    pub(crate) credential: Option<&'a str>,
    /// For a process that says itself when it is up; without it, it is up once it is executed.
    pub(crate) notify: Option<Notify>,
}

/// A process that stands for something else.
#[derive(Clone, Debug)]
pub(crate) struct Notify {
    /// How long it may take until it says that it is up.
    pub(crate) start_limit: Duration,
    /// What stops that, and does nothing if it is stopped: PID 1 runs it at a stop, and after every end.
    pub(crate) clear: Vec<String>,
}

impl Systemd {
    /// Begins to connect, and to listen for changes of `units`. Must be called within a tokio runtime. That there is no
    /// bus yet is no error: calls wait for it.
    pub fn open(units: impl IntoIterator<Item = String>) -> Self {
        Self { bus: Arc::new(Bus::open(units)) }
    }

    /// Changes of the units given to `open`, from now on.
    pub fn changes(&self) -> Changes {
        Changes(self.bus.signals())
    }

    /// Starts a unit and waits for the job's end. `gate` is the path of the start gate, to tell its refusal from a crash.
    pub async fn start(&self, unit: &str, gate: &Path, limit: Duration) -> Ended {
        let job = async {
            let method = match self.way_to_start(unit).await {
                Ok(Ok(method)) => method,
                Ok(Err(why)) => return failed(why),
                Err(trouble) => return trouble.into(),
            };
            match self.job(method, &(unit, "replace"), unit).await {
                Ok(end) => self.started(unit, gate, end).await,
                Err(trouble) => trouble.into(),
            }
        };
        within(limit, job).await.unwrap_or_else(|why| Ended::Unknown { why })
    }

    /// Stops a unit and waits for the job's end. A queued start job is replaced. A unit that does not exist is stopped.
    /// Whether it left processes behind is for the control group to say.
    pub async fn stop(&self, unit: &str, limit: Duration) -> Ended {
        let job = async {
            match self.job("StopUnit", &(unit, "replace"), unit).await {
                Ok(End::Result(result)) => ended(&result),
                Ok(End::Unseen(seen)) if seen.is_down() => Ended::Done,
                Ok(End::Unseen(seen)) => failed(format!("it is {}", seen.as_str())),
                Err(Trouble::Refused { name, .. }) if name.ends_with(".NoSuchUnit") => Ended::Done,
                Err(trouble) => trouble.into(),
            }
        };
        within(limit, job).await.unwrap_or_else(|why| Ended::Unknown { why })
    }

    /// What a unit is doing now; `None` if systemd does not answer.
    pub(crate) async fn look(&self, unit: &str, gate: &Path, limit: Duration) -> Option<Look> {
        let look = async { self.try_look(unit, gate).await.map_err(Unanswered::from) };
        let look = within(limit, look).await.map_err(Unanswered);
        look.flatten().inspect_err(|why| tracing::debug!("{unit} cannot be seen: {why}")).ok()
    }

    /// Of each of these units why it cannot be started, if so; `None` if systemd does not answer.
    pub(crate) async fn unusable(
        &self,
        units: &[&str],
        limit: Duration,
    ) -> Option<Vec<Option<String>>> {
        let listed = within(limit, self.list_all(units)).await.ok()?.ok()?;
        Some(units.iter().zip(listed).map(|(unit, listed)| listed.unusable(unit)).collect())
    }

    /// What systemd is about to do with a unit; for our own, at SIGTERM.
    pub async fn job_of(&self, unit: &str, limit: Duration) -> Result<Option<Job>, Unanswered> {
        let listed = within(limit, self.list(unit)).await.map_err(Unanswered)?;
        listed.map(|listed| listed.job()).map_err(Unanswered::from)
    }

    /// Whether the whole system is going down.
    pub async fn shutting_down(&self, limit: Duration) -> Result<bool, Unanswered> {
        let state = within(limit, self.bus.property::<OwnedVariant>(MANAGER, "SystemState"));
        let state = state.await.map_err(Unanswered)?.map_err(Unanswered::from)?;
        Ok(*state == Variant::from(STOPPING))
    }

    /// Starts a command as a transient unit and waits for the job's end.
    pub(crate) async fn start_transient(
        &self,
        it: &Transient<'_>,
        gate: &Path,
        limit: Duration,
    ) -> Ended {
        let job = async {
            loop {
                let none: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
                let body = (it.unit, "replace", unit::transient_properties(it), none);
                match self.job("StartTransientUnit", &body, it.unit).await {
                    Ok(end) => return self.started(it.unit, gate, end).await,
                    Err(Trouble::Refused { name, .. }) if name.ends_with(".UnitExists") => {}
                    Err(trouble) => return trouble.into(),
                }
                // One of this name runs, has failed, or is about to be forgotten.
                match self.try_look(it.unit, gate).await.map(|look| look.observed) {
                    Ok(Observed::Running) => return Ended::Done,
                    Ok(Observed::Failed { .. }) => {
                        let reset: Result<(), _> =
                            self.bus.call(MANAGER, "ResetFailedUnit", &it.unit).await;
                        // A unit that vanished meanwhile needs no reset; any other fault shows in the next round.
                        drop(reset);
                    }
                    Ok(
                        Observed::Stopped
                        | Observed::Starting
                        | Observed::Stopping
                        | Observed::Unknown,
                    )
                    | Err(_) => {}
                }
                sleep(AGAIN).await;
            }
        };
        within(limit, job).await.unwrap_or_else(|why| Ended::Unknown { why })
    }

    /// Asks for a job and waits for its end.
    async fn job<B>(&self, method: &str, body: &B, unit: &str) -> Result<End, Trouble>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType + Sync,
    {
        // Before the call: the end of a short job is told before its beginning is answered.
        let mut signals = self.bus.signals();
        let job: OwnedObjectPath = self.bus.call(MANAGER, method, body).await?;
        loop {
            match signals.recv().await {
                Ok(Signal::JobRemoved { job: ended, result }) if ended == job => {
                    return Ok(End::Result(result));
                }
                Ok(Signal::JobRemoved { .. } | Signal::Unit(_)) => {}
                Ok(Signal::Resync) | Err(RecvError::Lagged(_)) => {
                    // Its end may have been missed: then the unit's state has to tell.
                    let listed = self.list(unit).await?;
                    if listed.job_path != job {
                        return Ok(End::Unseen(listed.observed()));
                    }
                }
                Err(RecvError::Closed) => return Err(Trouble::unknown("D-Bus is shut down")),
            }
        }
    }

    async fn started(&self, unit: &str, gate: &Path, end: End) -> Ended {
        match end {
            End::Result(result) if result == "failed" => self.fault(unit, gate).await,
            End::Result(result) => ended(&result),
            End::Unseen(Observed::Running) => Ended::Done,
            End::Unseen(Observed::Failed { .. }) => self.fault(unit, gate).await,
            End::Unseen(seen) => {
                let why = format!("the end of the start was missed; it is {}", seen.as_str());
                Ended::Unknown { why }
            }
        }
    }

    async fn fault(&self, unit: &str, gate: &Path) -> Ended {
        let service = self.service(unit).await.ok();
        let by_gate = service.as_ref().is_some_and(|service| service.refused_by(gate));
        let why = service.and_then(|service| service.fault(gate));
        Ended::Failed { why: why.unwrap_or_else(|| unit::FAILED.to_owned()), by_gate }
    }

    async fn try_look(&self, unit: &str, gate: &Path) -> Result<Look, Trouble> {
        let listed = self.list(unit).await?;
        let mut observed = listed.observed();
        if listed.has_failed()
            && let Observed::Failed { .. } = observed
            && let Ok(service) = self.service(unit).await
            && let Some(why) = service.fault(gate)
        {
            observed = Observed::Failed { why };
        }
        let hollow = self.is_hollow(&listed).await?;
        Ok(Look { observed, own: listed.name, hollow })
    }

    /// Whether its process has ended though it was to stay. That of a `oneshot` is to end.
    async fn is_hollow(&self, listed: &Listed) -> Result<bool, Trouble> {
        if !listed.has_exited() {
            return Ok(false);
        }
        let path = unit_path(&listed.name);
        let service = Object { path: &path, interface: SERVICE };
        let kind: OwnedVariant = self.bus.property(service, "Type").await?;
        Ok(*kind != Variant::from("oneshot"))
    }

    /// The method that starts a unit; or why none does.
    async fn way_to_start(&self, unit: &str) -> Result<Result<&'static str, String>, Trouble> {
        let listed = self.list(unit).await?;
        if listed.name != unit {
            return Ok(Err(alias(unit, &listed.name)));
        }
        // To systemd a hollow unit is up, so its start would be no more than a nod.
        Ok(Ok(if self.is_hollow(&listed).await? { "RestartUnit" } else { "StartUnit" }))
    }

    async fn list(&self, unit: &str) -> Result<Listed, Trouble> {
        let none = || Trouble::unknown("systemd's answer is empty");
        self.list_all(&[unit]).await?.pop().ok_or_else(none)
    }

    /// These units, in this order.
    async fn list_all(&self, units: &[&str]) -> Result<Vec<Listed>, Trouble> {
        let listed: Vec<Listed> = self.bus.call(MANAGER, "ListUnitsByNames", &units).await?;
        if listed.len() == units.len() {
            Ok(listed)
        } else {
            Err(Trouble::unknown("systemd's answer is not of the units that were asked for"))
        }
    }

    async fn service(&self, unit: &str) -> Result<ServiceProperties, Trouble> {
        let path = unit_path(unit);
        self.bus.properties(Object { path: &path, interface: SERVICE }).await
    }
}

impl Changes {
    /// Waits for the next change. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Change {
        loop {
            match self.0.recv().await {
                Ok(Signal::Unit(unit)) => return Change::Unit(unit),
                Ok(Signal::Resync) | Err(RecvError::Lagged(_)) => return Change::All,
                Ok(Signal::JobRemoved { .. }) => {}
                // The last handle is gone, so nobody is left to act on a change either.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// How a job ended.
enum End {
    /// systemd's word for it.
    Result(String),
    /// Nobody saw it; what the unit did afterwards.
    Unseen(Observed),
}

/// What systemd's word for the end of a job means.
fn ended(result: &str) -> Ended {
    failed(match result {
        "done" => return Ended::Done,
        "canceled" => "another order took its place".to_owned(),
        "timeout" => "it took longer than its unit allows".to_owned(),
        "dependency" => "a unit that it requires failed".to_owned(),
        other => format!("systemd says: {other}"),
    })
}

fn failed(why: String) -> Ended {
    Ended::Failed { why, by_gate: false }
}

impl From<Trouble> for Ended {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unknown { why } => Self::Unknown { why },
            Trouble::Refused { name, .. } if name.ends_with(".UnitMasked") => {
                failed("its unit is masked: `systemctl unmask` it".to_owned())
            }
            Trouble::Refused { text, .. } => failed(format!("systemd refuses: {text}")),
        }
    }
}

impl From<Trouble> for Unanswered {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unknown { why } => Self(why),
            Trouble::Refused { text, .. } => Self(format!("systemd refuses: {text}")),
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Other(word) => word,
        })
    }
}

/// The future's value, or the sentence that it took too long.
async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, String> {
    timeout(limit, future).await.map_err(|_elapsed| format!("systemd did not answer in {limit:?}"))
}
