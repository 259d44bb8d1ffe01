//! A session that can be used: connect, folders, watch, again and again until it stands; and the same session over a new
//! connection, once the old one broke.
//!
//! The client library reconnects by itself, too, but badly (`async-net` of ours says how), so it is kept from it: each of
//! its clients has one connection in its life. What is done with a session, and when one is over, is decided in `quorum`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use headship_core::quorum::SessionId;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};
use zookeeper_client::{Acls, Client, CreateMode, Error, PersistentWatcher, SessionInfo};

use crate::options::Options;

/// The pause after a round over all servers: a quorum that comes back should not wait for us.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause, where there is no session that could run out.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long a server may be silent, as a part of the session timeout. When a server loses its power the others serve again
/// after a while; whoever was connected to it must have noticed by then, and may have waited in vain for one that has not
/// noticed yet: with a third, a renewal goes through before the grace in each preset. The client looks at its clock eight
/// times in that time, which is most of what it costs at rest.
const SILENCE_PART: u32 = 3;
/// But this long in any case: below, a busy server would be left for nothing.
const SILENCE_MIN: Duration = Duration::from_millis(250);
/// How long a server may take to be connected to, as a part of that time: a host that runs answers at once, and each round
/// over the servers waits so long for the one that lost its power.
const CONNECT_PART: u32 = 4;

/// A session that is ready to be used.
#[derive(Debug)]
pub(crate) struct Session {
    /// The client library's handle. The session is closed when its last copy is gone.
    pub(crate) client: Arc<Client>,
    /// Tells of every change that is watched and, in order with these, of every change of the connection.
    /// Must not be asked again after it told of the session's end.
    pub(crate) watcher: PersistentWatcher,
    /// Which one of the servers serves it.
    pub(crate) server: String,
}

impl Session {
    /// Its id.
    pub(crate) fn id(&self) -> SessionId {
        SessionId(self.client.session_id().0)
    }

    /// Gets a new session, however long it takes. A failure is said once, not at each attempt.
    pub(crate) async fn open(options: Options) -> Self {
        let mut pause = PAUSE_MIN;
        let mut said = false;
        loop {
            match Self::any_server(&options, None, None).await {
                Ok(session) => {
                    let id = session.client.session_id();
                    info!(session = %id, "connected to the failover quorum at {}", session.server);
                    return session;
                }
                Err(error) if said => debug!(%error, "still no session with the failover quorum"),
                Err(error) => {
                    said = true;
                    let servers = options.servers.join(", ");
                    warn!(
                        "no session with the failover quorum ({servers}) yet, trying on: {error}"
                    );
                }
            }
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }

    /// Gets a new connection for a session that lost its own, however long it takes. None if the session is over.
    ///
    /// Only a server can say that: whether it has run out is not for our clock to tell.
    pub(crate) async fn resume(
        options: Options,
        session: SessionInfo,
        lost: String,
    ) -> Option<Self> {
        loop {
            match Self::any_server(&options, Some(&session), Some(&lost)).await {
                Ok(resumed) => {
                    let id = session.id();
                    info!(session = %id, "connected to the failover quorum at {} again", resumed.server);
                    return Some(resumed);
                }
                Err(NoSession::Refused(Error::SessionExpired | Error::AuthFailed)) => return None,
                Err(error) => debug!(%error, "not connected to the failover quorum yet"),
            }
            sleep(PAUSE_MIN).await;
        }
    }

    /// One round over the servers, in random order; the one that was `lost` comes last.
    async fn any_server(
        options: &Options,
        session: Option<&SessionInfo>,
        lost: Option<&str>,
    ) -> Result<Self, NoSession> {
        let mut servers: Vec<&String> = options.servers.iter().collect();
        fastrand::shuffle(&mut servers);
        servers.sort_by_key(|server| lost == Some(server.as_str()));
        let mut failed = NoSession::NoServers;
        for server in servers {
            match Self::one_server(options, server, session.cloned()).await {
                Err(error @ NoSession::Refused(Error::SessionExpired | Error::AuthFailed)) => {
                    return Err(error);
                }
                Err(error) => {
                    debug!(%error, "no session by this server");
                    failed = error;
                }
                opened => return opened,
            }
        }
        Err(failed)
    }

    async fn one_server(
        options: &Options,
        server: &str,
        session: Option<SessionInfo>,
    ) -> Result<Self, NoSession> {
        let silence = (options.session / SILENCE_PART).max(SILENCE_MIN);
        let limit = silence / CONNECT_PART;
        let failed = |reason| NoSession::Unreachable { server: server.to_owned(), reason };
        let connection = timeout(limit, TcpStream::connect(server)).await;
        let connection = connection.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let connection = connection.map_err(failed)?;
        // A small request would otherwise wait until the one before it was acknowledged.
        connection.set_nodelay(true).map_err(failed)?;
        let resumed = session.is_some();
        let mut connector = Client::connector()
            .with_session_timeout(options.session)
            .with_connection_timeout(silence)
            .with_fail_eagerly();
        if let Some(session) = session {
            connector = connector.with_session(session);
        }
        let client = match async_net::bringing(connection, connector.connect(server)).await {
            // What the library says of a round that ended with the only server that it was given.
            Err(Error::NoHosts) => return Err(NoSession::NotServing(server.to_owned())),
            connected => connected?,
        };
        let folder = CreateMode::Persistent.with_acls(Acls::anyone_all());
        for path in options.folders().filter(|_| !resumed) {
            client.mkdir(&path, &folder).await?;
        }
        // No watch of another kind is ever set: one on the same path could silently replace it (ZOOKEEPER-4466).
        let (path, mode) = options.watch();
        let watcher = client.watch(&path, mode).await?;
        if resumed {
            // This server may lag behind the last one. The library does not tell it what we have seen already.
            client.sync(&path).await?;
        }
        Ok(Self { client: Arc::new(client), watcher, server: server.to_owned() })
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
enum NoSession {
    #[error("no servers are configured")]
    NoServers,
    #[error("`{server}` cannot be connected to: {reason}")]
    Unreachable { server: String, reason: io::Error },
    #[error("`{0}` takes connections, and does not serve")]
    NotServing(String),
    #[error(transparent)]
    Refused(#[from] Error),
}
