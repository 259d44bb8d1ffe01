//! A daemon's link to the failover quorum, as the `headship-zk` crate behaves, or worse: a dead link is noticed after a
//! third of the session timeout, an end of the session only once a server says so; the next server may be the lost one, and
//! is waited for as long.

use std::time::Duration;

use headship_core::quorum::{ActionId, Ask, Event, Found, Outcome, Refusal, Request, SessionId};

use super::ensemble::ServerId;
use super::host::{DaemonId, Heard, Input};
use super::net::{ConnId, Down, Up};
use super::world::World;

/// A client.
#[derive(Clone, Debug)]
pub(super) struct Client {
    session: Option<SessionId>,
    timeout: Duration,
    conn: Option<ConnId>,
    /// Whether it is connected, and said so.
    up: bool,
    /// When the present connection was tried or something last came over it.
    heard: Duration,
    in_flight: Vec<(ActionId, Request)>,
    next_server: usize,
    timer: u64,
}

impl Client {
    pub(super) fn new(timeout: Duration, now: Duration, first: usize) -> Self {
        Self {
            session: None,
            timeout,
            conn: None,
            up: false,
            heard: now,
            in_flight: Vec::new(),
            next_server: first,
            timer: 0,
        }
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Whether it is connected, and said so.
    pub(super) fn is_up(&self) -> bool {
        self.up
    }

    fn ping_every(&self) -> Duration {
        self.dead_after() * 3 / 8
    }

    fn dead_after(&self) -> Duration {
        (self.timeout / 3).max(Duration::from_millis(250))
    }
}

impl World {
    /// Tries the next server.
    pub(super) fn client_connect(&mut self, id: DaemonId) {
        let (now, process) = (self.now, self.process(id));
        let servers = self.ensemble.servers.len();
        let Some(client) = self.client_mut(id) else { return };
        let server = ServerId(client.next_server % servers);
        client.next_server += 1;
        client.heard = now;
        let hello = Up::Hello { session: client.session, timeout: client.timeout };
        let conn = self.open(id, process, server, hello);
        if let Some(client) = self.client_mut(id) {
            client.conn = Some(conn);
        }
        self.client_plan(id);
    }

    fn client_plan(&mut self, id: DaemonId) {
        let now = self.now;
        let process = self.process(id);
        let Some(client) = self.client_mut(id) else { return };
        client.timer += 1;
        let timer = client.timer;
        let dead = client.heard + client.dead_after();
        let at = if client.up { dead.min(now + client.ping_every()) } else { dead };
        self.input_at(at.max(now), id, process, Input::ClientTimer(timer));
    }

    /// The client's timer fired.
    pub(super) fn client_timer(&mut self, id: DaemonId, timer: u64) {
        let now = self.now;
        let Some(client) = self.client_mut(id).filter(|client| client.timer == timer) else {
            return;
        };
        if client.conn.is_none() {
            self.client_connect(id);
        } else if now >= client.heard + client.dead_after() {
            self.client_broken(id);
        } else if client.up {
            if let Some(conn) = client.conn {
                self.send_up(conn, Up::Ping);
            }
            self.client_plan(id);
        }
    }

    /// The connection is of no use any more.
    fn client_broken(&mut self, id: DaemonId) {
        let process = self.process(id);
        let Some(client) = self.client_mut(id) else { return };
        let was_up = std::mem::replace(&mut client.up, false);
        let unanswered = std::mem::take(&mut client.in_flight);
        client.timer += 1;
        let timer = client.timer;
        if let Some(conn) = client.conn.take() {
            self.client_closes(conn);
        }
        for (action, request) in unanswered {
            self.tell(id, unanswered_event(action, request, Outcome::Unknown));
        }
        if was_up {
            self.tell(id, Event::Disconnected);
        }
        let pause = self.between(5_000, 100_000);
        let at = self.now + pause;
        self.input_at(at, id, process, Input::ClientTimer(timer));
    }

    /// The session is over; a new one is sought.
    fn client_lost(&mut self, id: DaemonId) {
        self.client_broken(id);
        let Some(client) = self.client_mut(id) else { return };
        client.session = None;
        self.tell(id, Event::SessionLost);
    }

    /// Something came over a connection.
    pub(super) fn client_received(&mut self, id: DaemonId, conn: ConnId, message: Down) {
        let now = self.now;
        let Some(client) = self.client_mut(id).filter(|client| client.conn == Some(conn)) else {
            return;
        };
        client.heard = now;
        match message {
            Down::Welcome { session, timeout } => {
                (client.session, client.timeout, client.up) = (Some(session), timeout, true);
                self.client_plan(id);
                self.tell(id, Event::Connected { session, timeout });
            }
            Down::Expired => self.client_lost(id),
            Down::Reset => self.client_broken(id),
            Down::Pong => {}
            Down::Read { id: action, key, found } => {
                client.in_flight.retain(|(asked, _)| *asked != action);
                self.tell(id, Event::Read { id: action, key, found });
            }
            Down::Wrote { id: action, outcome } => {
                client.in_flight.retain(|(asked, _)| *asked != action);
                self.tell(id, Event::Wrote { id: action, outcome });
            }
            Down::Changed(key) => self.tell(id, Event::Changed(key)),
        }
    }

    /// The daemon asks something.
    pub(super) fn client_ask(&mut self, id: DaemonId, ask: Ask) {
        let process = self.process(id);
        let Some(client) = self.client_mut(id) else { return };
        if let Some(conn) = client.conn
            && client.up
            && client.session == Some(ask.session)
        {
            client.in_flight.push((ask.id, ask.request.clone()));
            self.send_up(conn, Up::Ask { id: ask.id, request: ask.request });
            return;
        }
        let not_sent = Outcome::Refused { step: 0, why: Refusal::NotSent };
        let event = unanswered_event(ask.id, ask.request, not_sent);
        self.input(id, process, Input::Told(Heard::Quorum(event)));
    }

    /// The daemon leaves: `closing` ends the session, otherwise it is left to expire.
    pub(super) fn client_leaves(&mut self, id: DaemonId, closing: bool) {
        let Some(conn) = self.client_mut(id).and_then(|client| client.conn.take()) else { return };
        if closing {
            self.send_up(conn, Up::Close);
        }
        self.client_closes(conn);
    }
}

fn unanswered_event(id: ActionId, request: Request, outcome: Outcome) -> Event {
    match request {
        Request::Read(key) => Event::Read { id, key, found: Found::Unread },
        Request::Write(_) => Event::Wrote { id, outcome },
    }
}
