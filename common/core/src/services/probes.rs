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
    unanswered: u32,
    serving: bool,
}

impl State {
    /// Why it counts as failed, if it does.
    fn failure(&self, probe: &Probe) -> Option<String> {
        let failed = if self.bad >= probe.fall {
            format!("{} wrong answers in a row", self.bad)
        } else if self.unanswered >= probe.fall_unanswered {
            let limit = probe.limit.as_millis();
            format!("asked {} times, and no answer within {limit} ms", self.unanswered)
        } else {
            return None;
        };
        Some(format!("its {} failed: {failed}", probe.kind))
    }
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

    /// Why the service has failed, if it has. Only what served before can be found failed: a slow start has a limit of its own.
    pub(super) fn failure(&self) -> Option<String> {
        let mut served = self.0.iter().filter(|(_, state)| state.serving);
        served.find_map(|(probe, state)| state.failure(probe))
    }

    /// What is wrong with a service that serves as far as is known, and is not restarted for it yet.
    pub(super) fn doubt(&self) -> Option<String> {
        let slow = |state: &State, probe: &Probe| state.serving && state.unanswered >= probe.fall;
        let (probe, _) = self.0.iter().find(|(probe, state)| slow(state, probe))?;
        Some(format!("slow, or hung: its {} is not answered", probe.kind))
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
            // No answer in time is no data: it neither proves nor disproves anything, unless it never comes again.
            None => state.unanswered = state.unanswered.saturating_add(1),
            Some(true) => (state.good, state.bad) = (state.good.saturating_add(1), 0),
            Some(false) => (state.good, state.bad) = (0, state.bad.saturating_add(1)),
        }
        if serving.is_some() {
            state.unanswered = 0;
        }
        if state.good >= probe.rise {
            state.serving = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::checked::ProbeKind;

    fn told(probes: &mut Probes, ids: &mut Ids, answers: &[Option<bool>]) {
        let now = Time::default();
        for answer in answers {
            for (_, id) in probes.ask(now, ids) {
                probes.answered(now, id, *answer);
            }
        }
    }

    fn probes() -> Probes {
        let kind = ProbeKind::Tcp { address: "hn0:1".to_owned() };
        let (interval, limit) = (Duration::ZERO, Duration::from_secs(2));
        Probes::new(vec![Probe { kind, interval, limit, rise: 1, fall: 2, fall_unanswered: 4 }])
    }

    #[test]
    fn what_answers_nothing_is_slow_first_and_failed_at_last() {
        let (mut probes, mut ids) = (probes(), Ids::default());
        told(&mut probes, &mut ids, &[Some(true), None]);
        assert_eq!((probes.failure(), probes.doubt()), (None, None));
        told(&mut probes, &mut ids, &[None]);
        assert_eq!(probes.failure(), None);
        let doubt = "slow, or hung: its tcp probe of hn0:1 is not answered";
        assert_eq!(probes.doubt().as_deref(), Some(doubt));
        told(&mut probes, &mut ids, &[None, None]);
        let failed = "its tcp probe of hn0:1 failed: asked 4 times, and no answer within 2000 ms";
        assert_eq!(probes.failure().as_deref(), Some(failed));
    }

    #[test]
    fn any_answer_shows_that_it_is_not_hung_and_no_data_is_no_wrong_answer() {
        let (mut probes, mut ids) = (probes(), Ids::default());
        told(&mut probes, &mut ids, &[Some(true), None, None, None, Some(true), None, None, None]);
        assert_eq!(probes.failure(), None);
        told(&mut probes, &mut ids, &[Some(false), None, Some(false)]);
        let failed = "its tcp probe of hn0:1 failed: 2 wrong answers in a row";
        assert_eq!(probes.failure().as_deref(), Some(failed));
    }

    #[test]
    fn what_never_served_is_not_found_hung() {
        let (mut probes, mut ids) = (probes(), Ids::default());
        told(&mut probes, &mut ids, &[None; 9]);
        assert_eq!((probes.failure(), probes.doubt()), (None, None));
    }
}
