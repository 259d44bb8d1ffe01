//! An ensemble for one test at a time, a client that remembers all it was told, and short words for steps and answers.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use headship_core::quorum::{
    ActionId, Event, Found, Op, Outcome, Refusal, Request, SessionId, Version,
};
use headship_core::record::Key;
use headship_tests::ensemble::{Ensemble, FAST_TICK};
use headship_zk::{OneShot, Options, Quorum, Watched};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};

use crate::{LIMIT, SESSION};

/// An ensemble, one at a time.
pub(crate) struct Lab {
    pub(crate) ensemble: Ensemble,
    _only: MutexGuard<'static, ()>,
}

impl Lab {
    pub(crate) async fn start() -> Self {
        static ONLY: Mutex<()> = Mutex::const_new(());
        let only = ONLY.lock().await;
        let ensemble = Ensemble::start(FAST_TICK).unwrap_or_else(|error| panic!("{error}"));
        Self { ensemble, _only: only }
    }

    pub(crate) fn options(&self) -> Options {
        let root = "/headship/lab".to_owned();
        Options {
            servers: self.ensemble.servers(),
            session: SESSION,
            root,
            watched: Watched::Everything,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.options()).await
    }

    pub(crate) async fn one_shot(&self) -> OneShot {
        OneShot::connect(self.options(), LIMIT).await.unwrap()
    }

    pub(crate) async fn one_shot_at(&self, root: &str) -> OneShot {
        let options = Options { root: root.to_owned(), ..self.options() };
        OneShot::connect(options, LIMIT).await.unwrap()
    }

    pub(crate) fn freeze_all(&self) {
        (0..3).for_each(|server| self.ensemble.freeze(server).unwrap());
    }

    pub(crate) fn thaw_all(&self) {
        (0..3).for_each(|server| self.ensemble.thaw(server).unwrap());
    }
}

/// A handle with its session, and everything that it told so far.
pub(crate) struct Client {
    pub(crate) quorum: Quorum,
    pub(crate) session: SessionId,
    pub(crate) asked: u64,
    pub(crate) told: Vec<Event>,
    /// What was told while an answer was awaited.
    pub(crate) passed_over: VecDeque<Event>,
}

impl Client {
    pub(crate) async fn connect(options: Options) -> Self {
        let quorum = Quorum::connect(options);
        let (told, passed_over) = (vec![], VecDeque::new());
        let mut client = Self { quorum, session: SessionId(0), asked: 0, told, passed_over };
        client.until_connected().await;
        client
    }

    pub(crate) fn ask(&mut self, request: Request) -> ActionId {
        self.ask_as(self.session, request)
    }

    pub(crate) fn ask_as(&mut self, session: SessionId, request: Request) -> ActionId {
        self.asked += 1;
        self.quorum.request(ActionId(self.asked), session, request);
        ActionId(self.asked)
    }

    pub(crate) async fn write(&mut self, steps: Vec<Op>) -> Outcome {
        let id = self.ask(Request::Write(steps));
        self.outcome(id).await
    }

    pub(crate) async fn outcome(&mut self, asked: ActionId) -> Outcome {
        let pick = |event: &Event| {
            let Event::Wrote { id, outcome } = event else { return None };
            (*id == asked).then(|| outcome.clone())
        };
        self.answer(pick).await
    }

    pub(crate) async fn read(&mut self, key: Key) -> Found {
        let asked = self.ask(Request::Read(key));
        let pick = |event: &Event| {
            let Event::Read { id, found, .. } = event else { return None };
            (*id == asked).then(|| found.clone())
        };
        self.answer(pick).await
    }

