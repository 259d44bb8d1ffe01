//! Sends log lines to the journal in its own protocol, with all their fields, and never waits for it.
//!
//! Written here rather than taken from a crate for that last point only: lines are sent from the loop that keeps the
//! lease, and a journal that hangs (a full or dead disk) must not hold up what happens at D. A line that finds the
//! journal's queue full is dropped and counted; the next one that gets through says how many were.

use std::fmt::Debug;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::log;

/// Where the journal listens.
pub(crate) const SOCKET: &str = "/run/systemd/journal/socket";

/// The longest value that is sent whole: a datagram that is too long would be refused altogether.
const VALUE_MAX: usize = 32 * 1024;

/// The field with the epoch that a line is about.
const EPOCH: &str = "HEADSHIP_EPOCH";

/// The way to the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    /// The fields that every line has.
    head: Vec<u8>,
    /// Lines that were dropped since the last one that got through.
    lost: AtomicU64,
}

impl Journal {
    /// To the journal that listens at `path`; each line gets the fields `head`.
    pub(crate) fn new(path: &Path, head: &[(&str, &str)]) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let mut fields = Vec::new();
        for (name, value) in head {
            put(&mut fields, name, value);
        }
        Ok(Self { socket, path: path.to_owned(), head: fields, lost: AtomicU64::new(0) })
    }

    /// Sends one line of these fields; whether that worked.
    pub(crate) fn send(&self, fields: &[(&str, &str)]) -> bool {
        let mut message = self.head.clone();
        for (name, value) in fields {
            put(&mut message, name, value);
        }
        self.socket.send_to(&message, &self.path).is_ok()
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut message = self.head.clone();
        put(&mut message, "PRIORITY", priority(*event.metadata().level()));
        put(&mut message, "TARGET", event.metadata().target());
        let stands = log::stands();
        put(&mut message, "HEADSHIP_ROLE", stands.role);
        let mut fields = Fields { message: &mut message, has_epoch: false };
        event.record(&mut fields);
        if let Some(epoch) = stands.epoch.filter(|_| !fields.has_epoch) {
            put(&mut message, EPOCH, &epoch.to_string());
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            put(&mut message, "HEADSHIP_LOST_LINES", &lost.to_string());
        }
        // To the path each time, so that a journal that was started anew is found.
        if self.socket.send_to(&message, &self.path).is_err() {
            self.lost.fetch_add(lost + 1, Ordering::Relaxed);
        }
    }
}

/// syslog's priority.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// The fields of an event, written into a message.
struct Fields<'a> {
    message: &'a mut Vec<u8>,
    /// Whether the event is about an epoch of its own: the journal would keep both of two.
    has_epoch: bool,
}

impl Fields<'_> {
    fn put(&mut self, name: &str, value: &str) {
        self.has_epoch |= name == EPOCH;
        put(self.message, name, value);
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field.name(), &format!("{value:?}"));
    }
}

