//! A session from nothing to usable: connect, folders, watch; again and again until it stands.
//!
//! What is done with a session, and when one is over, is decided in `quorum`.

use std::sync::Arc;
use std::time::Duration;

use headship_core::quorum::SessionId;
use tracing::{debug, info, warn};
use zookeeper_client::{Acls, Client, CreateMode, Error, PersistentWatcher};

use crate::options::Options;

/// The first pause between two attempts to get a session.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause: a quorum that comes back should not wait for us longer than a short lease.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long a server may be silent, and how long it may take to be connected to, as a part of the session timeout. When
/// a server loses its power the others serve again after a while; whoever was connected to it must have noticed by then,
/// and may have tried it once more: with a third, and the pauses of the library between its rounds, a renewal goes through
/// before the grace in each preset, even if each round ends with the lost server. The client looks at its clock eight
/// times in that time, which is most of what it costs at rest.
const SILENCE_PART: u32 = 3;
/// But this long in any case: below, a busy server would be left for nothing.
const SILENCE_MIN: Duration = Duration::from_millis(250);

/// A session that is ready to be used.
#[derive(Debug)]
pub(crate) struct Session {
    /// The client library's handle. The session is closed when its last copy is gone.
    pub(crate) client: Arc<Client>,
    /// Tells of every change that is watched and, in order with these, of every change of the connection.
    /// Must not be asked again after it told of the session's end.
    pub(crate) watcher: PersistentWatcher,
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
            match Self::try_open(&options).await {
                Ok(session) => {
                    info!(session = %session.client.session_id(), "connected to the failover quorum");
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
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }

    /// Watches again after a reconnect within the session; ends when that is done. For the connection's sake: should it
    /// break again, this may have to be dropped and made anew.
    ///
    /// The library claims to do that by itself, and does not: it sends a persistent watch in a message that has no place
    /// for one (0.11.2, `resend_watches`), and the server forgets it.
    pub(crate) async fn watch_again(client: Arc<Client>, options: Options) {
        let (path, mode) = options.watch();
        // The watcher that this returns is not needed: the library tells the first one of whatever the server tells.
        while let Err(error) = client.watch(&path, mode).await {
            debug!(%error, "could not watch the failover quorum again yet");
            tokio::time::sleep(PAUSE_MIN).await;
        }
    }

    async fn try_open(options: &Options) -> Result<Self, Error> {
        // One round over the servers, without the library's own pauses, which double up to the session timeout.
        let client = Client::connector()
            .with_session_timeout(options.session)
            .with_connection_timeout((options.session / SILENCE_PART).max(SILENCE_MIN))
            .with_fail_eagerly()
            .connect(&options.servers.join(","))
            .await?;
        let folder = CreateMode::Persistent.with_acls(Acls::anyone_all());
        for path in options.folders() {
            client.mkdir(&path, &folder).await?;
        }
        // No watch of another kind is ever set: one on the same path could silently replace it (ZOOKEEPER-4466).
        let (path, mode) = options.watch();
        let watcher = client.watch(&path, mode).await?;
        Ok(Self { client: Arc::new(client), watcher })
    }
}
