//! The failover quorum: one order of transactions, and servers that lag behind it.
//!
//! What is modelled is what a client can tell: reads from the own server's state, writes decided by ZooKeeper's leader and
//! answered when the own server has applied them, sessions that end on tick buckets after the last touch that reached the
//! leader, and writes whose sender learns nothing. `protocol.md`, 11.

mod servers;
mod sessions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use headship_core::quorum::{ActionId, Op, Outcome, Refusal, SessionId};
use headship_core::record::Key;

use super::check::parse_active;
use super::host::HostId;
use super::net::{ConnId, Down};
use super::tree::{Change, Tree};
use super::world::{Happening, World};

/// One of the ensemble's servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerId(pub(super) usize);

/// How a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    On,
    /// Its process was killed: connections to it are refused at once.
    Killed,
    /// Without power or frozen: it says nothing at all.
    Silent,
}

#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) power: Power,
    /// Cut off from the other servers, not from clients.
    pub(super) isolated: bool,
    /// Whether it serves clients: it has, or still believes to have, contact with ZooKeeper's leader.
    pub(super) serving: bool,
    /// Whom it follows: the leader of that term.
    follows: u64,
    pub(super) tree: Tree,
    /// How many transactions it has applied.
    pub(super) applied: usize,
    /// How much later than usual it applies.
    pub(super) lag: Duration,
    last_apply: Duration,
    last_forward: Duration,
    touched: BTreeSet<SessionId>,
    /// What it will hand on once it sees the others again.
    held_back: VecDeque<Proposal>,
    /// Grows with each loss of contact: what was under way then comes to nothing.
    life: u64,
}

/// A session as ZooKeeper's leader knows it.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) timeout: Duration,
    touched: Duration,
    owner: ConnId,
}

/// A transaction.
#[derive(Clone, Debug)]
struct Txn {
    zxid: i64,
    changes: Vec<Change>,
    closed: Option<SessionId>,
    answer: Option<(ConnId, Down)>,
}

/// What is asked of ZooKeeper's leader.
#[derive(Clone, Debug)]
pub(super) struct Proposal {
    pub(super) conn: ConnId,
    pub(super) kind: Proposed,
}

#[derive(Clone, Debug)]
pub(super) enum Proposed {
    Open { timeout: Duration },
    Attach { session: SessionId },
    Write { id: ActionId, session: SessionId, ops: Vec<Op> },
    Close { session: SessionId },
}

/// What happens within the ensemble.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A proposal arrives at the leader of that term.
    Arrive {
        term: u64,
        proposal: Proposal,
    },
    /// The next proposal is decided.
    Commit {
        term: u64,
    },
    /// A server applies up to that many transactions.
    Apply {
        server: ServerId,
        life: u64,
        upto: usize,
    },
    /// The leader looks for sessions that ended.
    Tick,
    /// The followers' ping answers, which carry the touches of their clients.
    Touches,
    /// The servers notice that they have no leader.
    Leaderless {
        term: u64,
    },
    Elect {
        term: u64,
    },
    /// A server has caught up with the leader.
    Join {
        server: ServerId,
        life: u64,
    },
    /// A server notices that it lost the others.
    Alone {
        server: ServerId,
        life: u64,
    },
    /// The answer to a client that came back to its session.
    Attached {
        conn: ConnId,
        session: SessionId,
        alive: Option<Duration>,
    },
}

/// The ensemble.
#[derive(Clone, Debug)]
pub(super) struct Ensemble {
    pub(super) tick: Duration,
    pub(super) sync: Duration,
    pub(super) servers: Vec<Server>,
    pub(super) leader: Option<ServerId>,
    /// The state after all transactions.
    pub(super) head: Tree,
    log: Vec<Rc<Txn>>,
    sessions: BTreeMap<SessionId, Session>,
    next_session: i64,
    term: u64,
    proposals: VecDeque<Proposal>,
    last_commit: Duration,
    /// How long an answer takes at most, while the servers are busy.
    pub(super) slow: Option<Duration>,
    /// Whose writes access control refuses: those that touch this record, or all.
    pub(super) denied: BTreeMap<HostId, Option<Key>>,
    /// What somebody copied from the servers' disks, and in which life of the cluster.
    pub(super) copy: Option<(u64, Tree)>,
}

impl Ensemble {
    /// An ensemble of three servers that serves.
    pub(super) fn new(tick: Duration, sync_limit: u32) -> Self {
        let server = Server {
            power: Power::On,
            isolated: false,
            serving: true,
            follows: 0,
            tree: Tree::default(),
            applied: 0,
            lag: Duration::ZERO,
            last_apply: Duration::ZERO,
            last_forward: Duration::ZERO,
            touched: BTreeSet::new(),
            held_back: VecDeque::new(),
            life: 0,
        };
        Self {
            tick,
            sync: tick * sync_limit,
            servers: vec![server.clone(), server.clone(), server],
            leader: Some(ServerId(0)),
            head: Tree::default(),
            log: Vec::new(),
            sessions: BTreeMap::new(),
            next_session: 1,
            term: 0,
            proposals: VecDeque::new(),
            last_commit: Duration::ZERO,
            slow: None,
            denied: BTreeMap::new(),
            copy: None,
        }
    }

