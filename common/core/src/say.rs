//! What is said in the log: one line a state change, in a sentence, with the kind that tells it from others.

mod kind;

pub use self::kind::Kind;
use crate::epoch::Epoch;

/// How much attention a line wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// The normal course of things.
    Info,
    /// Somebody should look at it by day.
    Warn,
    /// Somebody should look at it now.
    Error,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// What kind of line it is; that tells how much attention it wants, too.
    pub kind: Kind,
    /// The sentence.
    pub text: String,
    /// The epoch it is about, if it is about one.
    pub epoch: Option<Epoch>,
}
