//! What the failover quorum reports, and what is asked of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Controller, Pending, Write};
use crate::config::checked::Config;
use crate::known::{Content, Known};
use crate::node::{Identity, NodeName};
use crate::office::Standing;
use crate::quorum::{ActionId, Ask, Event, Found, Op, Outcome, Refusal, Request};
use crate::record::{
    Active, AdoptOrder, Challenge, ConfirmOrder, Duty, FailoverOrder, HeadnodeState, Health,
    History, Key, Lease, Lock, NodeState, Promise, ServicesState, Settings, Sign, SwitchoverOrder,
};
use crate::say::Kind;
use crate::time::Time;

/// The records that a master-fc goes by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Records {
    pub(super) settings: Known<Settings>,
    pub(super) lock: Known<Lock>,
    pub(super) active: Known<Active>,
    pub(super) lease: Known<Lease>,
    pub(super) switchover: Known<SwitchoverOrder>,
    pub(super) failover: Known<FailoverOrder>,
    pub(super) confirm: Known<ConfirmOrder>,
    pub(super) adopt: Known<AdoptOrder>,
    pub(super) history: Known<History>,
    pub(super) duty: Known<Duty>,
    /// What this host's own guard shows: without one nothing holds D but master-fc.
    pub(super) guard: Known<ServicesState>,
    /// How far this host's own slave-fc is, where nodes follow.
    pub(super) follower: Option<Known<NodeState>>,
    pub(super) challenge: Known<Challenge>,
    pub(super) promises: BTreeMap<NodeName, Known<Promise>>,
    /// What a headnode would show that is said to be powered off; only while that matters.
    pub(super) signs: Vec<Known<Sign>>,
    pub(super) health: BTreeMap<NodeName, Known<Health>>,
    pub(super) headnodes: BTreeMap<NodeName, Known<HeadnodeState>>,
}

/// Does the same with each record that is known.
macro_rules! each {
    ($records:expr, $known:ident => $do:expr) => {{
        let records = $records;
        {
            let $known = &mut records.settings;
            $do;
        }
        {
            let $known = &mut records.lock;
            $do;
        }
        {
            let $known = &mut records.active;
            $do;
        }
        {
            let $known = &mut records.lease;
            $do;
        }
        {
            let $known = &mut records.challenge;
            $do;
        }
        {
            let $known = &mut records.switchover;
            $do;
        }
        {
            let $known = &mut records.failover;
            $do;
        }
        {
            let $known = &mut records.confirm;
            $do;
        }
        {
            let $known = &mut records.adopt;
            $do;
        }
        {
            let $known = &mut records.history;
            $do;
        }
        {
            let $known = &mut records.duty;
            $do;
        }
        {
            let $known = &mut records.guard;
            $do;
        }
        if let Some($known) = &mut records.follower {
            $do;
        }
        for $known in &mut records.signs {
            $do;
        }
        for $known in records.promises.values_mut() {
            $do;
        }
        for $known in records.health.values_mut() {
            $do;
        }
        for $known in records.headnodes.values_mut() {
            $do;
        }
    }};
}

impl Records {
    pub(super) fn new(config: &Config, me: &Identity) -> Self {
        let names = || config.headnodes.iter().map(|headnode| headnode.name.clone());
        Self {
            settings: Known::new(Key::Settings),
            lock: Known::new(Key::Lock),
            active: Known::new(Key::Active),
            lease: Known::new(Key::Lease),
            challenge: Known::new(Key::Challenge),
            switchover: Known::new(Key::Switchover),
            failover: Known::new(Key::Failover),
            confirm: Known::new(Key::Confirm),
            adopt: Known::new(Key::Adopt),
            history: Known::new(Key::History),
            duty: Known::new(Key::Duty(me.node.clone())),
            guard: Known::new(Key::Services(me.node.clone())),
            follower: config.follow.as_ref().map(|_| Known::new(Key::Node(me.node.clone()))),
            signs: Vec::new(),
            promises: names().map(|name| (name.clone(), Known::new(Key::Promise(name)))).collect(),
            health: names().map(|name| (name.clone(), Known::new(Key::Health(name)))).collect(),
            // One's own record is published, not read.
            headnodes: config
                .peers()
                .map(|peer| (peer.name.clone(), Known::new(Key::Headnode(peer.name.clone()))))
                .collect(),
        }
    }

    pub(super) fn outdate_all(&mut self) {
        each!(self, known => known.outdate());
    }

    /// What the writes of office go by may be other than was thought.
    pub(super) fn outdate_office(&mut self) {
        self.settings.outdate();
        self.active.outdate();
        self.lock.outdate();
        self.lease.outdate();
    }

    /// What the daemons of a headnode write may be other than was thought.
    pub(super) fn outdate_host(&mut self, node: &NodeName) {
        self.outdate_office();
        self.promises.get_mut(node).into_iter().for_each(Known::outdate);
        self.health.get_mut(node).into_iter().for_each(Known::outdate);
        self.headnodes.get_mut(node).into_iter().for_each(Known::outdate);
        self.signs.iter_mut().for_each(Known::outdate);
    }

    fn outdate(&mut self, key: &Key) {
        each!(self, known => if known.key() == key { known.outdate() });
    }

    fn take(&mut self, now: Time, id: ActionId, found: &Found) {
        each!(self, known => { known.take(now, id, found); });
    }

    fn disconnected(&mut self) {
        each!(self, known => known.disconnected());
    }

    /// What cannot be read of all that is known, each with what is wrong with it.
    pub(super) fn corrupt(&mut self) -> BTreeSet<String> {
        let mut corrupt = BTreeSet::new();
        each!(&mut *self, known => if let Content::Corrupt(why) = known.content() {
            corrupt.insert(why.to_string());
        });
        corrupt
    }
}