    pub(super) fn server(&self, id: ServerId) -> &Server {
        self.servers.get(id.0).expect("there are three servers, and ids are made of their numbers")
    }

    pub(super) fn server_mut(&mut self, id: ServerId) -> &mut Server {
        self.servers.get_mut(id.0).expect("there are three servers")
    }

    pub(super) fn ids(&self) -> Vec<ServerId> {
        (0..self.servers.len()).map(ServerId).collect()
    }

    /// The server with this name, if there is one.
    pub(super) fn by_name(&self, name: &str) -> Option<ServerId> {
        self.ids().into_iter().find(|id| format!("zk{}", id.0) == name)
    }

    /// Whether a server is up and sees the others.
    fn takes_part(&self, id: ServerId) -> bool {
        let server = self.server(id);
        server.power == Power::On && !server.isolated
    }

    fn has_quorum(&self) -> bool {
        self.ids().into_iter().filter(|id| self.takes_part(*id)).count() * 2 > self.servers.len()
    }
}

impl World {
    /// Starts what the ensemble does periodically.
    pub(super) fn start_ensemble(&mut self) {
        let tick = self.ensemble.tick;
        self.after(tick, Happening::Ensemble(Step::Tick));
        self.after(tick / 2, Happening::Ensemble(Step::Touches));
    }

    pub(super) fn ensemble_step(&mut self, step: Step) {
        let term_now = self.ensemble.term;
        match step {
            Step::Arrive { term, proposal } if term == term_now => self.arrive(proposal),
            Step::Commit { term } if term == term_now => self.commit_next(),
            Step::Leaderless { term } if term == term_now => self.leaderless(),
            Step::Elect { term } if term == term_now => self.elect(),
            Step::Arrive { .. }
            | Step::Commit { .. }
            | Step::Leaderless { .. }
            | Step::Elect { .. } => {}
            Step::Apply { server, life, upto } => self.apply(server, life, upto),
            Step::Tick => self.expire(),
            Step::Touches => self.carry_touches(),
            Step::Join { server, life } => self.join(server, life),
            Step::Alone { server, life } => {
                let is_alone = self.ensemble.server(server).life == life
                    && (self.ensemble.server(server).isolated || self.ensemble.leader.is_none());
                if is_alone {
                    self.stop_serving(server);
                }
            }
            Step::Attached { conn, session, alive } => self.attached(conn, session, alive),
        }
    }

    /// A server hands a client's request on to the leader.
    pub(super) fn forward(&mut self, server: ServerId, proposal: Proposal) {
        let Some(leader) = self.ensemble.leader else { return };
        if server != leader && self.ensemble.server(server).isolated {
            self.ensemble.server_mut(server).held_back.push_back(proposal);
            return;
        }
        let way = if server == leader { 20 } else { 0 };
        let way = if way > 0 { Duration::from_micros(way) } else { self.latency() };
        let now = self.now;
        let state = self.ensemble.server_mut(server);
        let at = state.last_forward.max(now + way);
        state.last_forward = at;
        let term = self.ensemble.term;
        self.at(at, Happening::Ensemble(Step::Arrive { term, proposal }));
    }

    fn arrive(&mut self, proposal: Proposal) {
        if let Proposed::Attach { session } = proposal.kind {
            let now = self.now;
            let known = self.ensemble.sessions.get_mut(&session);
            let alive = known.map(|known| {
                (known.owner, known.touched) = (proposal.conn, now);
                known.timeout
            });
            let way = self.latency();
            let conn = proposal.conn;
            self.after(way, Happening::Ensemble(Step::Attached { conn, session, alive }));
            return;
        }
        self.ensemble.proposals.push_back(proposal);
        self.plan_commit();
    }

    fn plan_commit(&mut self) {
        let disk = self.between(300, 3000);
        let at = self.ensemble.last_commit.max(self.now + disk);
        self.ensemble.last_commit = at;
        let term = self.ensemble.term;
        self.at(at, Happening::Ensemble(Step::Commit { term }));
    }

    fn commit_next(&mut self) {
        let Some(leader) = self.ensemble.leader else { return };
        if !self.ensemble.has_quorum() || !self.ensemble.takes_part(leader) {
            return; // It stays proposed; what becomes of it is decided with the leader.
        }
        if let Some(proposal) = self.ensemble.proposals.pop_front() {
            self.commit(proposal);
        }
    }

