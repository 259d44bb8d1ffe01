//! The shared log of the lab's HA services: who ran where, from when to when, on the one clock of all hosts.
//!
//! It lies outside all hosts and is written by the services themselves, so that it needs no trust in the suite under test.
//! A service that is killed cannot write that it ends. Two things make up for it: it rewrites the time at which it was last
//! alive every few milliseconds, and it holds a lock that the kernel lets go of with it. A service that starts while
//! another host's lock is held is a witness of an overlap, however short.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::time::{ClockId, clock_gettime};

use super::error::{LabError, Result, Tried};
use super::host::open_dir;

const EVENTS: &str = "events";
const ALIVE: &str = "alive";
const LOCKS: &str = "locks";

/// Nanoseconds since this machine booted, suspended time included: the same in every host, for they share a kernel.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// What a service tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Its process has begun.
    Start,
    /// It serves.
    Ready,
    /// It was alive at this time; only the last one is kept.
    Alive,
    /// It was told to stop.
    Term,
    /// Its process is about to end in order.
    Stop,
    /// When it began, a service of another host was alive.
    Witness,
}

impl What {
    const ALL: [(Self, &str); 6] = [
        (Self::Start, "start"),
        (Self::Ready, "ready"),
        (Self::Alive, "alive"),
        (Self::Term, "term"),
        (Self::Stop, "stop"),
        (Self::Witness, "witness"),
    ];

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, name)| *name == word).map(|(what, _)| what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word =
            Self::ALL.into_iter().find(|(what, _)| what == self).map_or("", |(_, word)| word);
        f.write_str(word)
    }
}

/// One line of the log: `NANOSECONDS HOST SERVICE PID WHAT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// When, as [`now`] counts.
    pub at: u64,
    /// On which host.
    pub host: String,
    /// Which service.
    pub service: String,
    /// Its process, as its host numbers it.
    pub pid: u32,
    /// What happened.
    pub what: What,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {} {}", self.at, self.host, self.service, self.pid, self.what)
    }
}

impl Event {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let event = Self {
            at: words.next()?.parse().ok()?,
            host: words.next()?.to_owned(),
            service: words.next()?.to_owned(),
            pid: words.next()?.parse().ok()?,
            what: What::from_word(words.next()?)?,
        };
        words.next().is_none().then_some(event)
    }
}

/// All that the services told, in the order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceLog {
    events: Vec<Event>,
}

impl ServiceLog {
    /// Prepares an empty log.
    pub(crate) fn create(dir: &Path) -> Result<()> {
        for part in [ALIVE, LOCKS] {
            open_dir(&dir.join(part))?;
        }
        open_dir(dir)?;
        let events = dir.join(EVENTS);
        File::create(&events).map(drop).tried(|| format!("create `{}`", events.display()))
    }

    /// Reads the log as it is now.
    ///
    /// # Errors
    /// There is none, or a line of it cannot be read.
    pub fn read(dir: &Path) -> Result<Self> {
        // The times of last life first: what ends between the two reads has written its end into the events.
        let alive = read_dir_sorted(&dir.join(ALIVE))?;
        let mut log = Self::default();
        for file in alive {
            // A process that was killed before its first beat leaves an empty file.
            log.add_lines(&file)?;
        }
        log.add_lines(&dir.join(EVENTS))?;
        log.events.sort();
        Ok(log)
    }

    fn add_lines(&mut self, file: &Path) -> Result<()> {
        let text = read_settled(file)?;
        let log = Self::parse(&text).map_err(|line| LabError::Syntax {
            file: file.to_owned(),
            line,
            why: "expected `NANOSECONDS HOST SERVICE PID WHAT`".to_owned(),
        })?;
        self.events.extend(log.events);
        Ok(())
    }

