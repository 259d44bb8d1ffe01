//! What people see of a claim that waits, and what they can say to it: that a headnode is powered off.
//!
//! Such a word counts as a proof that the old holder is out, for exactly the claim that it was given for. It is refused while
//! anything shows that the headnode lives; what becomes of it if something shows that later is in `trust`. `protocol.md`, 4
//! and 7.

use super::{Controller, Write};
use crate::epoch::Epoch;
use crate::known::{Content, Known};
use crate::node::{Identity, NodeName};
use crate::office::{Confirmed, Evidence, MayBeKept, Standing};
use crate::quorum::{Op, Version};
use crate::record::{
    self, Active, Answer, Attempt, ConfirmOrder, Key, Order, Way, WayAnswer, signs_of,
};
use crate::say::Kind;
use crate::time::{Time, WallTime, millis};

/// What a claimant remembers of its claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Claim {
    /// The version of `active` that bears it.
    version: Version,
    /// When it began, for people.
    since: WallTime,
    /// When the wait is over, by our own clock and for people.
    until: (Time, WallTime),
    /// Who was confirmed to be powered off.
    pub(super) confirmed: Vec<Confirmed>,
    /// What is shown of it.
    shown: Option<Attempt>,
    /// The order for which it was looked whether its headnode lives.
    looked_for: Option<String>,
}

impl Controller {
    /// The present claim, as it is remembered. A claim that is written anew is another one.
    pub(super) fn claim_of(&mut self, version: Version) -> &mut Claim {
        let wall = self.wall;
        let begun = || Claim {
            version,
            since: wall,
            until: (Time::default(), wall),
            confirmed: Vec::new(),
            shown: None,
            looked_for: None,
        };
        let same = self.claim.as_ref().is_some_and(|claim| claim.version == version);
        if !same {
            self.claim = None;
            // Read anew, and not forgotten: what stood still since before the claim is not news.
            self.records.signs.iter_mut().for_each(Known::outdate);
        }
        self.claim.get_or_insert_with(begun)
    }

    /// Outside a claim nothing is remembered of one, and outside office nothing of a word that it was taken on.
    pub(super) fn forget_claim(&mut self, standing: Standing) {
        match standing {
            Standing::Claimant => {}
            Standing::Holder => self.claim = None,
            Standing::Outside | Standing::Heir | Standing::HeirOfClaim => {
                self.claim = None;
                if self.is_connected() {
                    self.trust = None;
                }
            }
        }
        let idle = self.claim.is_none() && self.trust.is_none() && !self.watches_suspect();
        if idle && self.word_about_keep().is_none() {
            self.records.signs.clear();
        }
    }

    /// What is shown of a claim that waits.
    pub(super) fn attempt(&self) -> Option<Attempt> {
        let claims = self.standing() == Standing::Claimant;
        self.claim.as_ref().filter(|_| claims)?.shown.clone()
    }

    /// The way is not free: shows what it waits for, and hears who says that it need not. True if there was something to write.
    pub(super) fn show_and_hear(
        &mut self,
        now: Time,
        version: Version,
        evidence: &Evidence<'_>,
    ) -> bool {
        let (waited_at, wall) = (evidence.waited_at(), self.wall);
        let fence_ways = self.fence_ways();
        let claim = self.claim_of(version);
        if claim.until.0 != waited_at {
            let left = millis(waited_at.since(now));
            claim.until = (waited_at, WallTime(wall.0.saturating_add(left)));
        }
        let attempt = Attempt {
            claim: version.0,
            epoch: evidence.active.epoch,
            over: evidence.active.holder.clone().filter(|_| evidence.trusted),
            since: claim.since,
            until: claim.until.1,
            awaited: evidence.awaited().into_iter().cloned().collect(),
            ways: ways(evidence).into_iter().chain(fence_ways).collect(),
        };
        claim.shown = Some(attempt.clone());
        self.answer_confirm(now, version, &attempt)
    }

    /// Answers somebody's word about this claim.
    fn answer_confirm(&mut self, now: Time, version: Version, attempt: &Attempt) -> bool {
        let Some(order) = self.unanswered_confirm(now, attempt.epoch) else { return false };
        let answer = match self.judge_confirm(attempt, &order) {
            Some(Ok(())) => Answer::Accepted,
            Some(Err(why)) => Answer::Refused { why },
            None => return false,
        };
        self.write_answer(now, version, order, answer);
        true
    }

    /// A holder refuses what is said of a claim that is over, or that never was.
    pub(super) fn refuse_confirm(&mut self, now: Time, active: &Active) -> bool {
        let Some(version) = self.records.active.version() else { return false };
        let Some(order) = self.unanswered_confirm(now, active.epoch) else { return false };
        let why = format!(
            "nobody claims office: {} holds it in epoch {}, and nothing has to be confirmed",
            self.me.node, active.epoch
        );
        self.write_answer(now, version, order, Answer::Refused { why });
        true
    }

