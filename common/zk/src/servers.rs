//! The servers of the quorum: in which order they are tried, and at which addresses.
//!
//! A name is looked up when it must be and not each time: whoever resolves names may have gone down with the server that was
//! lost, and a lease does not wait for that.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

/// How long nobody can be connected to until names are looked up anew: a server may have moved.
const LOOK_UP_AFTER: Duration = Duration::from_secs(10);

/// The servers, and what is known of them.
#[derive(Debug)]
pub(crate) struct Servers {
    /// Those that were silent last come last.
    order: Vec<String>,
    addresses: BTreeMap<String, Vec<SocketAddr>>,
    /// Since when nobody could be connected to, or when names were looked up last since then.
    since: Instant,
}

impl Servers {
    /// In random order, so that the clients of a lost server spread.
    pub(crate) fn new(mut servers: Vec<String>) -> Self {
        fastrand::shuffle(&mut servers);
        Self { order: servers, addresses: BTreeMap::new(), since: Instant::now() }
    }

    /// The connection to this server broke: the others come first.
    pub(crate) fn lost(&mut self, server: &str) {
        fastrand::shuffle(&mut self.order);
        self.last(server);
        self.since = Instant::now();
    }

    /// This server was silent: the others come first from now on.
    pub(crate) fn last(&mut self, server: &str) {
        self.order.sort_by_key(|name| name == server);
    }

    /// In which order to try them now.
    pub(crate) fn round(&mut self) -> Vec<String> {
        if self.since.elapsed() >= LOOK_UP_AFTER {
            self.since = Instant::now();
            self.addresses.clear();
        }
        self.order.clone()
    }

    /// Connects to a server: each of its addresses may take `limit`, and so may looking up its name, if that must be.
    ///
    /// # Errors
    /// None of its addresses could be connected to; what the last one said.
    pub(crate) async fn connect(&mut self, server: &str, limit: Duration) -> io::Result<TcpStream> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        for address in self.addresses(server, limit).await? {
            match within(limit, TcpStream::connect(address)).await {
                Ok(connection) => {
                    // A small request would otherwise wait until the one before it was acknowledged.
                    connection.set_nodelay(true)?;
                    return Ok(connection);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn addresses(&mut self, server: &str, limit: Duration) -> io::Result<Vec<SocketAddr>> {
        if let Some(known) = self.addresses.get(server) {
            return Ok(known.clone());
        }
        let found: Vec<SocketAddr> = within(limit, lookup_host(server)).await?.collect();
        self.addresses.insert(server.to_owned(), found.clone());
        Ok(found)
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    fn names() -> Vec<String> {
        ["a:1", "b:1", "c:1"].map(str::to_owned).to_vec()
    }

    #[test]
    fn who_was_lost_or_silent_comes_last_in_each_round() {
        block_on(async {
            for _ in 0..20 {
                let mut servers = Servers::new(names());
                servers.lost("b:1");
                assert_eq!(servers.round()[2], "b:1");
                // Silent in this round: it comes behind the one that was merely lost.
                let silent = servers.round()[0].clone();
                servers.last(&silent);
                assert_eq!(servers.round()[1..], ["b:1".to_owned(), silent]);
                let mut all = servers.round();
                all.sort();
                assert_eq!(all, names());
            }
        });
    }

    #[test]
    fn a_name_is_looked_up_once_and_anew_when_nobody_could_be_connected_to_for_long() {
        block_on(async {
            let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut servers = Servers::new(vec!["nobody.invalid:1".to_owned()]);
            let known = vec![address];
            servers.addresses.insert("nobody.invalid:1".to_owned(), known.clone());
            servers.round();
            servers.connect("nobody.invalid:1", SHORT * 20).await.unwrap();
            assert_eq!(servers.addresses.get("nobody.invalid:1"), Some(&known));
            servers.since -= LOOK_UP_AFTER;
            servers.round();
            servers.connect("nobody.invalid:1", SHORT * 20).await.unwrap_err();
        });
    }

    #[test]
    fn an_address_that_is_silent_takes_no_longer_than_its_limit_and_the_next_one_is_tried() {
        block_on(async {
            // A backlog that is full swallows what comes, as a host without power does.
            let full = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let silent = full.local_addr().unwrap();
            let mut queue = Vec::new();
            while let Ok(one) = std::net::TcpStream::connect_timeout(&silent, SHORT) {
                queue.push(one);
            }
            let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let well = listener.local_addr().unwrap();
            let mut servers = Servers::new(vec![]);
            servers.addresses.insert("zk:1".to_owned(), vec![silent, well]);
            let begun = Instant::now();
            let connection = servers.connect("zk:1", SHORT).await.unwrap();
            assert_eq!(connection.peer_addr().unwrap().ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
            assert!(begun.elapsed() >= SHORT, "the silent one was tried first");
            servers.addresses.insert("zk:1".to_owned(), vec![silent]);
            let error = servers.connect("zk:1", SHORT).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }
}
