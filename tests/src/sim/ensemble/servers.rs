//! Servers of the failover quorum come and go, and choose who leads them.

use std::time::Duration;

use super::{Power, ServerId, Step};
use crate::sim::world::{Happening, World};

impl World {
    /// A server stops, or loses sight of the others.
    pub(in crate::sim) fn server_gone(&mut self, server: ServerId, power: Power, isolated: bool) {
        let silent = power != Power::Killed;
        let state = self.ensemble.server_mut(server);
        (state.power, state.isolated) = (power, isolated);
        state.life += 1;
        let life = state.life;
        if power != Power::On {
            self.ensemble.server_mut(server).serving = false;
            self.server_drops_clients(server, power == Power::Killed);
        } else {
            let step = Step::Alone { server, life };
            self.after(self.ensemble.sync, Happening::Ensemble(step));
        }
        let lost = self.ensemble.leader == Some(server);
        if lost || !self.ensemble.has_quorum() {
            self.lose_leader(silent);
        }
    }

    fn lose_leader(&mut self, silent: bool) {
        if self.ensemble.leader.take().is_none() {
            return;
        }
        self.ensemble.term += 1;
        // What was proposed may have reached enough servers to survive, or not: nobody knows.
        let survivors = self.rng.usize(0..=self.ensemble.proposals.len());
        self.ensemble.proposals.truncate(survivors);
        let notice = if silent { self.ensemble.sync } else { self.between(1000, 10_000) };
        let elected = notice + self.between(400_000, 600_000);
        let term = self.ensemble.term;
        self.after(notice, Happening::Ensemble(Step::Leaderless { term }));
        self.after(elected, Happening::Ensemble(Step::Elect { term }));
    }

    pub(super) fn leaderless(&mut self) {
        for server in self.ensemble.ids() {
            if self.ensemble.takes_part(server) {
                self.stop_serving(server);
            }
        }
    }

    pub(super) fn stop_serving(&mut self, server: ServerId) {
        let state = self.ensemble.server_mut(server);
        state.serving = false;
        state.life += 1;
        state.held_back.clear();
        self.server_drops_clients(server, true);
    }

    pub(super) fn elect(&mut self) {
        if self.ensemble.leader.is_some() || !self.ensemble.has_quorum() {
            return;
        }
        let able: Vec<ServerId> =
            self.ensemble.ids().into_iter().filter(|id| self.ensemble.takes_part(*id)).collect();
        let pick = self.pick(able.len());
        let Some(leader) = able.get(pick).copied() else { return };
        self.ensemble.leader = Some(leader);
        self.ensemble.term += 1;
        self.trace("quorum", || format!("zk{} leads", leader.0));
        let now = self.now;
        for session in self.ensemble.sessions.values_mut() {
            session.touched = now;
        }
        for server in able {
            // Whoever follows a new leader begins anew, and so do its clients.
            if self.ensemble.server(server).serving {
                self.stop_serving(server);
            }
            let life = self.ensemble.server(server).life;
            self.join(server, life);
        }
        while let Some(proposal) = self.ensemble.proposals.pop_front() {
            self.commit(proposal);
        }
    }

    pub(super) fn join(&mut self, server: ServerId, life: u64) {
        let ready = self.ensemble.takes_part(server) && self.ensemble.leader.is_some();
        if ready && self.ensemble.server(server).life == life {
            let upto = self.ensemble.log.len();
            let (now, term) = (self.now, self.ensemble.term);
            let state = self.ensemble.server_mut(server);
            (state.serving, state.follows) = (true, term);
            state.last_apply = now;
            state.touched.clear();
            self.catch_up(server, upto);
        }
    }

    /// A server is back.
    pub(in crate::sim) fn server_back(&mut self, server: ServerId) {
        let (leading, term) = (self.ensemble.leader.is_some(), self.ensemble.term);
        let state = self.ensemble.server_mut(server);
        if state.power == Power::On && !state.isolated {
            return;
        }
        (state.power, state.isolated, state.lag) = (Power::On, false, Duration::ZERO);
        if leading && state.serving && state.follows == term {
            // It never noticed that it was cut off; what it missed comes now.
            let (life, upto) = (state.life, self.ensemble.log.len());
            self.after(
                Duration::from_millis(1),
                Happening::Ensemble(Step::Apply { server, life, upto }),
            );
            for proposal in std::mem::take(&mut self.ensemble.server_mut(server).held_back) {
                self.forward(server, proposal);
            }
            return;
        }
        if leading && state.serving {
            self.stop_serving(server);
        }
        let life = self.ensemble.server(server).life;
        let step = if leading { Step::Join { server, life } } else { Step::Elect { term } };
        let pause = self.between(200_000, 500_000);
        self.after(pause, Happening::Ensemble(step));
    }
}
