//! A session that can be used: connect, folders, watch, again and again until it stands; and the same session over a new
//! connection, once the old one broke.
//!
//! The client library reconnects by itself, too, but badly (`async-net` of ours says how), so it is kept from it: each of
//! its clients has one connection in its life. What is done with a session, and when one is over, is decided in `quorum`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use headship_core::config::checked::{RESUME_PART, ROUND_PAUSE, silence};
use headship_core::quorum::SessionId;
use headship_core::say::Kind;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};
use zookeeper_client::{
    Acls, Client, CreateMode, Error, PersistentWatcher, SessionInfo, SessionState,
};

use crate::options::Options;
use crate::servers::Servers;

/// The longest pause, where there is no session that could run out.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How many rounds may fail before that is said: the first ones do in each election of the servers.
const SAY_AFTER: u32 = 5;

/// A session that is ready to be used.
#[derive(Debug)]
pub(crate) struct Session {
    /// The client library's handle. The session is closed when its last copy is gone.
    pub(crate) client: Arc<Client>,
    /// Tells of every change that is watched and, in order with these, of every change of the connection.
    /// Must not be asked again after it told of the session's end.
    pub(crate) watcher: PersistentWatcher,
    /// The servers, for the next connection.
    servers: Servers,
    /// Which one of them serves it.
    server: String,
}

/// A session that lost its connection.
#[derive(Debug)]
pub(crate) struct Lost {
    session: SessionInfo,
    servers: Servers,
}

impl Session {
    /// Its id.
    pub(crate) fn id(&self) -> SessionId {
        SessionId(self.client.session_id().0)
    }

    /// What is needed to go on with it over another connection. Its client goes, and what that has not sent goes with it.
    pub(crate) fn lost(mut self) -> Lost {
        self.servers.lost(&self.server);
        Lost { session: self.client.session().clone(), servers: self.servers }
    }

    /// Gets a new session, however long it takes. A failure is said once, not at each attempt.
    pub(crate) async fn open(options: Options) -> Self {
        let mut servers = Servers::new(options.servers.clone());
        let mut pause = ROUND_PAUSE;
        let mut said = false;
        let limit = silence(options.session);
        loop {
            match one_round(&options, &mut servers, None, limit).await {
                Ok((client, watcher, server)) => {
                    let id = client.session_id();
                    info!(MESSAGE_ID = Kind::QuorumConnected.id(), session = %id,
                        "connected to the failover quorum at {server}");
                    return Self { client, watcher, servers, server };
                }
                Err(error) if said => debug!(%error, "still no session with the failover quorum"),
                Err(error) => {
                    said = true;
                    let servers = options.servers.join(", ");
                    warn!(
                        MESSAGE_ID = Kind::QuorumOutOfSight.id(),
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
    pub(crate) async fn resume(options: Options, lost: Lost) -> Option<Self> {
        let Lost { session, mut servers } = lost;
        let mut rounds = 0_u32;
        loop {
            rounds = rounds.saturating_add(1);
            let limit =
                (silence(options.session) / RESUME_PART).saturating_mul(rounds.min(RESUME_PART));
            match one_round(&options, &mut servers, Some(&session), limit).await {
                Ok((client, watcher, server)) => {
                    let id = client.session_id();
                    info!(MESSAGE_ID = Kind::QuorumConnected.id(), session = %id,
                        "connected to the failover quorum at {server} again");
                    return Some(Self { client, watcher, servers, server });
                }
                Err(NoSession::Refused(error @ (Error::SessionExpired | Error::AuthFailed))) => {
                    warn!(MESSAGE_ID = Kind::SessionOver.id(), session = %session.id(),
                        "the session with the failover quorum is over: {error}");
                    return None;
                }
                Err(error) if rounds == SAY_AFTER => {
                    let servers = options.servers.join(", ");
                    warn!(
                        MESSAGE_ID = Kind::QuorumOutOfSight.id(),
                        "the failover quorum ({servers}) cannot be reached, trying on: {error}"
                    );
                }
                Err(error) => debug!(%error, "not connected to the failover quorum yet"),
            }
            sleep(ROUND_PAUSE).await;
        }
    }
}

type Connected = (Arc<Client>, PersistentWatcher, String);

/// One round over the servers. Of a session that is resumed each may take `limit` to be connected to, and as long to answer.
async fn one_round(
    options: &Options,
    servers: &mut Servers,
    session: Option<&SessionInfo>,
    limit: Duration,
) -> Result<Connected, NoSession> {
    let mut failed = NoSession::NoServers;
    for server in servers.round() {
        let attempt = one_server(options, servers, &server, session, limit).await;
        match attempt {
            Err(error @ NoSession::Refused(Error::SessionExpired | Error::AuthFailed)) => {
                return Err(error);
            }
            Err(error) => {
                debug!(%error, "no session by this server");
                if error.is_silence() {
                    servers.last(&server);
                }
                failed = error;
            }
            Ok((client, watcher)) => return Ok((client, watcher, server)),
        }
    }
    Err(failed)
}

async fn one_server(
    options: &Options,
    servers: &mut Servers,
    server: &str,
    session: Option<&SessionInfo>,
    limit: Duration,
) -> Result<(Arc<Client>, PersistentWatcher), NoSession> {
    let failed = |reason| NoSession::Unreachable { server: server.to_owned(), reason };
    let connection = servers.connect(server, limit).await.map_err(failed)?;
    let mut connector = Client::connector()
        .with_session_timeout(options.session)
        .with_connection_timeout(silence(options.session))
        .with_fail_eagerly();
    if let Some(session) = session {
        connector = connector.with_session(session.clone());
    }
    let connecting = async_net::bringing(connection, connector.connect(server));
    let client = match timeout(limit, connecting).await {
        Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
        // What the library says of a round that ended with the only server that it was given.
        Ok(Err(Error::NoHosts)) => return Err(NoSession::NotServing(server.to_owned())),
        Ok(connected) => connected?,
    };
    let folder = CreateMode::Persistent.with_acls(Acls::anyone_all());
    for path in options.folders().filter(|_| session.is_none()) {
        client.mkdir(&path, &folder).await?;
    }
    let watcher = loop {
        match watch(&client, options).await {
            Ok(watcher) => break watcher,
            // Dropping a client that is connected would end the session.
            Err(error) if session.is_some() && client.state() == SessionState::SyncConnected => {
                debug!(%error, "could not watch the failover quorum yet");
                sleep(ROUND_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    Ok((Arc::new(client), watcher))
}

/// Sets the one watch that a session has, and catches up with what earlier connections of this process have seen: this
/// server may lag behind, and the library does not tell it.
async fn watch(client: &Client, options: &Options) -> Result<PersistentWatcher, Error> {
    // No watch of another kind is ever set: one on the same path could silently replace it (ZOOKEEPER-4466).
    let (path, mode) = options.watch();
    let watcher = client.watch(&path, mode).await?;
    client.sync(&path).await?;
    Ok(watcher)
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
enum NoSession {
    #[error("no servers are configured")]
    NoServers,
    #[error("`{server}`: {reason}")]
    Unreachable { server: String, reason: io::Error },
    #[error("`{0}` takes connections, and does not serve")]
    NotServing(String),
    #[error(transparent)]
    Refused(#[from] Error),
}

impl NoSession {
    /// Whether the server let us wait for nothing.
    fn is_silence(&self) -> bool {
        match self {
            Self::Unreachable { reason, .. } => reason.kind() == io::ErrorKind::TimedOut,
            Self::NoServers | Self::NotServing(_) | Self::Refused(_) => false,
        }
    }
}
