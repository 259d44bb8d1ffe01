//! Asking the fence methods about a holder that counts as dead, and what becomes of their answers.

use std::time::Duration;

use super::{Suspicion, Use};
use crate::config::checked::FenceMethod;
use crate::controller::{Action, Controller};
use crate::fencing::{Answer, Asking, Step, way_out};
use crate::office::Fenced;
use crate::quorum::ActionId;
use crate::record::Active;
use crate::say::Kind;
use crate::time::Time;

/// When the methods are asked again after the last one had said no Yes, if nothing changes before: a fence device that was out
/// of reach may be back, and nobody is to be called every second.
const ASK_AGAIN: Duration = Duration::from_secs(30);

impl Controller {
    /// Whether a method may be asked at all: one that said Yes about a host that lived is not believed any more.
    pub(super) fn may_ask(&self, method: &FenceMethod, used: Use) -> bool {
        let believed = !self.liars.contains(&method.name);
        believed
            && match used {
                Use::Early => method.is_agent(),
                Use::Claimed => true,
            }
    }

    /// Everything says that the host is dead: the next method is asked, or the first. Those that were being asked when the office was
    /// claimed have answered already.
    pub(super) fn ask_methods(&mut self, now: Time) {
        let Some(suspicion) = &self.suspicion else { return };
        let (victim, used) = (suspicion.victim(), suspicion.used);
        let before = suspicion.round.clone().filter(|_| suspicion.goes_on);
        let may = |method: &FenceMethod| self.may_ask(method, used);
        let fencing = &self.config.fencing;
        let (round, step) = match before {
            Some(round) => round.go_on(now, fencing, may),
            None => Asking::begin(now, victim, fencing, may),
        };
        if let Some(suspicion) = &mut self.suspicion {
            (suspicion.round, suspicion.goes_on) = (Some(round), false);
        }
        self.follow_step(now, step);
    }

    fn follow_step(&mut self, now: Time, step: Step) {
        let id = self.ids.draw();
        let Some(suspicion) = &mut self.suspicion else { return };
        let (node, still) = (suspicion.over.node.clone(), now.since(suspicion.moved));
        suspicion.asked = None;
        match step {
            Step::Ask { method, limit } => {
                suspicion.asked = Some((id, method));
                let victim = suspicion.victim();
                let name = suspicion.round.as_ref().and_then(Asking::asks).unwrap_or_default();
                let text = format!(
                    "{node} has shown nothing for {:.1} s and answers nothing: fence method `{name}` is asked to switch it off",
                    still.as_secs_f64()
                );
                self.actions.push_back(Action::Fence { id, method, victim, limit });
                self.tell_of(Kind::FenceAsked, text);
            }
            Step::Look => suspicion.goes_on = true,
            Step::Fenced { by, how } => {
                let text = format!("{node} is off: fence method `{by}` says so ({how})");
                suspicion.fenced = Some(Fenced { victim: suspicion.victim(), by, how });
                self.tell_of(Kind::FenceYes, text);
            }
            // Not the last word: whoever is claimed over is asked about by more methods, as soon as it shows itself no more.
            Step::Refused { .. } if suspicion.goes_on => {}
            Step::Refused { why } => {
                suspicion.rests = Some((now.after(ASK_AGAIN), why.clone()));
                let then = match suspicion.used {
                    Use::Early => {
                        "its office is claimed when its lock or its lease is over".to_owned()
                    }
                    Use::Claimed => format!("the wait goes on; {}", way_out(&node)),
                };
                self.tell_of(Kind::FenceRefused, format!("{why}: {then}"));
            }
        }
    }

    /// Whether a method is being asked, or has said Yes: then nothing else is to be looked for.
    pub(super) fn goes_on_asking(&mut self, now: Time) -> bool {
        let Some(suspicion) = &mut self.suspicion else { return false };
        if suspicion.fenced.is_some() {
            return true;
        }
        let (Some((id, _)), Some(round)) = (suspicion.asked, &mut suspicion.round) else {
            return false;
        };
        match round.handle_timeout(now) {
            Some(step) => {
                self.actions.push_back(Action::StopFence { id });
                self.follow_step(now, step);
                self.suspicion.as_ref().is_some_and(|it| it.asked.is_some())
            }
            None => {
                if let Some(late) = round.poll_timeout() {
                    self.wake_at(late);
                }
                true
            }
        }
    }

    /// A method has answered.
    pub(in crate::controller) fn fence_answered(
        &mut self,
        now: Time,
        id: ActionId,
        answer: Answer,
    ) {
        let Some(suspicion) = &mut self.suspicion else { return };
        let Some((_, method)) = suspicion.asked.filter(|(asked, _)| *asked == id) else { return };
        let step = suspicion.round.as_mut().and_then(|round| round.answered(now, method, answer));
        if let Some(step) = step {
            self.follow_step(now, step);
        }
    }

    /// A method that is being asked is not waited for any more, and what it started is ended.
    pub(super) fn stop_asking(&mut self, why: &str) {
        let Some(suspicion) = &mut self.suspicion else { return };
        let Some((id, _)) = suspicion.asked.take() else { return };
        let name = suspicion.round.as_ref().and_then(Asking::asks).unwrap_or_default();
        let node = &suspicion.over.node;
        let text = format!("{node}: fence method `{name}` is not waited for: {why}");
        suspicion.round = None;
        self.actions.push_back(Action::StopFence { id });
        self.tell_of(Kind::FenceStopped, text);
    }

    /// The host has shown itself. A Yes from before may be true, but nobody goes by it.
    pub(super) fn break_off(&mut self) {
        self.stop_asking("it shows itself");
        let Some(suspicion) = &mut self.suspicion else { return };
        suspicion.round = None;
        if let Some(Fenced { victim, by, .. }) = suspicion.fenced.take() {
            let node = victim.node;
            let text =
                format!("{node}: nobody goes by what fence method `{by}` said: it shows itself");
            self.tell_of(Kind::FenceStopped, text);
        }
    }

    /// The Yes by which the office may be taken, read after the claim: as long as that boot has shown nothing since, and that
    /// is known. What shows that it lives makes a liar of the method.
    pub(in crate::controller) fn fenced_since_claim(&mut self, active: &Active) -> Option<Fenced> {
        let fenced = self.fenced(active)?.clone();
        let over = active.holder.clone()?;
        self.know_signs_of(&over.node);
        let claimed = self.records.active.changed();
        // Another boot of that machine shows that the one in question is over.
        let sign = self.shown_since(&over.node, Some(&over), claimed);
        if let Some(sign) = sign.filter(|_| !self.boots_anew(&over.node, Some(&over))) {
            let text = format!(
                "{} is not off, though fence method `{}` said so: {sign}",
                over.node, fenced.by
            );
            self.tell_of(Kind::FenceLied, text);
            self.liars.insert(fenced.by);
            self.acquit();
            return None;
        }
        self.knows_signs_of(&over.node).then_some(fenced)
    }
}

impl Suspicion {
    /// Whether anything has come of it that people should see.
    pub(super) fn is_told(&self) -> bool {
        self.round.is_some() || self.fenced.is_some() || self.rests.is_some()
    }
}