    /// The order, if it waits for an answer. One of a later epoch says that this look at `active` is behind.
    fn unanswered_confirm(&mut self, now: Time, epoch: Epoch) -> Option<ConfirmOrder> {
        if self.is_denied(now, &Key::Confirm) {
            return None;
        }
        let known = &self.records.confirm;
        let order = known.record().filter(|_| known.is_fresh())?;
        (order.answer.is_none() && order.epoch <= epoch).then(|| order.clone())
    }

    /// Bound to `active`, so that nothing is answered on what has passed.
    fn write_answer(&mut self, now: Time, active: Version, order: ConfirmOrder, answer: Answer) {
        let Some(version) = self.records.confirm.version() else { return };
        let order = ConfirmOrder { answer: Some(answer), ..order };
        let data = record::write(&order);
        let ops = vec![
            Op::Check { key: Key::Active, version: Some(active) },
            Op::Set { key: Key::Confirm, version: Some(version), data },
        ];
        self.write(now, ops, Write::AnswerConfirm(order));
    }

    /// Whether the word is to be believed, or why not; nothing while that is being looked at.
    fn judge_confirm(
        &mut self,
        attempt: &Attempt,
        order: &ConfirmOrder,
    ) -> Option<Result<(), String>> {
        if let Err(why) = self.is_about_this_claim(attempt, order) {
            return Some(Err(why));
        }
        let node = &order.node;
        if let Err(why) = attempt.awaits(node) {
            return Some(Err(why));
        }
        self.look_for_signs(order);
        if !self.are_signs_fresh() {
            return None;
        }
        let claimed = self.records.active.changed();
        // The claim ends all renewals: this one would be a wonder, or somebody's hand.
        let renewed = (self.records.lease.changed() > claimed)
            .then(|| "the lease was renewed since the claim".to_owned());
        let sign = self.sign_of_life(node, attempt.over.as_ref(), claimed).or(renewed);
        Some(sign.map_or(Ok(()), |sign| Err(format!("{node} is not off: {sign}"))))
    }

    fn is_about_this_claim(&self, attempt: &Attempt, order: &ConfirmOrder) -> Result<(), String> {
        if self.wall > order.not_after {
            return Err("it came too late: order anew, and compare the hosts' clocks".to_owned());
        }
        let same = order.claim == attempt.claim
            && order.claimant == self.me
            && order.epoch == attempt.epoch
            && order.over == attempt.over;
        if same {
            return Ok(());
        }
        Err(
            "it was said of another attempt to take office, which is over: see `headship fence list`, and confirm anew if need be"
                .to_owned(),
        )
    }

    /// Reads what a headnode that lives would show: for each order anew, as a missed hint must not make it look dead.
    fn look_for_signs(&mut self, order: &ConfirmOrder) {
        let Some(claim) = &mut self.claim else { return };
        if claim.looked_for.as_ref() == Some(&order.order) {
            return;
        }
        claim.looked_for = Some(order.order.clone());
        self.records.signs.iter_mut().for_each(Known::outdate);
        self.know_signs_of(&order.node);
    }

    /// From now on what a headnode would show is read.
    pub(super) fn know_signs_of(&mut self, node: &NodeName) {
        for (key, _) in signs_of(node) {
            if !self.records.signs.iter().any(|known| *known.key() == key) {
                self.records.signs.push(Known::new(key));
            }
        }
    }

    /// What shows that a headnode lives which is said to be off, if anything does: an ephemeral record, or something that its
    /// boot wrote after the transaction `since`.
    pub(super) fn sign_of_life(
        &self,
        node: &NodeName,
        over: Option<&Identity>,
        since: i64,
    ) -> Option<String> {
        self.session_of(node, over).or_else(|| self.promise_since(node, over, since))
    }

    fn promise_since(
        &self,
        node: &NodeName,
        over: Option<&Identity>,
        since: i64,
    ) -> Option<String> {
        let promise = self.records.promises.get(node).filter(|known| known.changed() > since)?;
        let promise = promise.record()?;
        over.is_some_and(|over| over.machine == promise.machine && over.boot == promise.boot).then(
            || format!("its slave-ha-service promised epoch {} since the claim", promise.epoch),
        )
    }

    /// The first of a headnode's sessions, if it has any, as far as it was read.
    pub(super) fn session_of(&self, node: &NodeName, over: Option<&Identity>) -> Option<String> {
        let signs = &self.records.signs;
        signs_of(node).iter().find_map(|(key, words)| {
            let known = signs.iter().find(|known| known.key() == key)?;
            record::sign_of_life(words, known.content(), over)
        })
    }

