//! Sessions as ZooKeeper's leader knows them: touched by way of the servers, over on its tick.

use headship_core::quorum::SessionId;

use super::{Change, Ensemble, ServerId, Session, Step, Txn};
use crate::sim::world::{Happening, World};

impl Ensemble {
    pub(in crate::sim) fn session_ids(&self) -> Vec<SessionId> {
        self.sessions.keys().copied().collect()
    }

    pub(in crate::sim) fn is_alive(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }
}

impl World {
    pub(in crate::sim) fn close_session(&mut self, session: SessionId) {
        let zxid = i64::try_from(self.ensemble.log.len() + 1).unwrap_or(i64::MAX);
        self.ensemble.sessions.remove(&session);
        let owned = self.ensemble.head.owned_by(session).into_iter();
        let changes = owned.map(|key| Change { key, node: None }).collect();
        self.trace("quorum", || format!("session {} ends", session.0));
        self.append(Txn { zxid, changes, closed: Some(session), answer: None });
    }

    /// Ends a session as if its time were over.
    pub(in crate::sim) fn expire_session(&mut self, session: SessionId) {
        if self.ensemble.is_alive(session) && self.ensemble.leader.is_some() {
            self.close_session(session);
        }
    }

    pub(super) fn expire(&mut self) {
        let tick = self.ensemble.tick;
        self.after(tick, Happening::Ensemble(Step::Tick));
        if self.ensemble.leader.is_none() || !self.ensemble.has_quorum() {
            return;
        }
        let (now, step) = (self.now.as_micros(), tick.as_micros());
        let over = |session: &Session| {
            (session.touched + session.timeout).as_micros().div_ceil(step) * step <= now
        };
        let sessions = self.ensemble.sessions.iter();
        let ended: Vec<SessionId> =
            sessions.filter(|(_, session)| over(session)).map(|(id, _)| *id).collect();
        for session in ended {
            self.close_session(session);
        }
    }

    /// A client of this server gave a sign of life.
    pub(in crate::sim) fn touch(&mut self, server: ServerId, session: SessionId) {
        let now = self.now;
        if Some(server) == self.ensemble.leader {
            if let Some(known) = self.ensemble.sessions.get_mut(&session) {
                known.touched = now;
            }
        } else {
            self.ensemble.server_mut(server).touched.insert(session);
        }
    }

    pub(super) fn carry_touches(&mut self) {
        let (tick, now) = (self.ensemble.tick, self.now);
        self.after(tick / 2, Happening::Ensemble(Step::Touches));
        if self.ensemble.leader.is_none() {
            return;
        }
        for server in self.ensemble.ids() {
            if !self.ensemble.takes_part(server) {
                continue;
            }
            for session in std::mem::take(&mut self.ensemble.server_mut(server).touched) {
                if let Some(known) = self.ensemble.sessions.get_mut(&session) {
                    known.touched = now;
                }
            }
        }
    }
}