    /// An answer; what else is told meanwhile is kept for `until`.
    pub(crate) async fn answer<T>(&mut self, pick: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            let event = self.next("an answer").await;
            if let Some(picked) = pick(&event) {
                return picked;
            }
            self.passed_over.push_back(event);
        }
    }

    pub(crate) async fn until<T: Debug>(
        &mut self,
        what: &str,
        pick: impl Fn(&Event) -> Option<T>,
    ) -> T {
        loop {
            let event = match self.passed_over.pop_front() {
                Some(event) => event,
                None => self.next(what).await,
            };
            if let Some(picked) = pick(&event) {
                return picked;
            }
        }
    }

    /// Waits for this event. Returns what was told since the call, with it as the last.
    pub(crate) async fn until_event(&mut self, wanted: &Event) -> Vec<Event> {
        let before = self.told.len();
        self.until(&format!("{wanted:?}"), |event| (event == wanted).then_some(())).await;
        self.told[before..].to_vec()
    }

    pub(crate) async fn until_connected(&mut self) {
        let connected = |event: &Event| matches!(event, Event::Connected { .. }).then_some(());
        self.until("Connected", connected).await;
    }

    /// Creates a record, through whatever the servers' election does to the connection.
    pub(crate) async fn until_written(&mut self, step: Op) {
        loop {
            match self.write(vec![step.clone()]).await {
                Outcome::Done { .. } | Outcome::Refused { why: Refusal::Exists, .. } => return,
                Outcome::Refused { .. } | Outcome::Unknown => self.until_connected().await,
            }
        }
    }

    pub(crate) async fn until_missing(&mut self, key: Key) {
        let since = Instant::now();
        while self.read(key.clone()).await != Found::Missing {
            assert!(since.elapsed() < LIMIT, "{key:?} is still there");
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn reconnects_within_its_session(&mut self) {
        let session = self.session;
        self.until_event(&Event::Disconnected).await;
        self.until_connected().await;
        assert_eq!(self.session, session);
        self.never_saw(&Event::SessionLost);
    }

    pub(crate) fn never_saw(&self, event: &Event) {
        assert!(!self.told.contains(event), "{:?}", self.told);
    }

    pub(crate) async fn next(&mut self, what: &str) -> Event {
        let next = timeout(LIMIT, self.quorum.next()).await;
        let event = next.unwrap_or_else(|_| panic!("no {what} after {:?}", self.told));
        if let Event::Connected { session, timeout } = &event {
            assert_eq!(*timeout, SESSION, "as negotiated");
            self.session = *session;
        }
        self.told.push(event.clone());
        event
    }
}

pub(crate) async fn until_found(client: &mut OneShot, key: Key, wanted: &Found) {
    let since = Instant::now();
    while client.read(std::slice::from_ref(&key)).await[0] != *wanted {
        assert!(since.elapsed() < LIMIT, "{key:?} is not {wanted:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn text(found: &Found) -> (&str, Version) {
    match found {
        Found::Data { data, version, .. } => (data, *version),
        Found::Missing | Found::Unread => panic!("{found:?}"),
    }
}

pub(crate) fn owner(found: &Found) -> Option<SessionId> {
    match found {
        Found::Data { owner, .. } => *owner,
        Found::Missing | Found::Unread => panic!("{found:?}"),
    }
}

pub(crate) fn done(versions: &[i32]) -> Outcome {
    Outcome::Done { versions: versions.iter().copied().map(Version).collect() }
}

pub(crate) fn refused(step: usize, why: Refusal) -> Outcome {
    Outcome::Refused { step, why }
}

pub(crate) fn check(key: Key, version: i32) -> Op {
    Op::Check { key, version: Some(Version(version)) }
}

pub(crate) fn exists(key: Key) -> Op {
    Op::Check { key, version: None }
}

pub(crate) fn create(key: Key, data: &str) -> Op {
    Op::Create { key, data: data.to_owned() }
}

pub(crate) fn set(key: Key, version: Option<i32>, data: &str) -> Op {
    Op::Set { key, version: version.map(Version), data: data.to_owned() }
}

pub(crate) fn delete(key: Key, version: Option<i32>) -> Op {
    Op::Delete { key, version: version.map(Version) }
}