    fn commit(&mut self, proposal: Proposal) {
        let zxid = i64::try_from(self.ensemble.log.len() + 1).unwrap_or(i64::MAX);
        let conn = proposal.conn;
        let owns = |world: &Self, session| {
            world.ensemble.sessions.get(&session).is_some_and(|known| known.owner == conn)
        };
        match proposal.kind {
            Proposed::Open { timeout } => {
                let session = SessionId(self.ensemble.next_session);
                self.ensemble.next_session += 1;
                let touched = self.now;
                self.ensemble.sessions.insert(session, Session { timeout, touched, owner: conn });
                let answer = Some((conn, Down::Welcome { session, timeout }));
                self.append(Txn { zxid, changes: vec![], closed: None, answer });
            }
            Proposed::Write { id, session, ops } if owns(self, session) => {
                let host = self.net.host_of(conn);
                let denied = host.and_then(|host| self.ensemble.denied.get(&host));
                let denied = denied.and_then(|only| {
                    let is_denied = |op: &Op| only.as_ref().is_none_or(|key| op.key() == key);
                    ops.iter().position(is_denied)
                });
                let result = if let Some(step) = denied {
                    Err((step, Refusal::Denied("NoAuth".to_owned())))
                } else {
                    let ops = self.without_dropped(ops.clone());
                    self.ensemble.head.multi(&ops, session, zxid)
                };
                let (changes, outcome) = match result {
                    Ok((changes, versions)) => (changes, Outcome::Done { versions }),
                    Err((step, why)) => {
                        let claims = |op: &Op| matches!(op, Op::Create { key: Key::Lock, .. });
                        self.write_refused(ops.get(step), &why);
                        self.checker.beaten += u64::from(ops.iter().any(claims));
                        (vec![], Outcome::Refused { step, why })
                    }
                };
                let answer = Some((conn, Down::Wrote { id, outcome }));
                self.append(Txn { zxid, changes, closed: None, answer });
            }
            Proposed::Close { session } if owns(self, session) => self.close_session(session),
            // The session is over, or has moved: such a write is never decided, and its connection is closed.
            Proposed::Write { .. } | Proposed::Close { .. } | Proposed::Attach { .. } => {
                self.server_closes(conn);
            }
        }
    }

    /// What an operator, or some other client, writes.
    pub(super) fn write_by_hand(&mut self, ops: &[Op]) -> bool {
        let zxid = i64::try_from(self.ensemble.log.len() + 1).unwrap_or(i64::MAX);
        let able = self.ensemble.leader.is_some() && self.ensemble.has_quorum();
        match self.ensemble.head.multi(ops, SessionId(0), zxid) {
            Ok((changes, _)) if able => {
                self.append(Txn { zxid, changes, closed: None, answer: None });
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    fn append(&mut self, txn: Txn) {
        let in_office = txn.changes.iter().any(|change| change.key == Key::Active);
        let before = in_office.then(|| parse_active(&self.ensemble.head)).flatten();
        let txn = Rc::new(txn);
        self.append_unseen(&txn);
        self.decided(before.as_ref(), &txn.changes);
    }

    /// A transaction stands in the log, and goes out to the servers.
    fn append_unseen(&mut self, txn: &Rc<Txn>) {
        self.ensemble.head.apply(&txn.changes);
        self.ensemble.log.push(Rc::clone(txn));
        let upto = self.ensemble.log.len();
        for server in self.ensemble.ids() {
            if self.ensemble.takes_part(server) && self.ensemble.server(server).serving {
                self.plan_apply(server, upto);
            }
        }
    }

    /// Every record is as in the copy, and what the copy has not is gone.
    pub(super) fn put_back(&mut self, copy: &Tree) {
        let zxid = i64::try_from(self.ensemble.log.len() + 1).unwrap_or(i64::MAX);
        let gone =
            self.ensemble.head.persistent().into_iter().filter(|key| copy.get(key).is_none());
        let gone = gone.map(|key| Change { key, node: None });
        let back = copy.persistent().into_iter().map(|key| {
            let node = copy.get(&key).cloned();
            Change { key, node }
        });
        let changes = gone.chain(back).collect();
        self.append_unseen(&Rc::new(Txn { zxid, changes, closed: None, answer: None }));
    }

    fn plan_apply(&mut self, server: ServerId, upto: usize) {
        let way = if Some(server) == self.ensemble.leader {
            Duration::from_micros(20)
        } else {
            self.latency() + self.ensemble.server(server).lag
        };
        let now = self.now;
        let state = self.ensemble.server_mut(server);
        let at = state.last_apply.max(now + way);
        state.last_apply = at;
        let life = state.life;
        self.at(at, Happening::Ensemble(Step::Apply { server, life, upto }));
    }

    fn apply(&mut self, server: ServerId, life: u64, upto: usize) {
        if self.ensemble.server(server).life == life {
            self.catch_up(server, upto);
        }
    }

    fn catch_up(&mut self, server: ServerId, upto: usize) {
        while self.ensemble.server(server).applied < upto {
            let next = self.ensemble.server(server).applied;
            let Some(txn) = self.ensemble.log.get(next).cloned() else { return };
            let state = self.ensemble.server_mut(server);
            state.tree.apply(&txn.changes);
            state.applied += 1;
            for change in &txn.changes {
                self.hint(server, &change.key);
            }
            if let Some((conn, answer)) = &txn.answer {
                self.applied_for(server, *conn, answer, txn.zxid);
            }
            if let Some(session) = txn.closed {
                self.drop_session(server, session);
            }
        }
    }
}