    /// Reads a log from text.
    ///
    /// # Errors
    /// The number of the first line that cannot be read.
    pub fn parse(text: &str) -> std::result::Result<Self, usize> {
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty());
        let mut events: Vec<Event> = lines
            .map(|(number, line)| Event::parse(line).ok_or(number))
            .collect::<std::result::Result<_, usize>>()?;
        events.sort();
        Ok(Self { events })
    }

    /// The events, in the order of time.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Names of the services that ever started.
    #[must_use]
    pub fn services(&self) -> BTreeSet<&str> {
        self.events.iter().map(|event| event.service.as_str()).collect()
    }

    /// Time of the first such event of a service on a host at or after `since`.
    #[must_use]
    pub fn first(&self, host: &str, service: &str, what: What, since: u64) -> Option<u64> {
        let mut matching =
            self.events.iter().filter(|e| e.host == host && e.service == service && e.what == what);
        matching.find(|event| event.at >= since).map(|event| event.at)
    }
}

/// Reads a file that may be written into meanwhile: what is the same twice was not caught half way.
fn read_settled(file: &Path) -> Result<String> {
    let read = || fs::read_to_string(file).tried(|| format!("read `{}`", file.display()));
    let mut text = read()?;
    loop {
        let again = read()?;
        if again == text {
            return Ok(text);
        }
        text = again;
    }
}

fn read_dir_sorted(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).tried(|| format!("read `{}`", dir.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    Ok(files)
}

/// The pen of one process of a service.
#[derive(Debug)]
pub struct Writer {
    events: File,
    alive: File,
    /// Held, shared with the other services of this host, for as long as the process lives.
    _own_lock: File,
    line: Event,
}

impl Writer {
    /// Writes that this process starts, and whether a service of another host is alive.
    ///
    /// # Errors
    /// The log is not there or cannot be written.
    pub fn start(dir: &Path, host: &str, service: &str, pid: u32) -> Result<Self> {
        let at = now();
        // One's own lock before the look at others: of two that start together, at least one sees the other.
        let own_lock = hold_lock(dir, host)?;
        let events = open(&dir.join(EVENTS))?;
        let alive_file = dir.join(ALIVE).join(format!("{host}.{service}.{pid}.{at}"));
        let alive =
            File::create(&alive_file).tried(|| format!("create `{}`", alive_file.display()))?;
        let line = Event {
            at,
            host: host.to_owned(),
            service: service.to_owned(),
            pid,
            what: What::Start,
        };
        let mut writer = Self { events, alive, _own_lock: own_lock, line };
        writer.append(at, What::Start)?;
        if other_host_is_alive(&dir.join(LOCKS), host)? {
            writer.write(What::Witness)?;
        }
        writer.beat()?;
        Ok(writer)
    }

    /// Appends a line.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn write(&mut self, what: What) -> Result<()> {
        self.append(now(), what)
    }

    fn append(&mut self, at: u64, what: What) -> Result<()> {
        let line = Event { at, what, ..self.line.clone() };
        // One write: lines of several processes never mix.
        self.events
            .write_all(format!("{line}\n").as_bytes())
            .tried(|| "write to the service log".to_owned())
    }

    /// Notes that the process is alive.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn beat(&self) -> Result<()> {
        let line = Event { at: now(), what: What::Alive, ..self.line.clone() };
        // The length is the same each time, and so each beat covers the one before.
        self.alive
            .write_all_at(format!("{line}\n").as_bytes(), 0)
            .tried(|| "write to the service log".to_owned())
    }
}

fn open(file: &Path) -> Result<File> {
    let opened = OpenOptions::new().create(true).read(true).append(true).open(file);
    opened.tried(|| format!("open `{}`", file.display()))
}

/// A host's lock, held, shared with its other services, until the last process that has the file open is gone: one that
/// inherits it holds it, too.
pub(super) fn hold_lock(dir: &Path, host: &str) -> Result<File> {
    let lock = open(&dir.join(LOCKS).join(host))?;
    fcntl(&lock, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_RDLCK)))
        .map_err(std::io::Error::from)
        .tried(|| "lock one's own lock".to_owned())?;
    Ok(lock)
}

