//! `pause --keep`: the active acknowledges that D is moved out of the way of its services, and that it is back.
//!
//! What the quorum says is read from `settings`, what holds on this host from the permit on disk. D is moved by nothing but the
//! answer to this process's own acknowledgement, and is back at the next renewal after the keep was seen to have ended: only when
//! that permit is on disk is the end acknowledged, and from then on others may claim. `protocol.md`, 8.

use super::{Controller, Held, Write};
use crate::epoch::Epoch;
use crate::lease::Permit;
use crate::node::NodeName;
use crate::office::{self, Confirmed, MayBeKept};
use crate::quorum::Op;
use crate::record::{
    self, Active, KeepConfirmed, Kept, Key, Pausing, Promise, Settings, Transition,
};
use crate::say::Kind;
use crate::time::Time;

impl Held {
    /// D; never while a keep holds by the permit on disk, for the guard and the gate go by nothing else.
    pub(super) fn end(&self, permit: Option<&Permit>) -> Time {
        let permit = permit.filter(|permit| permit.epoch == self.epoch && permit.kept.is_some());
        if self.kept.is_some() && permit.is_some() { Time::MAX } else { self.deadline }
    }
}

impl Controller {
    /// D of what is held, as it counts on this host.
    pub(super) fn end_of(&self, held: &Held) -> Time {
        held.end(self.permit.content.as_ref())
    }

    /// The keep by which this host's services have no D, if they have none.
    pub(super) fn kept(&self) -> Option<String> {
        let held = self.held.as_ref()?;
        held.kept.clone().filter(|_| self.end_of(held) == Time::MAX)
    }

    /// The keep that moves D out of the way beyond a renewal in `epoch`, if one does.
    pub(super) fn kept_beyond_renewal(&self, epoch: Epoch) -> Option<String> {
        let held = self.held.as_ref().filter(|held| held.epoch == epoch && !held.lost)?;
        held.kept.clone().filter(|id| self.keep_lasts(id, epoch))
    }

    /// Whether nothing is known that ends the keep. What cannot be read says nothing; who leaves needs a D to stop by.
    fn keep_lasts(&self, id: &str, epoch: Epoch) -> bool {
        if self.leaving.is_some() || self.stop {
            return false;
        }
        let settings = &self.records.settings;
        match settings.record().filter(|_| settings.is_fresh()).map(Settings::pausing) {
            None => true,
            Some(Pausing::Kept { keep, kept, .. }) => keep.id == id && kept.is(&self.me, epoch),
            Some(
                Pausing::Automatic
                | Pausing::Paused(_)
                | Pausing::Asked { .. }
                | Pausing::Resuming { .. },
            ) => false,
        }
    }

    /// Acknowledges what an operator asks of the active, once it is so. True if there was something to do.
    pub(super) fn acknowledge(&mut self, now: Time, active: &Active) -> bool {
        let leaves = self.leaving.is_some() || self.stop;
        let known = self.records.settings.is_fresh() && self.permit.pending.is_none();
        if leaves || !known || self.is_denied(now, &Key::Settings) {
            return false;
        }
        let (Some(version), Some(held), Some(permit), Some(settings)) = (
            self.records.active.version(),
            self.held.as_ref().filter(|held| held.epoch == active.epoch && !held.lost),
            self.permit.content.as_ref().filter(|permit| permit.epoch == active.epoch),
            self.records.settings.record().cloned(),
        ) else {
            return false;
        };
        let counts = held.kept.is_none() && permit.kept.is_none();
        // Also anew what this boot has acknowledged before, if nobody here heard the answer.
        let asked = match settings.pausing() {
            Pausing::Asked { keep, .. } => counts && keep.is_live(active.epoch, self.wall),
            Pausing::Kept { kept, .. } => held.kept.is_none() && kept.is(&self.me, active.epoch),
            Pausing::Automatic | Pausing::Paused(_) | Pausing::Resuming { .. } => false,
        };
        // D is that of a renewal which this process knows, and is on disk.
        let ended = matches!(settings.pausing(), Pausing::Resuming { .. })
            && counts
            && permit.deadline == held.deadline;
        let Some(settings_version) = self.records.settings.version() else { return false };
        let (new, write): (Settings, fn(Settings) -> Write) = if asked {
            let mut new = settings;
            let kept = Kept { by: self.me.clone(), epoch: active.epoch };
            if let Some(keep) = &mut new.keep {
                keep.acknowledged = Some(kept);
            }
            (new, Write::Keep)
        } else if ended {
            (settings.automatic(), Write::Resume)
        } else {
            return false;
        };
        let ops = office::acknowledge(version, settings_version, &new);
        self.write(now, ops, write(new));
        true
    }

