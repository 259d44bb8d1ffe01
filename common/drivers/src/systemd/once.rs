//! A program that runs once, as a transient unit whose end is awaited.
//!
//! Its start job is its run (`Type=oneshot`), so the end of the job is the end of the program, and the limit of its start is
//! the limit of the whole: PID 1 holds it even if nobody waits any more.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use headship_core::fencing::End;
use tokio::time::timeout;
use zbus::{Fd, Variant};

use super::bus::{MANAGER, Trouble};
use super::unit::load_credential;
use super::{End as JobEnd, Systemd};

/// How much longer than its limit the end of a unit is waited for: PID 1 ends it at the limit.
const BEYOND: Duration = Duration::from_secs(1);

/// A program that is to run once.
#[derive(Debug)]
pub(crate) struct Once<'a> {
    pub(crate) unit: &'a str,
    pub(crate) description: String,
    pub(crate) slice: &'a str,
    pub(crate) command: &'a [String],
    pub(crate) environment: &'a [(String, String)],
    /// Its standard input, output and errors; without them there is no input, and the journal gets the rest.
    pub(crate) stdio: Option<[OwnedFd; 3]>,
    /// A credential that it is given.
    pub(crate) credential: Option<&'a str>,
    /// How long it may take.
    pub(crate) limit: Duration,
}

impl Systemd {
    /// Runs a program once, and waits for its end. What then is left of its control group is for the caller to kill.
    pub(crate) async fn run_once(&self, once: Once<'_>) -> End {
        let (unit, limit) = (once.unit.to_owned(), once.limit);
        let run = async {
            let none: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
            // A new connection begins with the word that signals may have been missed. It has to be over before the job
            // begins: the end of a short run could else not be told from one that was missed.
            if let Err(trouble) = self.list(once.unit).await {
                let (Trouble::Unknown { why } | Trouble::Refused { text: why, .. }) = trouble;
                return End::Unseen(format!("cannot be run: {why}"));
            }
            let ended = {
                let body = (once.unit, "replace", properties(&once), none);
                self.job("StartTransientUnit", &body, once.unit).await
            };
            // Its pipes are its own now: their end is the end of its words.
            drop(once);
            match ended {
                Ok(JobEnd::Result(result)) if result == "done" => End::Exited(0),
                Ok(JobEnd::Result(_)) => self.failure(&unit, limit).await,
                Ok(JobEnd::Unseen(_)) => {
                    End::Unseen("was not seen to end: signals of systemd were lost".to_owned())
                }
                Err(Trouble::Unknown { why }) => End::Unseen(format!("was not seen to end: {why}")),
                Err(Trouble::Refused { text, .. }) => {
                    End::Unseen(format!("cannot be run: systemd refuses: {text}"))
                }
            }
        };
        timeout(limit.saturating_add(BEYOND), run).await.unwrap_or(End::Late(limit))
    }

    /// How a run ended that was no success. systemd remembers it until it is told to forget.
    async fn failure(&self, unit: &str, limit: Duration) -> End {
        let service = match self.service(unit).await {
            Ok(service) => service,
            Err(Trouble::Unknown { why } | Trouble::Refused { text: why, .. }) => {
                return End::Unseen(format!("was not seen to end: {why}"));
            }
        };
        let reset: Result<(), _> = self.bus.call(MANAGER, "ResetFailedUnit", &unit).await;
        // A unit that stays listed as failed is in nobody's way.
        drop(reset);
        service.end(limit)
    }
}

/// Nothing but SIGKILL: at its limit a program had all the time that there is.
fn properties<'a>(once: &'a Once<'_>) -> Vec<(&'static str, Variant<'a>)> {
    // Zero would be no limit at all.
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX).max(1);
    let path = once.command.first().cloned().unwrap_or_default();
    let environment: Vec<String> =
        once.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let fd = |fd: &'a OwnedFd| Variant::Fd(Fd::from(fd.as_fd()));
    let mut properties = vec![
        ("Description", Variant::new(once.description.clone())),
        ("Slice", Variant::new(once.slice.to_owned())),
        ("Type", Variant::new("oneshot")),
        ("StartLimitIntervalUSec", Variant::new(0_u64)),
        ("TimeoutStartUSec", Variant::new(micros(once.limit))),
        ("TimeoutStopUSec", Variant::new(micros(BEYOND))),
        ("KillSignal", Variant::new(9_i32)),
        ("Environment", Variant::new(environment)),
        ("ExecStart", Variant::new(vec![(path, once.command.to_vec(), false)])),
    ];
    if let Some([input, output, errors]) = &once.stdio {
        properties.extend([
            ("StandardInputFileDescriptor", fd(input)),
            ("StandardOutputFileDescriptor", fd(output)),
            ("StandardErrorFileDescriptor", fd(errors)),
        ]);
    }
    properties.extend(once.credential.map(load_credential));
    properties
}