fn other_host_is_alive(locks: &Path, own_host: &str) -> Result<bool> {
    for file in read_dir_sorted(locks)? {
        if file.file_name().is_some_and(|name| name == own_host) {
            continue;
        }
        let lock = File::open(&file).tried(|| format!("open `{}`", file.display()))?;
        // Asked, not tried: a lock that is taken for a moment would be a false witness for the next one who looks.
        let mut held = whole_file(libc::F_WRLCK);
        fcntl(&lock, FcntlArg::F_OFD_GETLK(&mut held))
            .map_err(std::io::Error::from)
            .tried(|| format!("ask for the lock `{}`", file.display()))?;
        if i32::from(held.l_type) != libc::F_UNLCK {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A lock of this kind on all of a file.
fn whole_file(kind: i32) -> libc::flock {
    let small = |value: i32| i16::try_from(value).expect("the kernel's numbers for locks fit");
    libc::flock {
        l_type: small(kind),
        l_whence: small(libc::SEEK_SET),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir()
            .join(format!("headship-service-log-{name}-{}", std::process::id()));
        ServiceLog::create(&dir).unwrap();
        dir
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let line = "123456789 hn0 livy 57 start";
        assert_eq!(Event::parse(line).unwrap().to_string(), line);
    }

    #[test]
    fn a_broken_line_is_named_by_its_number() {
        assert_eq!(ServiceLog::parse("1 hn0 livy 57 start\n2 hn0 livy 57 nap\n"), Err(2));
        assert_eq!(ServiceLog::parse("1 hn0 livy 57 start more\n"), Err(1));
    }

    #[test]
    fn what_a_writer_writes_comes_back_in_order() {
        let dir = scratch("order");
        let mut writer = Writer::start(&dir, "hn0", "livy", 57).unwrap();
        writer.write(What::Ready).unwrap();
        writer.beat().unwrap();
        writer.write(What::Stop).unwrap();
        let whats: Vec<_> =
            ServiceLog::read(&dir).unwrap().events().iter().map(|event| event.what).collect();
        assert_eq!(whats, [What::Start, What::Ready, What::Alive, What::Stop]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_start_beside_another_hosts_service_is_witnessed() {
        let dir = scratch("witness");
        let first = Writer::start(&dir, "hn0", "livy", 57).unwrap();
        let second = Writer::start(&dir, "hn1", "ambari-server", 60).unwrap();
        let log = ServiceLog::read(&dir).unwrap();
        assert!(log.first("hn1", "ambari-server", What::Witness, 0).is_some());
        drop((first, second));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_start_beside_the_own_hosts_services_or_after_the_others_end_is_no_overlap() {
        let dir = scratch("no-witness");
        let first = Writer::start(&dir, "hn0", "livy", 57).unwrap();
        let beside = Writer::start(&dir, "hn0", "ambari-server", 60).unwrap();
        drop((first, beside));
        let after = Writer::start(&dir, "hn1", "livy", 57).unwrap();
        let log = ServiceLog::read(&dir).unwrap();
        assert!(log.events().iter().all(|event| event.what != What::Witness));
        drop(after);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn services_of_one_host_that_start_together_are_no_witnesses_of_each_other() {
        let dir = scratch("together");
        drop(Writer::start(&dir, "hn0", "livy", 57).unwrap());
        std::thread::scope(|scope| {
            for service in ["ambari-server", "timeline-server", "job-history", "livy"] {
                let dir = &dir;
                scope.spawn(move || {
                    for pid in 0..100 {
                        Writer::start(dir, "hn1", service, pid).unwrap();
                    }
                });
            }
        });
        let log = ServiceLog::read(&dir).unwrap();
        assert!(log.events().iter().all(|event| event.what != What::Witness));
        fs::remove_dir_all(dir).unwrap();
    }
}