    /// The keep is acknowledged: from the next permit on there is no D.
    pub(super) fn keep_acknowledged(&mut self, now: Time, settings: &Settings) {
        let Pausing::Kept { by, keep, kept } = settings.pausing() else { return };
        let (epoch, id, by) = (kept.epoch, keep.id.clone(), by.to_owned());
        let Some(incarnation) = self.incarnation().cloned() else { return };
        let Some(held) = self.held.as_mut().filter(|held| held.epoch == epoch && !held.lost) else {
            return;
        };
        held.kept = Some(id);
        let held = held.clone();
        self.write_permit(now, incarnation, &held);
        self.note_keep(epoch, format!("keeps its services, whatever the quorum does: {by}"));
    }

    /// The end of a keep is acknowledged: D is back, and others may claim.
    pub(super) fn resume_acknowledged(&mut self) {
        let Some((epoch, _)) = self.held() else { return };
        self.note_keep(epoch, "resumed: its lease counts again".to_owned());
    }

    fn note_keep(&mut self, epoch: Epoch, cause: String) {
        let (from, to) = (Some(self.me.node.clone()), self.me.node.clone());
        let at = self.wall;
        self.transitions.push(Transition { epoch, from, to, cause, at, phases: Vec::new() });
    }

    /// The permit on disk is another one: a change of what it says of a keep is said once.
    pub(super) fn say_keep(&mut self, before: Option<&Permit>) {
        let kept = |permit: &Permit| permit.kept.is_some();
        let now = self.permit.content.as_ref();
        match (before.map(kept), now.map(kept)) {
            (Some(false) | None, Some(true)) => self.tell_of(
                Kind::KeepBegun,
                "keeps its services, whatever the quorum does, until `headship resume`".to_owned(),
            ),
            (Some(true), Some(false) | None) if before.is_some_and(|it| self.is_unresumed(it)) => {
                let text = "keeps its services no longer; automatic failover stays paused, and nobody takes office until `headship resume`";
                self.tell_of(Kind::KeepLeft, text.to_owned());
            }
            (Some(true), Some(false)) => {
                self.tell_of(
                    Kind::KeepEnded,
                    "keeps its services no longer: its lease counts again".to_owned(),
                );
            }
            (Some(true), None) => {
                self.tell_of(Kind::KeepEnded, "keeps its services no longer".to_owned())
            }
            (Some(false) | None, Some(false) | None) | (Some(true), Some(true)) => {}
        }
    }

    /// Whether the keep of this permit was not resumed, by what is known: it ends with the office then, and the pause does not.
    fn is_unresumed(&self, permit: &Permit) -> bool {
        match self.records.settings.record().map(Settings::pausing) {
            Some(Pausing::Kept { kept, .. }) => kept.is(&self.me, permit.epoch),
            Some(
                Pausing::Automatic
                | Pausing::Paused(_)
                | Pausing::Asked { .. }
                | Pausing::Resuming { .. },
            )
            | None => false,
        }
    }

    /// Out of office a keep has no meaning once it is resumed, or is gone from the records: what is left of it is stopped.
    pub(super) fn end_keep_out_of_office(&mut self) {
        let kept = self.held.as_ref().and_then(|held| Some((held.kept.clone()?, held.epoch)));
        if kept.is_some_and(|(id, epoch)| !self.keep_lasts(&id, epoch))
            && let Some(held) = &mut self.held
        {
            held.kept = None;
        }
    }

    /// Whether services may run by a keep although no renewal comes: of the office it cannot be said then that nobody holds it.
    pub(super) fn may_be_kept(&self) -> bool {
        let Some(settings) = self.records.settings.record() else { return false };
        match settings.pausing() {
            Pausing::Kept { kept, .. } | Pausing::Resuming { kept } => {
                let active = self.records.active.record();
                !self.is_kept_off()
                    && !office::keep_is_over(settings, kept, active, self.promises())
            }
            Pausing::Automatic | Pausing::Paused(_) | Pausing::Asked { .. } => false,
        }
    }