    /// Whether a session of this very boot is there, as far as was read.
    pub(super) fn shows_itself(&self, of: &Identity) -> bool {
        let keys = signs_of(&of.node);
        self.records.signs.iter().any(|known| {
            let sign = known.record().filter(|_| keys.iter().any(|(key, _)| key == known.key()));
            sign.is_some_and(|sign| sign.machine == of.machine && sign.boot == of.boot)
        })
    }

    /// Whether all that a headnode would show was read, and it showed nothing.
    pub(super) fn is_silent(&self, node: &NodeName, over: &Identity) -> bool {
        let signs = &self.records.signs;
        let read =
            |key: &Key| signs.iter().any(|it| it.key() == key && *it.content() != Content::Unread);
        signs_of(node).iter().all(|(key, _)| read(key))
            && self.session_of(node, Some(over)).is_none()
    }

    /// Whether nothing is known that speaks against what was read of the signs of life being current.
    pub(super) fn are_signs_fresh(&self) -> bool {
        self.records.signs.iter().all(Known::is_fresh)
    }

    /// Whose word counts for the claim that bears this version. An answer of ours, or one whose outcome was unknown, stands in
    /// the record; and what shows that a headnode lives takes the word back. While that is being looked at, nobody goes by the
    /// word: something may have changed since it was answered.
    pub(super) fn believed(&mut self, version: Version, active: &Active) -> Vec<Confirmed> {
        let accepted = self.records.confirm.record().filter(|order| {
            order.answer == Some(Answer::Accepted)
                && order.claim == version.0
                && order.claimant == self.me
                && order.given().is_live(active.epoch, self.wall)
        });
        let accepted = accepted.map(|it| Confirmed { node: it.node.clone(), by: it.by.clone() });
        let mut confirmed = self.claim_of(version).confirmed.clone();
        let changed = self.records.active.changed();
        let stands =
            |it: &Confirmed| self.sign_of_life(&it.node, active.holder.as_ref(), changed).is_none();
        confirmed.retain(stands);
        if let Some(word) = accepted.filter(|word| !confirmed.contains(word) && stands(word)) {
            let text = format!("{} counts as powered off, as {} confirmed", word.node, word.by);
            self.tell_of(Kind::WordTaken, text);
            confirmed.push(word);
        }
        self.claim_of(version).confirmed.clone_from(&confirmed);
        confirmed.retain(|word| self.knows_signs_of(&word.node));
        confirmed
    }

    /// Whether all that would show that a headnode lives was looked at, and nothing speaks of a change since.
    pub(super) fn knows_signs_of(&self, node: &NodeName) -> bool {
        let signs = &self.records.signs;
        signs_of(node)
            .iter()
            .all(|(key, _)| signs.iter().any(|known| known.key() == key && known.is_fresh()))
    }

    /// What that boot has shown since a transaction, if anything. What its sessions left behind says nothing: who lost its power
    /// leaves them until their timeout.
    pub(super) fn shown_since(
        &self,
        node: &NodeName,
        over: Option<&Identity>,
        since: i64,
    ) -> Option<String> {
        let shown = signs_of(node).iter().find_map(|(key, words)| {
            let mut signs = self.records.signs.iter();
            let known = signs.find(|known| known.key() == key && known.changed() > since)?;
            record::sign_of_life(words, known.content(), over)
        });
        shown.or_else(|| self.promise_since(node, over, since))
    }
}

/// Each way to office that is not free yet.
fn ways(evidence: &Evidence<'_>) -> Vec<Way> {
    let way = |way: &str, answer, why| Way { way: way.to_owned(), answer, why };
    let names =
        |nodes: &[&NodeName]| nodes.iter().map(|node| node.as_str()).collect::<Vec<_>>().join(", ");
    let Evidence { active, .. } = evidence;
    let epoch = active.epoch;
    let awaited = evidence.awaited();
    let cede = match &active.holder {
        Some(holder) if evidence.trusted => format!("{} had not ceded epoch {epoch}", holder.node),
        Some(_) | None => "no record tells who held office last".to_owned(),
    };
    let promise = if awaited.is_empty() {
        let why = "`active` tells of another office than this headnode remembers";
        way("promise", WayAnswer::No, why.to_owned())
    } else {
        let why = format!("no promise of epoch {epoch} yet: {}", names(&awaited));
        way("promise", WayAnswer::Unknown, why)
    };
    let waited = match evidence.kept {
        MayBeKept::No | MayBeKept::Off(_) => {
            "lease and kill time of the old holder have not passed"
        }
        MayBeKept::Yes => {
            "its services may be kept (`headship pause --keep`), whatever time passes"
        }
    };
    let waited = waited.to_owned();
    vec![way("cede", WayAnswer::No, cede), promise, way("waited", WayAnswer::No, waited)]
}
