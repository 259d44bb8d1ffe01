//! The first step: the alias in the hosts file, written anew when the active changes and verified at each poll.

use std::time::Duration;

use super::{Action, Followed, Follower};
use crate::quorum::ActionId;
use crate::say::Kind;
use crate::time::Time;

/// The pauses between tries to write a hosts file that cannot be written: the first is short, as an editor may only have
/// been in the way; the last is what a full disk or a wrong line is worth until somebody mends it.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A look at the file before it is put right. What an agent has read that is in doubt must be on record by then: who dies right
/// after the file is right leaves nothing that would tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Look {
    /// None is needed, or it is still to come.
    No,
    /// It is under way.
    UnderWay(ActionId),
    /// It has ended.
    Done {
        /// Whether the file is not as it should be.
        edited: bool,
    },
}

/// What is known of the hosts file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hosts {
    /// Whom it named when this process last saw or wrote it.
    pub(super) applied: Option<Followed>,
    /// What is remembered on disk, or about to be.
    pub(super) remembered: Option<Followed>,
    pending: Option<(ActionId, Followed)>,
    /// Whether it is to be looked at though nothing is known to have changed.
    verify: bool,
    look: Look,
    /// Why it is not as it should be, since it could last not be written.
    pub(super) error: Option<String>,
    not_before: Time,
    tries: u32,
}

impl Hosts {
    pub(super) fn new(remembered: Option<Followed>) -> Self {
        Self {
            applied: None,
            remembered,
            pending: None,
            verify: false,
            look: Look::No,
            error: None,
            not_before: Time::default(),
            tries: 0,
        }
    }

    /// Another office is followed: what stood in the way of the last one need not stand in its way.
    pub(super) fn turn(&mut self) {
        self.not_before = Time::default();
    }

    /// It is to be looked at, for an editor may have undone what was written.
    pub(super) fn verify(&mut self) {
        self.verify = true;
    }

    /// Whether it was seen to be edited, and is about to be put right.
    pub(super) fn is_edited(&self) -> bool {
        self.look == Look::Done { edited: true }
    }
}

impl Follower {
    pub(super) fn keep_hosts(&mut self, now: Time) {
        let (Some(follow), Some(target)) = (&self.follow, &self.target) else { return };
        // What the agent was started with is on record before the file can say something else.
        let noted = self.agent.as_ref().is_none_or(|agent| agent.is_noted());
        let right = self.hosts.applied.as_ref() == Some(target) && !self.hosts.verify;
        let looks = matches!(self.hosts.look, Look::UnderWay(_));
        if right || looks || self.hosts.pending.is_some() || !noted {
            return;
        }
        if now < self.hosts.not_before {
            self.wake_at(self.hosts.not_before);
            return;
        }
        let id = self.ids.draw();
        let (alias, address) = (follow.alias.clone(), target.address);
        // What this process found when it began is known. An edit is what differs from what was written last, not from what is to be
        // written now.
        let doubt =
            self.agent.as_mut().map(|agent| &mut agent.doubtful).zip(self.hosts.applied.as_ref());
        let doubt = doubt.filter(|(doubt, _)| **doubt && self.hosts.look == Look::No);
        if let Some((doubt, &Followed { address, .. })) = doubt {
            // What comes up from now on is in doubt again.
            *doubt = false;
            self.hosts.look = Look::UnderWay(id);
            self.actions.push_back(Action::PutHosts { id, alias, address, only_look: true });
            return;
        }
        self.hosts.verify = false;
        self.hosts.pending = Some((id, target.clone()));
        self.actions.push_back(Action::PutHosts { id, alias, address, only_look: false });
    }

    /// The look has ended. Why it could not look is for the write to say.
    fn hosts_looked_at(&mut self, outcome: &Result<Vec<String>, String>) {
        let edited = outcome.as_ref().is_ok_and(|changes| !changes.is_empty());
        self.hosts.look = Look::Done { edited };
        if edited && let Some(agent) = &mut self.agent {
            agent.note.address = None;
        }
    }

    pub(super) fn hosts_put(
        &mut self,
        now: Time,
        id: ActionId,
        outcome: Result<Vec<String>, String>,
    ) {
        if self.hosts.look == Look::UnderWay(id) {
            return self.hosts_looked_at(&outcome);
        }
        let Some((_, put)) = self.hosts.pending.take_if(|(pending, _)| *pending == id) else {
            return;
        };
        // Until now the file is as the look found it.
        self.hosts.look = Look::No;
        match outcome {
            Ok(changes) => self.hosts_are_right(put, &changes),
            Err(why) => {
                let pause = PAUSE.saturating_mul(1 << self.hosts.tries.min(10)).min(PAUSE_MAX);
                self.hosts.not_before = now.after(self.jitter.less(pause));
                self.hosts.tries = self.hosts.tries.saturating_add(1);
                self.hosts.verify = true;
                if self.hosts.error.as_ref() != Some(&why) {
                    let text = format!("{}, and so this node does not follow: {why}", self.file());
                    self.say(Kind::HostsRefused, text, Some(put.epoch));
                    self.hosts.error = Some(why);
                }
            }
        }
    }

    fn hosts_are_right(&mut self, put: Followed, changes: &[String]) {
        let before = self.hosts.applied.replace(put.clone());
        let failed = self.hosts.error.take().is_some();
        (self.hosts.tries, self.hosts.not_before) = (0, Time::default());
        let alias = self.follow.as_ref().map_or("", |follow| follow.alias.as_str());
        let Followed { epoch, node, address, .. } = &put;
        let now_is = format!("`{alias}` is {node} ({address}, epoch {epoch})");
        // Another address than was last written here is news; the same one again is somebody's edit that was undone.
        let known = before.as_ref().or(self.hosts.remembered.as_ref());
        let again = known.is_some_and(|known| known.address == *address);
        self.hosts_seen(again && !changes.is_empty(), self.hosts.verify);
        if again && !changes.is_empty() && !failed {
            let changes = changes.join(" | ");
            let file = self.follow.as_ref().map_or("", |follow| follow.hosts_file.as_str());
            let text = format!("somebody changed `{file}`; put right again: {changes}");
            self.say(Kind::AliasPutRight, text, Some(put.epoch));
        } else if !changes.is_empty() || before.as_ref() != Some(&put) || failed {
            self.say(Kind::AliasMoved, now_is, Some(put.epoch));
        }
        if self.hosts.remembered.as_ref() != Some(&put) {
            self.hosts.remembered = Some(put.clone());
            self.actions.push_back(Action::Remember(put));
        }
    }

    /// The hosts file in the words of a fault.
    fn file(&self) -> String {
        let file = self.follow.as_ref().map_or("", |follow| follow.hosts_file.as_str());
        format!("`{file}` cannot be written")
    }
}
