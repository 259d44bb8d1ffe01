//! What is told of a service that ended though it should run: its fall once, and that it is over.

use super::Entry;

/// How far the last fall of a service has been told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fallen {
    /// It has not fallen, or that is over.
    No,
    /// It fell for this reason, and nobody has been told.
    Untold(String),
    /// It fell for this reason, and that was told.
    Told(String),
}

/// What there is to tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::services) enum Fall {
    /// It ended, and why.
    Down(String),
    /// It serves again.
    Over,
}

impl Entry {
    /// It ended while it should run. For the same reason as before, without having served meanwhile, is no news.
    pub(super) fn fell(&mut self, why: &str) {
        if self.fallen != Fallen::Told(why.to_owned()) {
            self.fallen = Fallen::Untold(why.to_owned());
        }
    }

    /// What there is to tell, once.
    pub(in crate::services) fn fall(&mut self) -> Option<Fall> {
        match &self.fallen {
            Fallen::Untold(why) => {
                let why = why.clone();
                self.fallen = Fallen::Told(why.clone());
                Some(Fall::Down(why))
            }
            Fallen::Told(_) if self.serves() => {
                self.fallen = Fallen::No;
                Some(Fall::Over)
            }
            Fallen::Told(_) | Fallen::No => None,
        }
    }
}
