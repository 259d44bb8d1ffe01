//! A look at what other programs keep in a quorum: read and never written, no folder made, no watch set, nothing asked twice.

use std::time::Duration;

use tokio::time::timeout;
use zookeeper_client::{Client, Error, SessionState};

use crate::servers::Servers;

/// The session timeout that is asked for; a session is over when its guest leaves.
const SESSION: Duration = Duration::from_secs(10);

/// How a look ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look<T> {
    /// This is there.
    Done(T),
    /// Nothing is there.
    Missing,
    /// We may not look.
    Refused,
    /// Nobody knows.
    Unknown(String),
}

/// None of the servers took us in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer from {servers}: {why}")]
pub struct Unwelcome {
    servers: String,
    why: String,
}

/// A session for a few looks.
#[derive(Debug)]
pub struct Guest(Client);

impl Guest {
    /// Connects to one of `servers`, all of which together may take `limit`.
    ///
    /// # Errors
    /// None of them gives a session in that time.
    pub async fn connect(servers: &[String], limit: Duration) -> Result<Self, Unwelcome> {
        let unwelcome = |why: String| Unwelcome { servers: servers.join(", "), why };
        let mut order = Servers::new(servers.to_vec());
        let share = limit / u32::try_from(servers.len().max(1)).unwrap_or(u32::MAX);
        let mut failed = "no servers are configured".to_owned();
        for server in order.round() {
            match timeout(share, one(&mut order, &server, share)).await {
                Ok(Ok(client)) => return Ok(Self(client)),
                Ok(Err(why)) => failed = format!("`{server}`: {why}"),
                Err(_) => failed = format!("`{server}` is silent"),
            }
        }
        Err(unwelcome(failed))
    }

    /// The data of a znode.
    pub async fn data(&self, path: &str) -> Look<Vec<u8>> {
        look(self.0.get_data(path).await.map(|(data, _)| data))
    }

    /// The names of a znode's children, in order.
    pub async fn children(&self, path: &str) -> Look<Vec<String>> {
        let mut names = self.0.list_children(path).await;
        if let Ok(names) = &mut names {
            names.sort();
        }
        look(names)
    }

    /// Ends the session, and waits for that for at most `limit`.
    pub async fn leave(self, limit: Duration) {
        let Self(client) = self;
        let mut state = client.state_watcher();
        drop(client);
        let left = async { while state.changed().await == SessionState::SyncConnected {} };
        // What is not heard in time expires by itself.
        drop(timeout(limit, left).await);
    }
}

async fn one(order: &mut Servers, server: &str, limit: Duration) -> Result<Client, String> {
    let connection = order.connect(server, limit).await.map_err(|error| error.to_string())?;
    let connector =
        Client::connector().with_session_timeout(SESSION).with_connection_timeout(limit);
    let connecting = async_net::bringing(connection, connector.with_fail_eagerly().connect(server));
    match connecting.await {
        Ok(client) => Ok(client),
        Err(Error::NoHosts) => Err("it takes connections, and does not serve".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn look<T>(found: Result<T, Error>) -> Look<T> {
    match found {
        Ok(found) => Look::Done(found),
        Err(Error::NoNode) => Look::Missing,
        Err(Error::NoAuth) => Look::Refused,
        Err(error) => Look::Unknown(error.to_string()),
    }
}
