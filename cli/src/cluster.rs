//! Looks at the cluster: connects to the failover quorum, reads its records, asks its servers. Always within a limit.

use std::collections::VecDeque;
use std::time::Duration;

use headship_core::config::Config;
use headship_core::config::checked;
use headship_core::known::Content;
use headship_core::node::NodeName;
use headship_core::quorum::{Found, Version};
use headship_core::record::{self, Active, Key, Lease, Lock, Phase};
use headship_drivers::host::clock;
use headship_zk::{OneShot, Options, Watched, words};
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use crate::followers::{self, Follower};
use crate::past;
use crate::view::{self, Headnode, Pulse, Quorum, Records, Server, View};

/// How long one server may take to say what it is.
const WORD_LIMIT: Duration = Duration::from_secs(1);
/// How long the session's end is waited for; it ends by itself otherwise.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// So many renewals must be missing until a holder counts as silent: on a busy host one or two come late.
const LATE_RENEWALS: u32 = 3;

/// A connection to the failover quorum.
pub(crate) struct Cluster {
    config: Config,
    limit: Duration,
    link: OneShot,
    /// The lease as it was last seen, and since when it reads so.
    lease: Option<(Option<Lease>, Instant)>,
}

impl Cluster {
    /// Connects.
    ///
    /// # Errors
    /// The sentence why the quorum is out of sight.
    pub(crate) async fn connect(config: &Config, limit: Duration) -> Result<Self, String> {
        let connected = OneShot::connect(Options::new(config, Watched::Everything), limit).await;
        let link = connected.map_err(|unreachable| unreachable.to_string())?;
        Ok(Self { config: config.clone(), limit, link, lease: None })
    }

    /// The session timeout that the servers granted.
    pub(crate) fn granted(&self) -> Duration {
        self.link.granted()
    }

    /// Waits until something changes. Nothing is lost if the future is dropped.
    pub(crate) async fn changed(&mut self) {
        self.link.changed().await;
    }

    /// All records, and whether the holder lives.
    ///
    /// # Errors
    /// The sentence why the quorum is out of sight.
    pub(crate) async fn records(&mut self) -> Result<Records, String> {
        let mut records = self.glance().await?;
        if records.pulse == Pulse::Still(Duration::ZERO) {
            records.pulse = self.feel(&records).await?;
        }
        Ok(records)
    }

    /// All records, and whether the holder lives and renews: unlike `records` this awaits a renewal.
    ///
    /// # Errors
    /// The sentence why the quorum is out of sight.
    pub(crate) async fn examine(&mut self) -> Result<Records, String> {
        let mut records = self.records().await?;
        if let (Pulse::Lock, Some(active)) = (records.pulse, view::record(&records.active)) {
            let (lease, epoch) = (Duration::from_millis(active.lease_ms), active.epoch);
            let pulse = self.await_renewal(self.config.timing.renew_in(lease)).await?;
            // What was read before the wait may have passed.
            records = self.records().await?;
            let same = view::record(&records.active).is_some_and(|active| active.epoch == epoch);
            if same && records.pulse == Pulse::Lock {
                records.pulse = pulse;
            }
        }
        Ok(records)
    }

    /// All records but what is past, without a wait: a lost lock reads as a pulse that stood still for no time.
    ///
    /// # Errors
    /// The sentence why the quorum is out of sight.
    pub(crate) async fn glance(&mut self) -> Result<Records, String> {
        let mut keys = vec![Key::Settings, Key::Active, Key::Lock, Key::History];
        for headnode in &self.config.headnodes {
            let name = &headnode.name;
            keys.extend([
                Key::Headnode(name.clone()),
                Key::Health(name.clone()),
                Key::Services(name.clone()),
                Key::Duty(name.clone()),
                Key::Promise(name.clone()),
            ]);
        }
        let mut found = Answers(keys.iter().cloned().zip(self.read(&keys).await?).collect());
        let (settings, of_active) = (found.next(), found.version());
        let (active, lock, history) = (found.next(), found.next(), found.next());
        let headnodes = self.config.headnodes.iter();
        let headnodes = headnodes.map(|headnode| headnode_seen(headnode, &mut found)).collect();
        let pulse = pulse(view::record(&active), view::record(&lock));
        let records = Records { settings, active, of_active, lock, pulse, history, headnodes };
        Ok(past::without(records))
    }

