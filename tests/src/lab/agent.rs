//! The lab's stand-in for an Ambari agent: it looks the alias up when it starts, registers at the host that this names, and
//! stays with it. So a host file that moved without a restart of the agent, or the other way round, shows.
//!
//! It covers nothing else of what a real agent does: no orders, no heartbeats that anybody answers, no components.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::error::{Result, Tried};
use super::service::{notify, stop_orders};
use super::service_log::now;

/// Below the directory of the shared log.
const REGISTRATIONS: &str = "registrations";

/// How often it asks its server.
const PACE: Duration = Duration::from_millis(100);

/// How long the server may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// One line of the log of registrations: `NANOSECONDS HOST PID SERVER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// When, as [`now`] counts.
    pub at: u64,
    /// The agent's host.
    pub host: String,
    /// The agent's process, as its host numbers it.
    pub pid: u32,
    /// The host where it registered.
    pub server: String,
}

impl Registration {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        Some(Self {
            at: words.next()?.parse().ok()?,
            host: words.next()?.to_owned(),
            pid: words.next()?.parse().ok()?,
            server: words.next()?.to_owned(),
        })
    }
}

/// All registrations so far, in the order of time; none if no agent ever registered.
#[must_use]
pub fn registrations(log_dir: &Path) -> Vec<Registration> {
    let text = fs::read_to_string(log_dir.join(REGISTRATIONS)).unwrap_or_default();
    text.lines().filter_map(Registration::parse).collect()
}

/// An agent.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its host, for the log.
    pub host: String,
    /// The name that it registers at.
    pub alias: String,
    /// The server's port.
    pub port: u16,
    /// Directory of the shared log.
    pub log_dir: PathBuf,
}

impl Agent {
    /// Works until it is told to stop.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn run(&self) -> Result<()> {
        let stop = stop_orders()?;
        let server = (self.alias.as_str(), self.port).to_socket_addrs();
        let server = server.ok().and_then(|mut addresses| addresses.next());
        notify("READY=1")?;
        let mut registered = None;
        loop {
            let name = server.and_then(|server| ask(server).ok().flatten());
            if name.is_some() && name != registered {
                self.note(name.as_deref().unwrap_or_default())?;
            }
            registered = name;
            if told_to_stop(&stop) {
                return Ok(());
            }
        }
    }

    fn note(&self, server: &str) -> Result<()> {
        let line = format!("{} {} {} {server}\n", now(), self.host, std::process::id());
        let file = self.log_dir.join(REGISTRATIONS);
        let log = OpenOptions::new().create(true).append(true).open(&file);
        // One write, so that lines of different hosts never mix.
        log.and_then(|mut log| log.write_all(line.as_bytes()))
            .tried(|| format!("write `{}`", file.display()))
    }
}

fn told_to_stop(stop: &Receiver<()>) -> bool {
    match stop.recv_timeout(PACE) {
        Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
        Err(RecvTimeoutError::Timeout) => false,
    }
}

/// The name of the host that serves there, as the lab's Ambari server tells it.
fn ask(server: SocketAddr) -> std::io::Result<Option<String>> {
    let mut connection = TcpStream::connect_timeout(&server, ANSWER_LIMIT)?;
    connection.set_read_timeout(Some(ANSWER_LIMIT))?;
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim_end());
    Ok(body.and_then(|body| body.strip_prefix("ambari-server on ")).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_are_read_back_as_they_were_noted() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(registrations(dir.path()), []);
        let agent = Agent {
            host: "wn0".to_owned(),
            alias: "headnodehost".to_owned(),
            port: 8080,
            log_dir: dir.path().to_owned(),
        };
        agent.note("hn0").unwrap();
        agent.note("hn1").unwrap();
        let read = registrations(dir.path());
        let servers: Vec<&str> = read.iter().map(|one| one.server.as_str()).collect();
        assert_eq!(servers, ["hn0", "hn1"]);
        assert!(read.iter().all(|one| one.host == "wn0" && one.pid == std::process::id()));
    }
}
