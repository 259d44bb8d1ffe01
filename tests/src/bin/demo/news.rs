//! What the daemons log and what the HA services do, as it happens, on the one clock of all hosts.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use anyhow::{Context, Result};
use headship_tests::lab::service_log::{self, ServiceLog, What};
use headship_tests::{lab, plain};
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;

/// The daemons whose lines are shown, as the journal names them.
const DAEMONS: [&str; 5] =
    ["master-fc", "master-ha-service", "slave-ha-service", "health-monitor", "slave-fc"];

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct News {
    /// When, as [`service_log::now`] counts.
    pub(crate) at: u64,
    /// On which host.
    pub(crate) host: String,
    /// Who said it, and what.
    pub(crate) text: String,
}

/// Hears the daemons of one host.
#[derive(Debug)]
pub(crate) struct Follower {
    heard: Receiver<News>,
    files: Vec<Tail>,
    journal: Option<Child>,
}

#[derive(Debug)]
struct Tail {
    host: &'static str,
    daemon: &'static str,
    file: File,
    /// The beginning of a line that is not written to its end yet.
    begun: String,
}

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "__MONOTONIC_TIMESTAMP")]
    at_us: String,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    by: Option<String>,
    #[serde(rename = "MESSAGE")]
    message: Option<serde_json::Value>,
}

impl Follower {
    /// Hears the journal of a lab's host, until the host loses its power.
    pub(crate) fn of_journal(host: &lab::Host) -> Result<Self> {
        let mut command =
            host.command(&["journalctl", "--follow", "--lines=0", "--output=json"])?;
        let mut journal = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot follow the journal")?;
        let lines =
            BufReader::new(journal.stdout.take().context("the journal says nothing")?).lines();
        let (tell, heard) = channel();
        let name = host.name();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(news) = of_entry(name, &line)
                    && tell.send(news).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { heard, files: Vec::new(), journal: Some(journal) })
    }

    /// Hears the log files of a host of plain processes.
    pub(crate) fn of_files(host: &plain::Host) -> Result<Self> {
        let mut files = Vec::new();
        for daemon in DAEMONS {
            // master-ha-service writes to another file, and has little to say.
            let Ok(mut file) = File::open(host.log_file(daemon)) else { continue };
            file.read_to_string(&mut String::new()).context("cannot read a log")?;
            files.push(Tail { host: host.name(), daemon, file, begun: String::new() });
        }
        Ok(Self { heard: channel().1, files, journal: None })
    }

    /// What was said since the last call.
    pub(crate) fn heard(&mut self) -> Vec<News> {
        let mut news: Vec<News> = self.heard.try_iter().collect();
        for tail in &mut self.files {
            news.extend(tail.heard());
        }
        news
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(journal) = &mut self.journal
            && journal.kill().is_ok()
        {
            journal.wait().ok();
        }
    }
}

impl Tail {
    fn heard(&mut self) -> Vec<News> {
        // What cannot be read now is read the next time.
        self.file.read_to_string(&mut self.begun).ok();
        let whole = self.begun.rfind('\n').map_or(0, |end| end + 1);
        let rest = self.begun.split_off(whole);
        let lines = std::mem::replace(&mut self.begun, rest);
        lines.lines().filter_map(|line| self.of_line(line)).collect()
    }

    /// `2026-11-22T18:32:06.811501Z  INFO what was said`.
    fn of_line(&self, line: &str) -> Option<News> {
        let mut words = line.splitn(2, ' ');
        let ago = nanos_of_day(words.next()?).map(|at| (nanos_today() + DAY - at) % DAY);
        let (_level, text) = words.next()?.trim_start().split_once(' ')?;
        let text = format!("{}: {}", self.daemon, text.trim_start());
        let at = service_log::now() - ago.unwrap_or(0);
        Some(News { at, host: self.host.to_owned(), text })
    }
}

const DAY: u64 = 24 * 3600 * 1_000_000_000;

/// Nanoseconds since midnight of `…T18:32:06.811501Z`.
fn nanos_of_day(stamp: &str) -> Option<u64> {
    let (_, time) = stamp.trim_end_matches('Z').split_once('T')?;
    let (time, fraction) = time.split_once('.')?;
    let seconds =
        time.split(':').try_fold(0, |sum, part| Some(sum * 60 + part.parse::<u64>().ok()?))?;
    Some(seconds * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>().ok()?)
}

fn nanos_today() -> u64 {
    let time = clock_gettime(ClockId::Realtime);
    nanos(time.tv_sec) * 1_000_000_000 % DAY + nanos(time.tv_nsec)
}

fn nanos(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

fn of_entry(host: &str, line: &str) -> Option<News> {
    let entry: Entry = serde_json::from_str(line).ok()?;
    let by = entry.by.filter(|by| DAEMONS.contains(&by.as_str()))?;
    let text = format!("{by}: {}", entry.message?.as_str()?);
    let at = entry.at_us.parse::<u64>().ok()? * 1_000 + suspended();
    Some(News { at, host: host.to_owned(), text })
}

/// How long this machine has been suspended: the journal's clock does not count that, the services' does.
fn suspended() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    service_log::now().saturating_sub(nanos(time.tv_sec) * 1_000_000_000 + nanos(time.tv_nsec))
}

/// What the HA services told of themselves since then.
pub(crate) fn of_services(log: &ServiceLog, since: u64) -> Vec<News> {
    let events = log.events().iter().filter(|event| event.at > since);
    let told = events.filter_map(|event| {
        let text = match event.what {
            What::Start => "starts",
            What::Ready => "serves",
            What::Term => "is told to stop",
            What::Stop => "has stopped",
            What::Witness => "FOUND ANOTHER HOST'S SERVICES ALIVE",
            What::Alive => return None,
        };
        let text = format!("{} {text}", event.service);
        Some(News { at: event.at, host: event.host.clone(), text })
    });
    told.collect()
}
