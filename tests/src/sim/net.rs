//! Connections between clients and ZooKeeper servers: in order, late, held back while a link is cut, and told of a broken
//! end only where somebody is there to tell.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use headship_core::quorum::{ActionId, Found, Outcome, Request, SessionId};
use headship_core::record::Key;

use super::clock::micros;
use super::ensemble::{Power, Proposal, Proposed, ServerId};
use super::host::{DaemonId, HostId, Input, Kind};
use super::world::{Happening, World};

/// How long a host's network waits before it sends again what was not received.
const RESEND: Duration = Duration::from_millis(200);

/// How long it tries that for a connection whose client is gone.
const LINGER: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnId(u64);

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// From a client to a server.
    Up,
    Down,
}

/// What a client says.
#[derive(Clone, Debug)]
pub(super) enum Up {
    Hello { session: Option<SessionId>, timeout: Duration },
    Ping,
    Ask { id: ActionId, request: Request },
    Close,
}

/// What a server says.
#[derive(Clone, Debug)]
pub(super) enum Down {
    Welcome {
        session: SessionId,
        timeout: Duration,
    },
    Expired,
    Pong,
    Read {
        id: ActionId,
        key: Key,
        found: Found,
    },
    Wrote {
        id: ActionId,
        outcome: Outcome,
    },
    Changed(Key),
    /// The connection is closed by the server, or by the kernel of its host.
    Reset,
}

/// What a server has not answered yet, in the order it was asked.
#[derive(Clone, Debug)]
enum Waiting {
    Read { id: ActionId, key: Key },
    Write { id: ActionId },
}

#[derive(Clone, Debug)]
pub(super) struct Conn {
    daemon: DaemonId,
    process: u64,
    server: ServerId,
    session: Option<SessionId>,
    up: VecDeque<(Duration, Up)>,
    down: VecDeque<(Duration, Down)>,
    client_open: bool,
    closed_at: Duration,
    server_open: bool,
    waiting: VecDeque<Waiting>,
    pumping: BTreeSet<Way>,
}

/// All connections, and which links are cut.
#[derive(Clone, Debug, Default)]
pub(super) struct Net {
    conns: BTreeMap<ConnId, Conn>,
    drawn: u64,
    pub(super) cut: BTreeSet<(HostId, ServerId, Way)>,
    /// How much longer than others what a host sends and receives may take.
    pub(super) slow: BTreeMap<HostId, Duration>,
    /// The headnodes that do not reach each other, the lower one first.
    pub(super) apart: BTreeSet<(HostId, HostId)>,
    /// When it last changed who reaches whom.
    pub(super) reach_changed: Duration,
}

impl Net {
    /// Whose connection it is.
    pub(super) fn daemon_of(&self, id: ConnId) -> Option<DaemonId> {
        self.conns.get(&id).map(|conn| conn.daemon)
    }

    /// On which host whoever has it runs.
    pub(super) fn host_of(&self, id: ConnId) -> Option<HostId> {
        self.daemon_of(id).map(|daemon| daemon.host)
    }
}

impl World {
    /// A client opens a connection. Whether anybody is there shows later.
    pub(super) fn open(
        &mut self,
        daemon: DaemonId,
        process: u64,
        server: ServerId,
        hello: Up,
    ) -> ConnId {
        self.net.drawn += 1;
        let id = ConnId(self.net.drawn);
        let conn = Conn {
            daemon,
            process,
            server,
            session: None,
            up: VecDeque::new(),
            down: VecDeque::new(),
            client_open: true,
            closed_at: Duration::ZERO,
            server_open: self.ensemble.server(server).power == Power::On,
            waiting: VecDeque::new(),
            pumping: BTreeSet::new(),
        };
        self.net.conns.insert(id, conn);
        self.send_up(id, hello);
        id
    }

    pub(super) fn send_up(&mut self, id: ConnId, message: Up) {
        let busy = matches!(message, Up::Ask { .. });
        let at = self.now + self.latency() + self.slowness(busy) + self.link_delay(id);
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        let at = conn.up.back().map_or(at, |(last, _)| at.max(*last));
        conn.up.push_back((at, message));
        self.plan_pump(id, Way::Up, at);
    }

    fn send_down(&mut self, id: ConnId, message: Down) {
        let busy = matches!(message, Down::Read { .. } | Down::Wrote { .. });
        let at = self.now + self.latency() + self.slowness(busy) + self.link_delay(id);
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        let at = conn.down.back().map_or(at, |(last, _)| at.max(*last));
        conn.down.push_back((at, message));
        self.plan_pump(id, Way::Down, at);
    }

    /// What a busy server adds to each way of a request. Before it is carried out and after: nobody can tell where it lay.
    fn slowness(&mut self, busy: bool) -> Duration {
        let Some(most) = self.ensemble.slow.filter(|_| busy).map(|most| most / 2) else {
            return Duration::ZERO;
        };
        if self.setup.calm { most } else { self.between(250_000, micros(most)) }
    }