impl Controller {
    /// Takes what the quorum reports. False if it was a mere hint that some record has changed: nothing is decided on one, as what
    /// is permitted by a record is permitted by what is read of it. What wakes a daemon at rest is most of what it costs.
    pub(super) fn quorum(&mut self, now: Time, event: &Event) -> bool {
        if self.presence.handle(event) {
            return true;
        }
        match event {
            Event::Connected { .. } => {
                self.connected_at = now;
                self.records.outdate_all();
            }
            Event::Disconnected | Event::SessionLost => {
                self.pending = None;
                self.records.disconnected();
                self.lose_sight_of_suspect();
            }
            Event::Changed(key) => return self.changed(key),
            Event::Read { id, key: _, found } => self.records.take(now, *id, found),
            Event::Wrote { id, outcome } => self.wrote(now, *id, outcome),
        }
        true
    }

    /// A hint that a record has changed. True if there is something to decide at once.
    fn changed(&mut self, key: &Key) -> bool {
        let holds = self.standing() == Standing::Holder;
        if holds && *key == Key::Challenge {
            // Whatever it says: one renewal more harms nobody, and whoever challenges does not wait for long.
            self.answer_challenge();
            return true;
        }
        // The holder is the only writer of `lease`, and knows what it wrote; a foreign write shows as a refused renewal.
        if !(holds && *key == Key::Lease) {
            self.records.outdate(key);
        }
        false
    }

    fn wrote(&mut self, now: Time, id: ActionId, outcome: &Outcome) {
        if self.pending.as_ref().is_none_or(|pending| pending.id != id) {
            return; // Of an earlier connection: what came of it was read again since.
        }
        let Some(Pending { write, sent, .. }) = self.pending.take() else { return };
        match outcome {
            Outcome::Done { versions } => {
                let version = versions.last().copied();
                match version {
                    Some(version) => self.done(now, write, version, sent),
                    None => self.records.outdate_all(),
                }
            }
            // Somebody else was faster, or nobody knows: read again, decide anew.
            Outcome::Refused { .. } | Outcome::Unknown => {
                if let (Outcome::Refused { why: Refusal::Denied(_), .. }, Some(key)) =
                    (outcome, write.can_wait())
                {
                    self.denied_until.insert(key, now.after(self.config.timing.period));
                }
                match write {
                    // Bound to each other, to `settings`, and the first one to `active`.
                    Write::Accept { .. } | Write::AnswerFailover(_) => {
                        self.records.switchover.outdate();
                        self.records.failover.outdate();
                        self.records.outdate_office();
                    }
                    Write::Refuse(_) => self.records.switchover.outdate(),
                    // It is bound to `active`, which may be what has changed.
                    Write::AnswerConfirm(_) => {
                        self.records.confirm.outdate();
                        self.records.outdate_office();
                    }
                    Write::AnswerAdopt(_) => self.records.adopt.outdate(),
                    // It is bound to `active`, too.
                    Write::Challenge(_) => {
                        self.challenge_failed();
                        self.records.outdate_office();
                    }
                    Write::History(_) => self.records.history.outdate(),
                    Write::Settings(_)
                    | Write::Keep(_)
                    | Write::Resume(_)
                    | Write::Claim(_)
                    | Write::Renew(_)
                    | Write::Office(_)
                    | Write::EnterPhase(_)
                    | Write::Cede(_)
                    | Write::Succeed(_) => self.records.outdate_office(),
                }
                // Not at once: what is refused for another reason than old knowledge would be asked in a spin.
                self.write_due = now.after(self.config.timing.renew / 4);
            }
        }
        self.say_once_what_is_denied(outcome);
    }

    /// Whether the quorum denied what this record waits for, a moment ago: others than its writer need not wait for it, and what is
    /// denied once is denied again.
    pub(super) fn is_denied(&mut self, now: Time, key: &Key) -> bool {
        let Some(until) = self.denied_until.get(key).copied() else { return false };
        self.wake_at(until);
        now < until
    }

    /// What access control or a quota refuses is refused again at each try: it is said once, until a write succeeds.
    fn say_once_what_is_denied(&mut self, outcome: &Outcome) {
        let denied = match outcome {
            Outcome::Refused { why: Refusal::Denied(why), .. } => Some(why.clone()),
            Outcome::Refused { .. } | Outcome::Unknown => return,
            Outcome::Done { .. } => None,
        };
        if let Some(why) = denied.as_ref().filter(|_| denied != self.denied) {
            let text = format!("the failover quorum denies what this headnode writes: {why}");
            self.say(Kind::WritesDenied, text, None);
        }
        self.denied = denied;
    }

    /// Sends a write of office. The time it counts from is now, before it is sent.
    pub(super) fn write(&mut self, now: Time, ops: Vec<Op>, write: Write) {
        let id = self.ids.draw();
        if let Some(session) = self.presence.session() {
            self.pending = Some(Pending { id, write, sent: now });
            self.actions.push_back(Action::Ask(Ask { id, session, request: Request::Write(ops) }));
        }
    }

    /// Reads what is not fresh.
    pub(super) fn ask_reads(&mut self) {
        let Some(session) = self.presence.session().filter(|_| !self.exited) else { return };
        let (ids, actions) = (&mut self.ids, &mut self.actions);
        let mut ask = |asked: Option<(ActionId, Request)>| {
            if let Some((id, request)) = asked {
                actions.push_back(Action::Ask(Ask { id, session, request }));
            }
        };
        each!(&mut self.records, known => ask(known.next_read(ids)));
    }
}
