//! The handle: requests go out in the order they are made, events come in the order they happened.
//!
//! There is no task and no lock of ours: all state lies in the handle, and whoever awaits `next` drives it.

use std::collections::VecDeque;
use std::fmt;
use std::future::{pending, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use headship_core::quorum::{ActionId, Event, Found, Outcome, Refusal, Request, SessionId};
use headship_core::say::Kind;
use tokio::time::timeout;
use tracing::{debug, warn};
use zookeeper_client::{EventType, SessionState, WatchedEvent};

use crate::options::Options;
use crate::session::Session;
use crate::wire;

/// The connection to the failover quorum.
pub struct Quorum {
    options: Options,
    link: Link,
    /// Events that happened and were not yet reported.
    events: VecDeque<Event>,
}

enum Link {
    /// There is no session; one is sought.
    Opening(Pin<Box<dyn Future<Output = Session> + Send>>),
    /// Disconnected, and said so; a new connection for this session is sought.
    Resuming(SessionId, Pin<Box<dyn Future<Output = Option<Session>> + Send>>),
    /// Connected, and said so.
    Open(Open),
}

struct Open {
    in_flight: VecDeque<InFlight>,
    session: Session,
}

struct InFlight {
    /// What is reported if the answer does not come.
    unanswered: Event,
    answer: Pin<Box<dyn Future<Output = Event> + Send>>,
}

impl Quorum {
    /// A handle that connects while `next` is awaited, and never gives up.
    pub fn connect(options: Options) -> Self {
        let link = Link::Opening(Box::pin(Session::open(options.clone())));
        Self { options, link, events: VecDeque::new() }
    }

    /// The next event. Nothing is lost when the future is dropped before it is ready.
    ///
    /// Answers come in the order of their requests. When the connection breaks, every request without an answer is
    /// reported as `Unknown` or `Unread`, then `Disconnected` or `SessionLost`.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            match &mut self.link {
                Link::Opening(opening) => {
                    let session = opening.await;
                    self.opened(session);
                }
                Link::Resuming(_, resuming) => match resuming.await {
                    Some(session) => self.opened(session),
                    None => self.lost(),
                },
                Link::Open(open) => tokio::select! {
                    // Answers first: one that came before the connection broke is still an answer.
                    biased;
                    answer = first_answer(&mut open.in_flight) => {
                        open.in_flight.pop_front();
                        self.events.push_back(answer);
                    }
                    told = open.session.watcher.changed() => self.told(told),
                },
            }
        }
    }

    /// Sends a request at once, after all earlier ones. Its answer comes as an event with this id.
    ///
    /// It is not sent at all (`Refusal::NotSent`, `Found::Unread`) unless we are connected with this very session.
    /// For what may happen to a request when the connection breaks right now, see the crate's documentation.
    pub fn request(&mut self, id: ActionId, session: SessionId, request: Request) {
        let Link::Open(open) = &mut self.link else {
            self.events.push_back(unsent(id, &request));
            return;
        };
        // Both what we reported and what the library knows by now: whoever asks has seen the former only.
        let usable = open.session.client.state() == SessionState::SyncConnected;
        if !usable || session != open.session.id() {
            self.events.push_back(unsent(id, &request));
            return;
        }
        open.in_flight.push_back(InFlight::send(id, request, &self.options, &open.session));
    }

    /// What lies in a folder below the cluster's root, each by its name; nothing if it cannot be read.
    pub(crate) fn folder(
        &self,
        session: SessionId,
        folder: &str,
    ) -> Option<impl Future<Output = Option<Vec<(String, Found)>>> + Send + use<>> {
        let Link::Open(open) = &self.link else { return None };
        let client = Arc::clone(&open.session.client);
        let path = self.options.folder(folder);
        (session == open.session.id()).then(|| wire::folder(client, path))
    }

    /// Ends the session, so that its ephemeral records are gone at once, and waits for that for at most `limit`.
    /// Requests that were made are carried out first. If the limit is reached the session expires by itself.
    ///
    /// Dropping the handle does the same in the background, as far as the runtime still runs.
    pub async fn close(self, limit: Duration) {
        // Nobody can be told while the connection is down, and whoever ends then may be in a hurry.
        let Link::Open(open) = self.link else { return };
        let mut state = open.session.client.state_watcher();
        if state.state() != SessionState::SyncConnected {
            return;
        }
        drop(open);
        let closed = async { while state.changed().await == SessionState::SyncConnected {} };
        if timeout(limit, closed).await.is_err() {
            debug!("the session could not be closed in time; it expires by itself");
        }
    }

    /// Leaves the session, with its ephemeral records, to expire by itself: for a program that is being replaced.
    ///
    /// The session is kept alive until the runtime ends, so the program has to end right after this.
    pub fn detach(self) {
        if let Link::Open(Open { session, .. }) = self.link {
            // The library closes a session with the last copy of its client, and has no other way to be told.
            std::mem::forget(session.client);
        }
    }

    fn opened(&mut self, session: Session) {
        let timeout = session.client.session_timeout();
        self.events.push_back(Event::Connected { session: session.id(), timeout });
        self.link = Link::Open(Open { in_flight: VecDeque::new(), session });
    }

    /// The connection is over; another one for the same session is sought.
    fn resume(&mut self) {
        let opening: Pin<Box<dyn Future<Output = Session> + Send>> =
            Box::pin(Session::open(self.options.clone()));
        let link = std::mem::replace(&mut self.link, Link::Opening(opening));
        if let Link::Open(open) = link {
            let id = open.session.id();
            let resuming = Session::resume(self.options.clone(), open.session.lost());
            self.link = Link::Resuming(id, Box::pin(resuming));
        }
    }

    /// The session is over; another one is sought.
    fn lost(&mut self) {
        self.events.push_back(Event::SessionLost);
        self.link = Link::Opening(Box::pin(Session::open(self.options.clone())));
    }

    /// Takes in what the watcher told: a change of a record or of the connection.
    fn told(&mut self, told: WatchedEvent) {
        if told.event_type != EventType::Session {
            self.events.extend(self.options.key(&told.path).map(Event::Changed));
            return;
        }
        let Link::Open(open) = &mut self.link else { return };
        match told.session_state {
            SessionState::SyncConnected => {}
            // The servers' read-only mode is never asked for; should it come, it is no quorum.
            SessionState::Disconnected | SessionState::ConnectedReadOnly => {
                open.give_up_answers(&mut self.events);
                self.events.push_back(Event::Disconnected);
                self.resume();
            }
            SessionState::Expired | SessionState::AuthFailed | SessionState::Closed => {
                warn!(MESSAGE_ID = Kind::SessionOver.id(), session = %open.session.client.session_id(), state = %told.session_state,
                    "the session with the failover quorum is over");
                open.give_up_answers(&mut self.events);
                self.lost();
            }
        }
    }
}

