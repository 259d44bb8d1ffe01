//! The failover quorum of the lab: three ZooKeeper servers, each on a host of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::command::wait_until;
use super::error::Result;
use super::host::Host;
use super::place::{HOSTS, Role};

/// Unit that runs the server.
pub const UNIT: &str = "zookeeper.service";
/// Port for clients.
pub const CLIENT_PORT: u16 = 2181;

/// How long a server may take to answer a word; a host without power never does.
const WORD_LIMIT: Duration = Duration::from_millis(300);

/// Ticks and limits of an ensemble, and of the suite's lease that fits them.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Tick 100 ms.
    Fast,
    /// Tick 500 ms.
    #[default]
    Normal,
    /// Tick 2 s: as ZooKeeper is shipped.
    Tolerant,
}

impl Preset {
    /// The ensemble's tick in milliseconds.
    #[must_use]
    pub const fn tick_ms(self) -> u32 {
        match self {
            Self::Fast => 100,
            Self::Normal => 500,
            Self::Tolerant => 2_000,
        }
    }

    /// As written on the command line and in file names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Normal => "normal",
            Self::Tolerant => "tolerant",
        }
    }
}

/// `zoo.cfg` of every server. The disks of the lab's hosts are memory, so what ZooKeeper syncs costs nothing.
pub(crate) fn zoo_cfg(tick_ms: u32) -> String {
    let mut text = format!(
        "tickTime={tick_ms}
initLimit={}
syncLimit=5
dataDir=/var/lib/zookeeper
clientPort={CLIENT_PORT}
admin.enableServer=false
4lw.commands.whitelist=conf,mntr,srvr,stat,ruok,cons,dump
autopurge.purgeInterval=0
",
        // Servers of a cold start wait for each other's virtual machine: seconds, whatever the tick.
        (10_000 / tick_ms).max(10),
    );
    for (id, host) in (1..).zip(servers()) {
        text.push_str(&format!("server.{id}={host}:2888:3888\n"));
    }
    text
}

/// A server's `myid`.
pub(crate) fn my_id(host: &Host) -> Option<usize> {
    servers().position(|name| name == host.name()).map(|index| index + 1)
}

fn servers() -> impl Iterator<Item = &'static str> {
    HOSTS.into_iter().filter(|host| host.role == Role::Quorum).map(|host| host.name)
}

/// What a server is in its ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Orders all writes.
    Leader,
    /// Serves, and forwards writes to the leader.
    Follower,
}

/// What the server on `host` is; `None` while it does not serve.
#[must_use]
pub fn mode(host: &Host) -> Option<Mode> {
    match word(host, "srvr")?.lines().find_map(|line| line.strip_prefix("Mode: "))? {
        "leader" => Some(Mode::Leader),
        "follower" => Some(Mode::Follower),
        _ => None,
    }
}

/// Sends one of ZooKeeper's four-letter words and returns the answer; `None` if none comes.
#[must_use]
pub fn word(host: &Host, word: &str) -> Option<String> {
    let address: SocketAddr = format!("{}:{CLIENT_PORT}", host.address()).parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&address, WORD_LIMIT).ok()?;
    stream.set_read_timeout(Some(WORD_LIMIT)).ok()?;
    stream.write_all(word.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// The server that leads; `None` while none does.
#[must_use]
pub fn leader(servers: &[Host]) -> Option<Host> {
    servers.iter().find(|host| mode(host) == Some(Mode::Leader)).cloned()
}

/// Waits until every one of `servers` serves, and one of them leads.
///
/// # Errors
/// They do not, within the limit.
pub fn wait_serving(servers: &[Host], limit: Duration) -> Result<()> {
    wait_until("all servers of the ensemble serve", limit, || {
        let modes: Vec<_> = servers.iter().map(mode).collect();
        modes.iter().all(Option::is_some) && modes.contains(&Some(Mode::Leader))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_names_three_servers_and_the_tick() {
        let text = zoo_cfg(Preset::Fast.tick_ms());
        assert!(text.contains("tickTime=100\n") && text.contains("syncLimit=5\n"));
        assert!(
            text.ends_with(
                "server.1=zk0:2888:3888\nserver.2=zk1:2888:3888\nserver.3=zk2:2888:3888\n"
            )
        );
    }
}
