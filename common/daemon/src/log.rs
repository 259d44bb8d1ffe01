//! The log: journald with fields where the process is a unit, plain lines on stderr where it is not.
//!
//! What is said, and when, is decided in the core; here it gets its fields. The level is the one thing that comes from the
//! environment: `HEADSHIP_LOG=debug`, or a list such as `info,zookeeper_client=debug`.

use std::env;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use headship_core::epoch::Epoch;
use headship_core::node::NodeName;
use headship_core::say::{Kind, Level, Line};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, fmt};

use crate::journal::{self, Journal};

/// What sets the level.
const LEVEL: &str = "HEADSHIP_LOG";

/// The suite's own crates: the level is theirs. Libraries may warn only, unless they are named.
const OURS: [&str; 6] = [
    "headship",
    "master_fc",
    "master_ha_service",
    "health_monitor",
    "slave_fc",
    "slave_ha_service",
];

/// What each line of a daemon tells beside its sentence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stands {
    /// What the daemon's host is, by what the daemon knows of it.
    pub role: &'static str,
    /// The last epoch that it knows of; a line that is about another one names that instead.
    pub epoch: Option<Epoch>,
}

/// Of this process: libraries and other threads log, too, and know nothing of it.
static STANDS: Mutex<Stands> = Mutex::new(Stands { role: "", epoch: None });

/// From now on each line tells this.
pub fn stand(stands: Stands) {
    *STANDS.lock().unwrap_or_else(PoisonError::into_inner) = stands;
}

pub(crate) fn stands() -> Stands {
    *STANDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends what is logged from now on to the journal or to stderr, in the name of `program` on `node`.
///
/// # Errors
///
/// It was called before.
pub fn init(program: &str, node: &NodeName) -> Result<(), TryInitError> {
    let level = env::var(LEVEL).ok();
    let (filter, misread) = filter(level.as_deref());
    let registry = Registry::default().with(filter);
    let head = [("SYSLOG_IDENTIFIER", program), ("HEADSHIP_NODE", node.as_str())];
    match Journal::new(Path::new(journal::SOCKET), &head) {
        Ok(journal) if stderr_is_the_journal() => registry.with(journal).try_init()?,
        Ok(_) | Err(_) => registry.with(stderr()).try_init()?,
    }
    if let Some(text) = misread {
        tracing::warn!(
            MESSAGE_ID = Kind::LevelMisread.id(),
            "`{LEVEL}` is `{text}`, which is no level: write error, warn, info, debug or trace"
        );
    }
    Ok(())
}

/// Logs one line of the core's with its fields.
pub fn say(line: &Line) {
    let (id, epoch) = (line.kind.id(), line.epoch.map(|epoch| epoch.0));
    // The level is part of the call's static data, hence three calls.
    match line.kind.level() {
        Level::Info => tracing::info!(
            target: "headship", MESSAGE_ID = id, HEADSHIP_EPOCH = epoch, "{}", line.text
        ),
        Level::Warn => tracing::warn!(
            target: "headship", MESSAGE_ID = id, HEADSHIP_EPOCH = epoch, "{}", line.text
        ),
        Level::Error => tracing::error!(
            target: "headship", MESSAGE_ID = id, HEADSHIP_EPOCH = epoch, "{}", line.text
        ),
    }
}

/// Logs a line of this kind that is about no epoch.
pub fn tell(kind: Kind, text: String) {
    say(&Line { kind, text, epoch: None });
}

/// Says why a program does not begin, whether or not there is a log yet.
#[expect(clippy::print_stderr, reason = "where no journal is, systemd or a terminal takes stderr")]
pub fn complain(program: &str, kind: Kind, why: &str) {
    let head = [("SYSLOG_IDENTIFIER", program)];
    let journal = Journal::new(Path::new(journal::SOCKET), &head);
    let journal = journal.ok().filter(|_| stderr_is_the_journal());
    // The journal may ask whose line it is only when we have ended: then this still brings it under the unit.
    let unit = format!("{program}.service");
    let whose = ("OBJECT_SYSTEMD_UNIT", unit.as_str());
    let fields = [("PRIORITY", "3"), ("MESSAGE_ID", kind.id()), ("MESSAGE", why), whose];
    if !journal.is_some_and(|journal| journal.send(&fields)) {
        eprintln!("{program}: {why}");
    }
}

/// An error and its causes, as one text.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What is logged, and the text that was not understood, if so.
fn filter(text: Option<&str>) -> (Targets, Option<&str>) {
    let ours = |level| {
        let libraries = Targets::new().with_default(LevelFilter::WARN);
        // It warns of each try at each server; `common/zk` says once what that comes to.
        let libraries = libraries.with_target("zookeeper_client", LevelFilter::ERROR);
        libraries.with_targets(OURS.map(|target| (target, level)))
    };
    let Some(text) = text else { return (ours(LevelFilter::INFO), None) };
    if let Ok(level) = text.parse::<LevelFilter>() {
        return (ours(level), None);
    }
    match text.parse::<Targets>() {
        Ok(targets) => (targets, None),
        Err(_) => (ours(LevelFilter::INFO), Some(text)),
    }
}

/// Plain lines on stderr: time, level and sentence. Fields are for the journal; the sentence says it all.
fn stderr<S>() -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let sentence = fmt::format::debug_fn(|writer, field, value| {
        if field.name() == "message" { write!(writer, "{value:?}") } else { Ok(()) }
    });
    fmt::layer().fmt_fields(sentence).with_ansi(false).with_target(false).with_writer(io::stderr)
}

/// Whether what we write to stderr goes to the journal: then it can as well go there with its fields. systemd names the
/// device and inode of the stream that it gave us.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    let metadata = stderr.and_then(|file| file.metadata());
    metadata.is_ok_and(|metadata| {
        let mut ours = String::new();
        write!(ours, "{}:{}", metadata.dev(), metadata.ino()).is_ok() && ours == stream
    })
}