    /// What the link of its host adds to everything.
    fn link_delay(&mut self, id: ConnId) -> Duration {
        let most = self.net.host_of(id).and_then(|host| self.net.slow.get(&host).copied());
        most.map_or(Duration::ZERO, |most| self.between(0, micros(most)))
    }

    fn plan_pump(&mut self, id: ConnId, way: Way, at: Duration) {
        let planned = self.net.conns.get_mut(&id).is_some_and(|conn| !conn.pumping.insert(way));
        if !planned {
            self.at(at, Happening::Pump(id, way));
        }
    }

    /// What is due on a connection arrives, or waits for a link that is cut.
    pub(super) fn pump(&mut self, id: ConnId, way: Way) {
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        conn.pumping.remove(&way);
        let (host, server) = (conn.daemon.host, conn.server);
        let dumb = self.host(host).is_dumb()
            || self.ensemble.server(server).power == Power::Silent
            || self.net.cut.contains(&(host, server, way));
        if dumb {
            self.hold_back(id, way);
            return;
        }
        match way {
            Way::Up => self.pump_up(id),
            Way::Down => self.pump_down(id),
        }
        let next = self.net.conns.get(&id).and_then(|conn| match way {
            Way::Up => conn.up.front().map(|(at, _)| *at),
            Way::Down => conn.down.front().map(|(at, ..)| *at),
        });
        if let Some(at) = next {
            self.plan_pump(id, way, at);
        }
        self.forget_if_over(id);
    }

    fn hold_back(&mut self, id: ConnId, way: Way) {
        let now = self.now;
        let Some(conn) = self.net.conns.get(&id) else { return };
        if !conn.client_open && (way == Way::Down || now >= conn.closed_at + LINGER) {
            self.net.conns.remove(&id);
        } else {
            self.plan_pump(id, way, now + RESEND);
        }
    }

    fn forget_if_over(&mut self, id: ConnId) {
        let over = self
            .net
            .conns
            .get(&id)
            .is_some_and(|conn| !conn.client_open && (conn.up.is_empty() || !conn.server_open));
        if over {
            self.net.conns.remove(&id);
        }
    }

    fn pump_up(&mut self, id: ConnId) {
        while let Some(conn) = self.net.conns.get_mut(&id) {
            if conn.up.front().is_none_or(|(at, _)| *at > self.now) {
                return;
            }
            let Some((_, message)) = conn.up.pop_front() else { return };
            if conn.server_open {
                self.server_hears(id, message);
            } else {
                conn.up.clear();
                self.send_down(id, Down::Reset);
                return;
            }
        }
    }

    fn pump_down(&mut self, id: ConnId) {
        while let Some(conn) = self.net.conns.get_mut(&id) {
            if conn.down.front().is_none_or(|(at, _)| *at > self.now) {
                return;
            }
            let Some((_, message)) = conn.down.pop_front() else { return };
            if conn.client_open {
                let (daemon, process) = (conn.daemon, conn.process);
                self.input(daemon, process, Input::Received(id, message));
            }
        }
    }

    fn server_hears(&mut self, id: ConnId, message: Up) {
        let Some(conn) = self.net.conns.get(&id) else { return };
        let (server, session) = (conn.server, conn.session);
        if !self.ensemble.server(server).serving {
            self.server_closes(id);
            return;
        }
        if let Some(session) = session {
            self.touch(server, session);
        }
        if let Up::Ask { id: ask, request } = &message
            && session.is_some()
        {
            self.wait_for(id, *ask, request);
        }
        match (message, session) {
            (Up::Hello { session: Some(session), .. }, _) => {
                let kind = Proposed::Attach { session };
                self.forward(server, Proposal { conn: id, kind });
            }
            (Up::Hello { session: None, timeout, .. }, _) => {
                let tick = self.ensemble.tick;
                let kind = Proposed::Open { timeout: timeout.clamp(tick * 2, tick * 20) };
                self.forward(server, Proposal { conn: id, kind });
            }
            (Up::Ping, Some(_)) => self.send_down(id, Down::Pong),
            (Up::Ask { request: Request::Read(_), .. }, Some(_)) => {
                self.answer(id, None);
            }
            (Up::Ask { id: ask, request: Request::Write(ops) }, Some(session)) => {
                let kind = Proposed::Write { id: ask, session, ops };
                self.forward(server, Proposal { conn: id, kind });
            }
            (Up::Close, Some(session)) => {
                self.forward(server, Proposal { conn: id, kind: Proposed::Close { session } });
            }
            (Up::Ping | Up::Ask { .. } | Up::Close, None) => {}
        }
    }