    /// The nodes that show how far they follow; where any does, each headnode should.
    ///
    /// # Errors
    /// The sentence why the quorum is out of sight.
    pub(crate) async fn followers(&mut self) -> Result<Vec<Follower>, String> {
        let listed = timeout(self.limit, self.link.folder(followers::FOLDER)).await;
        let Ok(Some(found)) = listed else { return Err(self.gone()) };
        let follower = |(name, found): (String, Found)| {
            // A name that no node can have is somebody else's.
            Some(Follower::new(NodeName::try_from(name.as_str()).ok()?, &found))
        };
        let mut nodes: Vec<Follower> = found.into_iter().filter_map(follower).collect();
        if !nodes.is_empty() {
            for headnode in &self.config.headnodes {
                let name = headnode.name.as_str();
                if !nodes.iter().any(|node| node.name == name) {
                    nodes.push(Follower::absent(name.to_owned()));
                }
            }
            nodes.sort_by(|one, other| one.name.cmp(&other.name));
        }
        Ok(nodes)
    }

    /// That the quorum was there and is not any more.
    fn gone(&self) -> String {
        format!(
            "the failover quorum does not answer any more: see that most of its servers ({}) run",
            self.config.quorum.servers.join(", ")
        )
    }

    /// Reads one record, with its version if it exists.
    ///
    /// # Errors
    /// The sentence why the quorum is out of sight.
    pub(crate) async fn one<T: DeserializeOwned>(
        &mut self,
        key: &Key,
    ) -> Result<(Content<T>, Option<Version>), String> {
        // Beside another one: that this one alone is unread means that we may not read it.
        let found = self.read(&[key.clone(), Key::Lock]).await?;
        let found = found.into_iter().next().unwrap_or(Found::Unread);
        Ok((content(key, &found), version(&found)))
    }

    /// The connection itself, for writes.
    pub(crate) fn link(&mut self) -> &mut OneShot {
        &mut self.link
    }

    /// Ends the session.
    pub(crate) async fn close(self) {
        self.link.close(CLOSE_LIMIT).await;
    }

    /// The lock is gone: does the lease move? A holder that merely lost its lock goes on renewing.
    async fn feel(&mut self, records: &Records) -> Result<Pulse, String> {
        let Some(active) = view::record(&records.active) else { return Ok(Pulse::NoHolder) };
        let patience = Duration::from_millis(active.lease_ms).min(self.limit);
        let (begin, first) = (Instant::now(), self.lease().await?);
        while begin.elapsed() < patience {
            // The end of the wait is as good a reason to look as a change.
            drop(timeout(patience.saturating_sub(begin.elapsed()), self.link.changed()).await);
            if self.lease().await? != first {
                return Ok(Pulse::Lease);
            }
        }
        Ok(Pulse::Still(patience))
    }

    /// The lock is there: is the lease renewed, as is due so often? Some that come late are no silence.
    async fn await_renewal(&mut self, due: Duration) -> Result<Pulse, String> {
        let patience = (due * LATE_RENEWALS).min(self.limit);
        loop {
            let lease = self.lease().await?;
            let since = match &self.lease {
                Some((seen, since)) if *seen == lease => *since,
                Some(_) => {
                    self.lease = Some((lease, Instant::now()));
                    return Ok(Pulse::Lock);
                }
                None => self.lease.insert((lease, Instant::now())).1,
            };
            let unrenewed = since.elapsed();
            if unrenewed >= patience {
                return Ok(Pulse::Silent { unrenewed, due });
            }
            // The end of the wait is as good a reason to look as a change.
            drop(timeout(patience.saturating_sub(unrenewed), self.link.changed()).await);
        }
    }

    async fn lease(&mut self) -> Result<Option<Lease>, String> {
        let (lease, _) = self.one::<Lease>(&Key::Lease).await?;
        Ok(view::record(&lease).cloned())
    }

