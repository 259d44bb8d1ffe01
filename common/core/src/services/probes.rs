//! What a service's probes have told.

use super::Ids;
use crate::config::checked::Probe;
use crate::quorum::ActionId;
use crate::time::Time;

/// The probes of one service, since it runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Probes(Vec<(Probe, State)>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    asked: Option<ActionId>,
    due: Time,
    good: u32,
    bad: u32,
    serving: bool,
}

impl Probes {
    pub(super) fn new(probes: Vec<Probe>) -> Self {
        Self(probes.into_iter().map(|probe| (probe, State::default())).collect())
    }

    /// The service has ended: what was told is of another life.
    pub(super) fn forget(&mut self) {
        self.0.iter_mut().for_each(|(_, state)| *state = State::default());
    }

    pub(super) fn all_serving(&self) -> bool {
        self.0.iter().all(|(_, state)| state.serving)
    }

    /// Only what served before can be found failed: a slow start has a limit of its own.
    pub(super) fn failed(&self) -> bool {
        self.0.iter().any(|(probe, state)| state.serving && state.bad >= probe.fall)
    }

    /// Those that are to be asked now, by number.
    pub(super) fn ask(&mut self, now: Time, ids: &mut Ids) -> Vec<(usize, ActionId)> {
        let idle = |(_, (_, state)): &(usize, &mut (Probe, State))| {
            state.asked.is_none() && now >= state.due
        };
        let due = self.0.iter_mut().enumerate().filter(idle);
        due.map(|(index, (_, state))| (index, *state.asked.insert(ids.draw()))).collect()
    }

    /// When one is to be asked next.
    pub(super) fn due(&self) -> impl Iterator<Item = Time> {
        self.0.iter().filter(|(_, state)| state.asked.is_none()).map(|(_, state)| state.due)
    }

    pub(super) fn answered(&mut self, now: Time, id: ActionId, serving: Option<bool>) {
        let asked = self.0.iter_mut().find(|(_, state)| state.asked == Some(id));
        let Some((probe, state)) = asked else { return };
        state.asked = None;
        state.due = now.after(probe.interval);
        match serving {
            // No answer in time is no data: it neither proves nor disproves anything.
            None => {}
            Some(true) => (state.good, state.bad) = (state.good.saturating_add(1), 0),
            Some(false) => (state.good, state.bad) = (0, state.bad.saturating_add(1)),
        }
        if state.good >= probe.rise {
            state.serving = true;
        }
    }
}
