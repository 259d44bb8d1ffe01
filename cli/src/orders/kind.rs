//! What the kinds of order share, and what tells them apart.

use std::time::Duration;

use headship_core::config::Config;
use headship_core::epoch::Epoch;
use headship_core::node::NodeName;
use headship_core::record::{Answer, Given, Order};
use headship_core::time::WallTime;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fence::Claim;
use crate::refusal::Refusal;
use crate::say;
use crate::view::Records;

/// The office that an order is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Office {
    pub(super) from: NodeName,
    pub(super) epoch: Epoch,
    /// The claim over it that the order is bound to, if it is.
    pub(super) claim: Option<Claim>,
}

/// What is new in each order.
#[derive(Clone, Debug)]
pub(super) struct New {
    pub(super) id: String,
    pub(super) by: String,
    pub(super) not_after: WallTime,
}

/// A kind of order, with what was said on the command line.
pub(super) trait Kind {
    /// Its record.
    type Order: Order + Serialize + DeserializeOwned;

    /// The office it is about, or why it cannot be ordered at all.
    fn office(&self, config: &Config, records: &Records) -> Result<Office, Refusal>;

    /// The record of the order.
    fn order(&self, office: &Office, new: New) -> Self::Order;

    /// The headnode that shall be active, if it was said.
    fn to(&self) -> Option<&NodeName>;

    /// What it means that this order was accepted, in a sentence.
    fn accepted(order: &Self::Order, office: &Office) -> String;

    /// That nobody answered the order in this time, with where to look, in a sentence.
    fn unanswered(office: &Office, limit: Duration) -> String;
}

/// That the one who has to answer does not, with where to look.
pub(super) fn silent(who: &str, limit: Duration) -> String {
    format!(
        "{who} did not answer within {limit:?} (see its master-fc, and whether the clocks agree)"
    )
}

/// That an order is in the way of a new one for this epoch, in a sentence. One that was refused, that ran out, or that was
/// given for another epoch is over.
pub(super) fn in_the_way(given: &Given<'_>, epoch: Epoch, now: WallTime) -> Option<String> {
    if !given.is_live(epoch, now) {
        return None;
    }
    let Given { what, by, .. } = given;
    let left = say::span(Duration::from_millis(given.not_after.0 - now.0));
    match given.answer {
        None => Some(format!(
            "{by} ordered {what}, which is not answered yet: wait for it; it runs out in {left}"
        )),
        Some(Answer::Accepted) => Some(format!(
            "{what} that {by} ordered is being carried out: see `headship status --watch`"
        )),
        Some(Answer::Refused { .. }) => None,
    }
}
