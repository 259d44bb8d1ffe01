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

use headship_core::node::NodeName;
use headship_core::say::{Level, Line};
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

/// The journal's ids of our lines: `journalctl MESSAGE_ID=…` finds them, the catalogue explains them.
pub mod message_id {
    /// A state changed in the normal course of things.
    pub const CHANGE: &str = "ca61a0e229fd47ebb23f196c23368b73";
    /// Somebody should look at it by day.
    pub const WARNING: &str = "cf273d0928b544f892f5ee956f32436d";
    /// Somebody should look at it now.
    pub const ALARM: &str = "b503e1c97e614c35b846740b695b46c7";
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
            "`{LEVEL}` is `{text}`, which is no level: write error, warn, info, debug or trace"
        );
    }
    Ok(())
}

/// Logs one line of the core's with its fields; `role` is what this headnode is at the moment.
pub fn say(line: &Line, role: &str) {
    let epoch = line.epoch.map(|epoch| epoch.0);
    // The level and the id are part of the call's static data, hence three calls.
    match line.level {
        Level::Info => tracing::info!(
            target: "headship", MESSAGE_ID = message_id::CHANGE, HEADSHIP_ROLE = role, HEADSHIP_EPOCH = epoch,
            "{}", line.text
        ),
        Level::Warn => tracing::warn!(
            target: "headship", MESSAGE_ID = message_id::WARNING, HEADSHIP_ROLE = role, HEADSHIP_EPOCH = epoch,
            "{}", line.text
        ),
        Level::Error => tracing::error!(
            target: "headship", MESSAGE_ID = message_id::ALARM, HEADSHIP_ROLE = role, HEADSHIP_EPOCH = epoch,
            "{}", line.text
        ),
    }
}

/// Says why a program ends, whether or not there is a log yet.
#[expect(
    clippy::print_stderr,
    reason = "there is no log yet, and systemd takes stderr to the journal"
)]
pub fn complain(program: &str, why: &str) {
    eprintln!("{program}: {why}");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_explains_each_id_and_no_other() {
        let catalogue =
            include_str!("../../../packaging/root/usr/lib/systemd/catalog/headship.catalog");
        let ids: Vec<&str> =
            catalogue.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
        assert_eq!(ids, [message_id::CHANGE, message_id::WARNING, message_id::ALARM]);
    }
}