    /// A keep that was resumed and that nothing proves to be over. Of this very machine's own it is known here.
    pub(super) fn unproven_keep(&self) -> Option<(&Settings, &Kept)> {
        let settings = self.records.settings.record()?;
        let Pausing::Resuming { kept } = settings.pausing() else { return None };
        let active = self.records.active.record();
        let over = office::keep_is_over(settings, kept, active, self.promises());
        (!over && !kept.by.same_machine(&self.me)).then_some((settings, kept))
    }

    /// Somebody's word that the host of such a keep is powered off.
    pub(super) fn word_about_keep(&self) -> Option<&KeepConfirmed> {
        let (settings, kept) = self.unproven_keep()?;
        let lease = &self.records.lease;
        office::word_about(settings, kept, lease.record(), lease.version())
    }

    /// As long as such a word decides anything, it is looked whether the host lives.
    pub(super) fn look_for_kept(&mut self) {
        let node = self.word_about_keep().map(|word| word.over.by.node.clone());
        if let Some(node) = node {
            self.know_signs_of(&node);
        }
    }

    /// Whether such a word counts: nothing showed, in what was read since, that the host lives.
    fn is_kept_off(&self) -> bool {
        let word = self.word_about_keep();
        word.is_some_and(|KeepConfirmed { over, .. }| self.is_silent(&over.by.node, &over.by))
    }

    /// Whether what this process claims over may run by a keep.
    pub(super) fn judge_keep(&mut self) -> MayBeKept {
        self.look_for_kept();
        if self.unproven_keep().is_none() {
            return MayBeKept::No;
        }
        let counts = self.are_signs_fresh() && self.is_kept_off();
        let word = self.word_about_keep().filter(|_| counts);
        word.map_or(MayBeKept::Yes, |word| {
            MayBeKept::Off(Confirmed { node: word.over.by.node.clone(), by: word.by.clone() })
        })
    }

    /// A sign of life of that very boot takes such a word back for good: when it would be counted, the host may be out of sight
    /// again. Another boot of that machine keeps nothing, and promises. True if there was something to do.
    pub(super) fn take_word_back(&mut self, now: Time) -> bool {
        let Some(KeepConfirmed { by, over, .. }) = self.word_about_keep().cloned() else {
            return false;
        };
        if !self.shows_itself(&over.by) {
            return false;
        }
        let (Some(version), Some(settings)) =
            (self.records.settings.version(), self.records.settings.record())
        else {
            return false;
        };
        let new = settings.confirm_off(None);
        let data = record::write(&new);
        let ops = vec![Op::Set { key: Key::Settings, version: Some(version), data }];
        let node = &over.by.node;
        let sign = self.session_of(node, Some(&over.by)).unwrap_or_default();
        let text = format!(
            "{node} is not powered off, though {by} confirmed it: {sign}; nobody goes by that"
        );
        self.say(Kind::WordWrong, text, None);
        self.write(now, ops, Write::Settings(new));
        true
    }

    fn promises(&self) -> impl Iterator<Item = (&NodeName, &Promise)> {
        let promises = self.records.promises.iter();
        promises.filter_map(|(node, known)| Some((node, known.record()?)))
    }

    /// Why `settings` let this headnode not claim, if so. That nothing is kept on this very host it knows by itself: the permit is
    /// gone with the services, or with the boot.
    pub(super) fn paused(&self, settings: &Settings) -> Option<String> {
        let active = self.records.active.record();
        let why =
            office::claims_allowed(settings, active, self.promises(), self.is_kept_off()).err()?;
        let here = match settings.pausing() {
            Pausing::Resuming { kept } => kept.by.same_machine(&self.me),
            Pausing::Automatic
            | Pausing::Paused(_)
            | Pausing::Asked { .. }
            | Pausing::Kept { .. } => false,
        };
        let nothing_kept = self.held.is_none()
            && self.permit.content.is_none()
            && self.permit.pending.is_none()
            && self.services.all_stopped();
        (!(here && nothing_kept)).then_some(why)
    }
}

#[cfg(test)]
pub(super) mod tests;
