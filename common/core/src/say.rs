//! What is said in the log: one line a state change, in a sentence.

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
    /// How much attention it wants.
    pub level: Level,
    /// The sentence.
    pub text: String,
    /// The epoch it is about, if any.
    pub epoch: Option<Epoch>,
}