/// Adds a field: its name, a line feed, the length of its value, the value, a line feed. That form holds any value.
fn put(message: &mut Vec<u8>, name: &str, value: &str) {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = name.chars().map(plain).collect();
    let mut end = value.len().min(VALUE_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let value = value.get(..end).expect("a boundary within the text");
    // Leading underscores are the journal's own.
    message.extend_from_slice(name.trim_start_matches('_').as_bytes());
    message.push(b'\n');
    message.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_le_bytes());
    message.extend_from_slice(value.as_bytes());
    message.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use headship_core::epoch::Epoch;
    use headship_core::say::{Kind, Line};
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::log::Stands;

    struct Listener(
        UnixDatagram,
        PathBuf,
        #[expect(dead_code, reason = "held for its drop")] tempfile::TempDir,
    );

    impl Listener {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("socket");
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            Self(socket, path, folder)
        }

        /// What `say` sends to this journal.
        fn during(&self, say: impl FnOnce()) {
            let head = [("SYSLOG_IDENTIFIER", "master-fc"), ("HEADSHIP_NODE", "hn0")];
            let journal = Journal::new(&self.1, &head).unwrap();
            tracing::subscriber::with_default(Registry::default().with(journal), say);
        }

        fn next(&self) -> BTreeMap<String, String> {
            let mut buffer = vec![0; 256 * 1024];
            let length = self.0.recv(&mut buffer).unwrap();
            let mut rest = &buffer[..length];
            let mut fields = BTreeMap::new();
            while !rest.is_empty() {
                let end = rest.iter().position(|&byte| byte == b'\n').unwrap();
                let name = String::from_utf8(rest[..end].to_vec()).unwrap();
                let bytes: [u8; 8] = rest[end + 1..end + 9].try_into().unwrap();
                let length = usize::try_from(u64::from_le_bytes(bytes)).unwrap();
                let value = &rest[end + 9..end + 9 + length];
                fields.insert(name, String::from_utf8(value.to_vec()).unwrap());
                assert_eq!(rest[end + 9 + length], b'\n');
                rest = &rest[end + 10 + length..];
            }
            fields
        }
    }

    fn line(epoch: Option<u64>) -> Line {
        let text = "active -> neutral\nor so".to_owned();
        Line { kind: Kind::RoleNeutral, text, epoch: epoch.map(Epoch) }
    }

    #[test]
    fn a_line_has_its_fields_and_those_of_the_daemon() {
        let listener = Listener::new();
        log::stand(Stands { role: "neutral", epoch: Some(Epoch(6)) });
        listener.during(|| log::say(&line(Some(7))));
        let expected = [
            ("HEADSHIP_EPOCH", "7"),
            ("HEADSHIP_NODE", "hn0"),
            ("HEADSHIP_ROLE", "neutral"),
            ("MESSAGE", "active -> neutral\nor so"),
            ("MESSAGE_ID", Kind::RoleNeutral.id()),
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "master-fc"),
            ("TARGET", "headship"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(listener.next(), BTreeMap::from(expected));
        // One about no epoch, and one of a library, tell what the daemon stands for.
        listener.during(|| log::say(&line(None)));
        assert_eq!(listener.next()["HEADSHIP_EPOCH"], "6");
        listener.during(|| tracing::error!("a library's"));
        let fields = listener.next();
        let told = ["PRIORITY", "HEADSHIP_ROLE", "HEADSHIP_EPOCH"].map(|name| &*fields[name]);
        assert_eq!(told, ["3", "neutral", "6"]);
        log::stand(Stands { role: "out", epoch: None });
        listener.during(|| log::say(&line(None)));
        assert!(!listener.next().contains_key("HEADSHIP_EPOCH"));
    }

    #[test]
    fn names_that_the_journal_would_not_take_are_made_plain_and_long_values_cut() {
        let listener = Listener::new();
        let long = "ä".repeat(VALUE_MAX);
        listener.during(|| tracing::info!(_trusted.name = "x", "{long}"));
        let fields = listener.next();
        assert_eq!(fields["TRUSTED_NAME"], "x");
        assert_eq!(fields["MESSAGE"].len(), VALUE_MAX);
    }

    #[test]
    fn a_journal_that_hangs_holds_nobody_up_and_is_told_how_much_it_missed() {
        let listener = Listener::new();
        let sent = 100_000;
        listener.during(|| {
            for _ in 0..sent {
                tracing::info!("again");
            }
            // It reads again: everything queued is there, and then the count of what was not.
            let mut received = 0;
            listener.0.set_nonblocking(true).unwrap();
            while listener.0.recv(&mut [0; 4096]).is_ok() {
                received += 1;
            }
            assert!(received < sent, "its queue never was full");
            listener.0.set_nonblocking(false).unwrap();
            tracing::info!("at last");
            assert_eq!(listener.next()["HEADSHIP_LOST_LINES"], (sent - received).to_string());
        });
    }
}