impl fmt::Debug for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = match &self.link {
            Link::Opening(_) => None,
            Link::Resuming(session, _) => Some((*session, false)),
            Link::Open(open) => Some((open.session.id(), true)),
        };
        f.debug_struct("Quorum").field("options", &self.options).field("session", &session).finish()
    }
}

impl Open {
    /// Reports each request in flight: its answer if there is one by now, else that there is none.
    fn give_up_answers(&mut self, events: &mut VecDeque<Event>) {
        for mut in_flight in self.in_flight.drain(..) {
            events.push_back(match poll_once(&mut in_flight.answer) {
                Poll::Ready(answer) => answer,
                Poll::Pending => in_flight.unanswered,
            });
        }
    }
}

impl InFlight {
    fn send(id: ActionId, request: Request, options: &Options, session: &Session) -> Self {
        let client = Arc::clone(&session.client);
        let (unanswered, mut answer): (_, Pin<Box<dyn Future<Output = Event> + Send>>) =
            match request {
                Request::Read(key) => {
                    let path = options.path(&key);
                    let unanswered = Event::Read { id, key: key.clone(), found: Found::Unread };
                    let answer = async move {
                        Event::Read { id, key, found: wire::read(client, path).await }
                    };
                    (unanswered, Box::pin(answer))
                }
                Request::Write(steps) => {
                    let options = options.clone();
                    let unanswered = Event::Wrote { id, outcome: Outcome::Unknown };
                    let answer = async move {
                        Event::Wrote { id, outcome: wire::write(client, options, steps).await }
                    };
                    (unanswered, Box::pin(answer))
                }
            };
        // The library puts a request into its queue at the first poll: polling here is what keeps the order.
        if let Poll::Ready(event) = poll_once(&mut answer) {
            answer = Box::pin(ready(event));
        }
        Self { unanswered, answer }
    }
}

/// The servers answer in order, so that only the oldest request needs to be looked at.
async fn first_answer(in_flight: &mut VecDeque<InFlight>) -> Event {
    match in_flight.front_mut() {
        Some(first) => first.answer.as_mut().await,
        None => pending().await,
    }
}

fn poll_once(answer: &mut Pin<Box<dyn Future<Output = Event> + Send>>) -> Poll<Event> {
    answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn unsent(id: ActionId, request: &Request) -> Event {
    match request {
        Request::Read(key) => Event::Read { id, key: key.clone(), found: Found::Unread },
        Request::Write(_) => {
            Event::Wrote { id, outcome: Outcome::Refused { step: 0, why: Refusal::NotSent } }
        }
    }
}