    /// Reads records. That all of them are unread means that the connection is gone.
    async fn read(&mut self, keys: &[Key]) -> Result<Vec<Found>, String> {
        match timeout(self.limit, self.link.read(keys)).await {
            Ok(found) if found.iter().any(|found| *found != Found::Unread) => Ok(found),
            Ok(_) | Err(_) => Err(self.gone()),
        }
    }
}

/// Looks once: all records, and whether the holder lives.
///
/// # Errors
/// The sentence why the quorum is out of sight.
pub(crate) async fn once(config: &Config, limit: Duration) -> Result<Records, String> {
    let mut cluster = Cluster::connect(config, limit).await?;
    let seen = cluster.records().await;
    cluster.close().await;
    seen
}

/// Answers in the order of their questions.
struct Answers(VecDeque<(Key, Found)>);

impl Answers {
    /// The version of what comes next.
    fn version(&self) -> Option<Version> {
        self.0.front().and_then(|(_, found)| version(found))
    }

    fn next<T: DeserializeOwned>(&mut self) -> Content<T> {
        self.0.pop_front().map_or(Content::Unread, |(key, found)| content(&key, &found))
    }
}

fn headnode_seen(headnode: &checked::Headnode, found: &mut Answers) -> Headnode {
    Headnode {
        name: headnode.name.clone(),
        address: headnode.address.clone(),
        state: found.next(),
        health: found.next(),
        services: found.next(),
        duty: found.next(),
        promise: found.next(),
        past: None,
    }
}

fn version(found: &Found) -> Option<Version> {
    match found {
        Found::Data { version, .. } => Some(*version),
        Found::Missing | Found::Unread => None,
    }
}

fn content<T: DeserializeOwned>(key: &Key, found: &Found) -> Content<T> {
    match found {
        Found::Missing => Content::Missing,
        Found::Unread => Content::Unread,
        Found::Data { data, .. } => {
            record::parse(key, data).map_or_else(Content::Corrupt, Content::Record)
        }
    }
}

/// What the lock says of the holder. Who is named by a ceded office holds nothing.
fn pulse(active: Option<&Active>, lock: Option<&Lock>) -> Pulse {
    let Some(active) = active else { return Pulse::NoHolder };
    match (&active.phase, &active.holder, &active.claimant) {
        (Phase::Ceded { .. }, _, _) | (_, None, _) | (_, _, Some(_)) => Pulse::NoHolder,
        (_, Some(holder), None) if lock.is_some_and(|lock| lock.by == *holder) => Pulse::Lock,
        (_, Some(_), None) => Pulse::Still(Duration::ZERO),
    }
}

/// What each server of the quorum says it is. All are asked at once.
pub(crate) async fn servers(config: &Config) -> Vec<Server> {
    let ask = |address: &String| {
        let address = address.clone();
        spawn_blocking(move || {
            let answer = words::mode(&address, WORD_LIMIT);
            let answer = answer.map(|mode| mode.unwrap_or_else(|| "unknown".to_owned()));
            Server { answer: answer.map_err(|error| error.to_string()), address }
        })
    };
    let asked: Vec<_> = config.quorum.servers.iter().map(ask).collect();
    let end = Instant::now() + WORD_LIMIT * 2;
    let mut servers = Vec::new();
    for (address, answer) in config.quorum.servers.iter().zip(asked) {
        let answer = tokio::time::timeout_at(end, answer).await;
        servers.push(answer.ok().and_then(Result::ok).unwrap_or_else(|| Server {
            address: address.clone(),
            answer: Err("it does not answer".to_owned()),
        }));
    }
    servers
}

/// A view of the quorum's records, or of this host alone.
pub(crate) fn view(
    config: &Config,
    seen: Result<Records, String>,
    local: impl FnOnce() -> view::Local,
) -> View {
    let quorum = match seen {
        Ok(records) => Quorum::InSight(Box::new(records)),
        Err(why) => Quorum::Away { why, local: local() },
    };
    View::new(config, clock::wall(), quorum)
}