    fn wait_for(&mut self, conn: ConnId, id: ActionId, request: &Request) {
        let waiting = match request {
            Request::Read(key) => Waiting::Read { id, key: key.clone() },
            Request::Write(_) => Waiting::Write { id },
        };
        if let Some(conn) = self.net.conns.get_mut(&conn) {
            conn.waiting.push_back(waiting);
        }
    }

    /// Answers reads up to the next write that is not decided; `written` is the answer to the first write.
    fn answer(&mut self, id: ConnId, mut written: Option<Down>) {
        while let Some(conn) = self.net.conns.get(&id) {
            let answer = match conn.waiting.front() {
                Some(Waiting::Read { id: asked, key }) => {
                    let found = self.ensemble.server(conn.server).tree.found(key);
                    let found = self.seen_by(id, key, found);
                    Down::Read { id: *asked, key: key.clone(), found }
                }
                Some(Waiting::Write { id: asked }) => match written.take() {
                    Some(Down::Wrote { id, outcome }) if id == *asked => {
                        Down::Wrote { id, outcome }
                    }
                    Some(_) | None => return,
                },
                None => return,
            };
            if let Some(conn) = self.net.conns.get_mut(&id) {
                conn.waiting.pop_front();
            }
            self.send_down(id, answer);
        }
    }

    /// A server has applied a transaction of one of its clients.
    pub(super) fn applied_for(&mut self, server: ServerId, id: ConnId, answer: &Down, zxid: i64) {
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        if conn.server != server || !conn.server_open {
            return;
        }
        if let Down::Welcome { session, .. } = *answer {
            conn.session = Some(session);
            self.trace("quorum", || format!("session {} begins with {zxid}", session.0));
            self.send_down(id, answer.clone());
        } else {
            self.answer(id, Some(answer.clone()));
        }
    }

    /// ZooKeeper's leader has said whether a client's session lives.
    pub(super) fn attached(&mut self, id: ConnId, session: SessionId, alive: Option<Duration>) {
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        if !conn.server_open {
            return;
        }
        if let Some(timeout) = alive {
            conn.session = Some(session);
            self.send_down(id, Down::Welcome { session, timeout });
        } else {
            self.send_down(id, Down::Expired);
        }
    }

    /// Tells a server's clients that a record changed. A hint may be lost, by chance or in a scenario.
    pub(super) fn hint(&mut self, server: ServerId, key: &Key) {
        let clients: Vec<ConnId> = (self.net.conns.iter())
            .filter(|(_, conn)| conn.server == server && conn.session.is_some() && conn.server_open)
            .filter(|(_, conn)| conn.daemon.kind.watches(key))
            .map(|(id, _)| *id)
            .collect();
        for id in clients {
            let lost = self.is_deaf(id, key);
            if !lost && !self.chance(self.setup.lost_hints) {
                self.send_down(id, Down::Changed(key.clone()));
            }
        }
    }

    fn is_deaf(&self, id: ConnId, key: &Key) -> bool {
        let of = self.net.daemon_of(id).filter(|of| of.kind == Kind::Controller);
        of.is_some_and(|of| self.deaf.contains(&(of.host, key.clone())))
    }

    /// A server learns that a session is over.
    pub(super) fn drop_session(&mut self, server: ServerId, session: SessionId) {
        let clients: Vec<ConnId> = (self.net.conns.iter())
            .filter(|(_, conn)| conn.server == server && conn.session == Some(session))
            .map(|(id, _)| *id)
            .collect();
        clients.into_iter().for_each(|id| self.server_closes(id));
    }

    /// A server closes all its connections; `told` if there is somebody to say so.
    pub(super) fn server_drops_clients(&mut self, server: ServerId, told: bool) {
        let conns = self.net.conns.iter().filter(|(_, conn)| conn.server == server);
        for id in conns.map(|(id, _)| *id).collect::<Vec<_>>() {
            if told {
                self.server_closes(id);
            } else if let Some(conn) = self.net.conns.get_mut(&id) {
                conn.server_open = false;
                conn.waiting.clear();
            }
        }
    }

    pub(super) fn server_closes(&mut self, id: ConnId) {
        if let Some(conn) = self.net.conns.get_mut(&id).filter(|conn| conn.server_open) {
            conn.server_open = false;
            conn.waiting.clear();
            self.send_down(id, Down::Reset);
        }
    }

    /// A client closes a connection, or its process ended: what it sent before is still on its way.
    pub(super) fn client_closes(&mut self, id: ConnId) {
        let now = self.now;
        if let Some(conn) = self.net.conns.get_mut(&id) {
            conn.client_open = false;
            conn.closed_at = now;
        }
        self.forget_if_over(id);
    }

    /// A host loses power: nobody is left to send anything.
    pub(super) fn host_drops_connections(&mut self, host: HostId) {
        self.net.conns.retain(|_, conn| conn.daemon.host != host);
    }
}
