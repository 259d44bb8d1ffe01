//! Promises: first the gate is shut, then everything is verified stopped, then it is said.

use super::{Action, Guard};
use crate::epoch::{Epoch, Incarnation};
use crate::lease::Closed;
use crate::office::{self, Standing};
use crate::quorum::{ActionId, Ask, Op, Outcome, Refusal, Request};
use crate::record::{self, FORMAT, Promise, Rest};
use crate::say::Kind;
use crate::time::Time;

impl Guard {
    /// Promises that nothing of `active`'s epoch or a lower one runs or will be started here: first the gate is shut, then
    /// everything is verified stopped, then it is said. A promise is for ever; a snapshot is none.
    pub(super) fn promise(&mut self, now: Time) {
        let Some((incarnation, epoch)) = self.to_promise(now) else {
            return;
        };
        if self
            .closed
            .as_ref()
            .is_none_or(|closed| closed.incarnation != incarnation || closed.epoch < epoch)
        {
            self.close(now, Closed { incarnation, epoch });
            return;
        }
        let desired = self.desired(now);
        self.services.desire(desired);
        if self.verifying.as_ref() != Some(&(incarnation.clone(), epoch)) {
            self.verifying = Some((incarnation, epoch));
            self.services.look_anew();
        } else if self.services.all_stopped() && self.promising.is_none() {
            if now < self.promise_due {
                self.wake_at(self.promise_due);
            } else {
                self.write_promise(incarnation, epoch);
            }
        }
    }

    fn close(&mut self, now: Time, closed: Closed) {
        if self.closing.is_some() {
            return;
        }
        if now < self.close_due {
            self.wake_at(self.close_due);
            return;
        }
        let id = self.ids.draw();
        self.closing = Some((id, closed.clone()));
        self.actions.push_back(Action::WriteClosed { id, closed });
    }

    /// The file was looked at: does it still say what was closed? Who cannot read it lets nothing start, so it is written anew.
    pub(super) fn closed_read(&mut self, found: Result<Option<Closed>, String>) {
        let spoilt = match (&found, &self.closed) {
            (Err(_), _) => true,
            (Ok(None), mine) => mine.is_some(),
            (Ok(Some(_)), None) => false,
            (Ok(Some(found)), Some(mine)) => {
                found.incarnation == mine.incarnation && found.epoch < mine.epoch
            }
        };
        if spoilt && !self.spoilt {
            let why = found.err().unwrap_or_else(|| "somebody removed or changed it".to_owned());
            let text = format!("what is closed here has to be written anew: {why}");
            self.say(Kind::GateShut, text, self.closed.as_ref().map(|mine| mine.epoch));
        }
        self.spoilt = spoilt;
    }

    /// Writes anew what is known to be closed. A process that found the file damaged does not know: it closes what it has
    /// promised, and nothing while this host holds office, which is then given up (`controller`).
    pub(super) fn mend_closed(&mut self, now: Time) {
        if let Some(closed) = self.closed.clone().filter(|_| self.spoilt) {
            self.close(now, closed);
        }
    }

    /// What is to be promised now, if anything. Never this boot's own unclaimed office: that would shut its gate for ever.
    /// And nothing while this host's own master-fc takes over from another machine: nobody asks for it, and its stop orders
    /// would meet the starts of the new office.
    fn to_promise(&self, now: Time) -> Option<(Incarnation, Epoch)> {
        if self.presence.session().is_none() || !self.active.is_fresh() || !self.promise.is_fresh()
        {
            return None;
        }
        let active = self.active.record()?;
        let own_claim_on_other = match office::standing(Some(active), &self.me) {
            Standing::Holder | Standing::Heir => return None,
            Standing::Claimant | Standing::HeirOfClaim => {
                active.holder.as_ref().is_some_and(|holder| !holder.same_machine(&self.me))
            }
            Standing::Outside => false,
        };
        let lagging = self
            .permit
            .as_ref()
            .is_some_and(|permit| permit.epoch > active.epoch && now < permit.end());
        if own_claim_on_other || lagging {
            return None;
        }
        let mine = self.promise.record().filter(|mine| {
            mine.machine == self.me.machine
                && mine.incarnation == active.incarnation
                && mine.epoch >= active.epoch
        });
        // Over an office that nobody is known to have held, only a word given after the claim counts.
        let too_old = active.holder.is_none() && self.promise.changed() < self.active.changed();
        if let Some(mine) = mine.filter(|_| !too_old) {
            let unknown = self.spoilt && self.closed.is_none();
            return unknown.then(|| (mine.incarnation.clone(), mine.epoch));
        }
        Some((active.incarnation.clone(), active.epoch))
    }

    fn write_promise(&mut self, incarnation: Incarnation, epoch: Epoch) {
        let Some(session) = self.presence.session() else { return };
        let (machine, boot) = (self.me.machine.clone(), self.me.boot.clone());
        let rest = self.promise.record().map_or_else(Rest::new, |old| old.rest.clone());
        let promise = Promise { format: FORMAT, machine, boot, incarnation, epoch, rest };
        let (key, data) = (self.promise.key().clone(), record::write(&promise));
        let op = match self.promise.version() {
            version @ Some(_) => Op::Set { key, version, data },
            None => Op::Create { key, data },
        };
        let id = self.ids.draw();
        self.promising = Some((id, promise));
        self.actions.push_back(Action::Ask(Ask { id, session, request: Request::Write(vec![op]) }));
    }

    pub(super) fn promised(&mut self, now: Time, id: ActionId, outcome: &Outcome) {
        let Some((_, promise)) = self.promising.take_if(|(pending, _)| *pending == id) else {
            return;
        };
        // Whatever came of it is read again, with the transaction that wrote it.
        self.promise.outdate();
        let epoch = promise.epoch;
        match outcome {
            Outcome::Done { .. } => {
                self.denied = None;
                let text = format!(
                    "promised: nothing of epoch {epoch} or a lower one runs here or will be started here"
                );
                self.say(Kind::Promised, text, Some(epoch));
            }
            Outcome::Refused { why: Refusal::Denied(why), .. } => {
                self.promise_due = now.after(self.config.timing.renew);
                if self.denied.as_ref() != Some(why) {
                    self.denied = Some(why.clone());
                    let text = format!(
                        "the failover quorum denies this headnode's promises, so others must wait out its lease: {why}"
                    );
                    self.say(Kind::WritesDenied, text, Some(epoch));
                }
            }
            Outcome::Refused { .. } | Outcome::Unknown => {
                self.promise_due = now.after(self.config.timing.renew / 4);
            }
        }
    }

    pub(super) fn closed_written(&mut self, now: Time, id: ActionId, error: Option<String>) {
        let Some((_, closed)) = self.closing.take_if(|(pending, _)| *pending == id) else { return };
        match error {
            None => {
                (self.closed, self.close_error, self.spoilt) = (Some(closed), None, false);
            }
            Some(why) => {
                self.close_due = now.after(self.config.timing.renew);
                if self.close_error.as_ref() == Some(&why) {
                    return;
                }
                let text = format!("the gate cannot be closed for epoch {}: {why}", closed.epoch);
                self.close_error = Some(why);
                self.say(Kind::GateStuck, text, Some(closed.epoch));
            }
        }
    }
}
