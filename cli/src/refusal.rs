//! Why a command does nothing: the exit code and the sentence, and what several commands refuse in the same words.

use anyhow::Result;
use headship_core::quorum::Refusal as Why;
use headship_daemon::Exit;
use headship_daemon::configuration::ConfigurationError;
use serde::Serialize;

use crate::output;

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) exit: Exit,
    pub(crate) sentence: String,
}

/// The arguments of a command, which know how it says that it was refused before it looked at anything.
pub(crate) trait Refuse {
    /// Says it, in the command's own JSON where that was asked for.
    ///
    /// # Errors
    /// Nobody reads it any more, or the disk is full.
    fn refuse(&self, refusal: &Refusal) -> Result<Exit>;
}

/// What was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// An order that the headnodes answer.
    Order,
    /// A change of a record.
    Change,
}

impl Refusal {
    /// It cannot be done, and why.
    pub(crate) fn new(sentence: String) -> Self {
        Self { exit: Exit::Refused, sentence }
    }

    /// Why a write ended it; nothing where somebody else was first, and what was read before is worth another look.
    pub(crate) fn of_write(wanted: Wanted, why: &Why) -> Option<Self> {
        let (before, it) = match wanted {
            Wanted::Order => ("the order was given", "the order"),
            Wanted::Change => ("anything was written", "it"),
        };
        match why {
            Why::Exists | Why::Missing | Why::OtherVersion => None,
            Why::NotSent => Some(Self {
                exit: Exit::QuorumAway,
                sentence: format!("the failover quorum went away before {before}"),
            }),
            Why::Denied(why) => {
                Some(Self::new(format!("the failover quorum does not take {it}: {why}")))
            }
        }
    }

    /// That others were first each time.
    pub(crate) fn of_others(wanted: Wanted) -> Self {
        let others = match wanted {
            Wanted::Order => "others give orders at the same time",
            Wanted::Change => "the records change all the time",
        };
        Self::new(format!("{others}: see `headship status`, and say it again"))
    }
}

impl Refusal {
    /// Says it: by the document of the command where JSON was asked for, else by the sentence.
    ///
    /// # Errors
    /// As for `output::json`.
    pub(crate) fn tell<D: Serialize>(&self, json: bool, document: &D) -> Result<Exit> {
        if json {
            output::json(document)?;
        } else {
            output::complain(&self.sentence);
        }
        Ok(self.exit)
    }
}

impl From<ConfigurationError> for Refusal {
    fn from(error: ConfigurationError) -> Self {
        Self { exit: error.exit(), sentence: format!("{:#}", anyhow::Error::new(error)) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::{fs, io};

    use headship_core::node::NodeName;

    use super::*;

    /// What no test can bring about on purpose: something has to happen between two steps of a command, or root must not read.
    #[test]
    fn refusals_that_need_a_race_or_another_host_are_as_written_down() {
        let path = PathBuf::from("/etc/headship/headship.toml");
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        let of_write = |wanted| Refusal::of_write(wanted, &Why::NotSent).unwrap();
        let told = [
            ("the quorum goes away before an order is written", of_write(Wanted::Order)),
            ("the quorum goes away before a change is written", of_write(Wanted::Change)),
            ("another order is first each time", Refusal::of_others(Wanted::Order)),
            ("another change is first each time", Refusal::of_others(Wanted::Change)),
            (
                "a host's name that no node can have",
                ConfigurationError::HostName(NodeName::try_from("a b").unwrap_err()).into(),
            ),
            (
                "a configuration that may not be read",
                ConfigurationError::Unreadable { path, source }.into(),
            ),
        ];
        let told = told.map(|(when, Refusal { exit, sentence })| {
            format!("\n## {when}\n\nheadship: {sentence}\n= {}\n", exit.code())
        });
        let said = told.concat();
        let file = format!("{}/src/refusal.txt", env!("CARGO_MANIFEST_DIR"));
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if said != expected && std::env::var_os("HEADSHIP_REWRITE").is_some() {
            fs::write(&file, &said).unwrap();
        }
        assert_eq!(said, expected, "HEADSHIP_REWRITE=1 accepts it");
    }

    #[test]
    fn what_somebody_else_was_first_with_is_tried_again() {
        for why in [Why::Exists, Why::Missing, Why::OtherVersion] {
            assert_eq!(Refusal::of_write(Wanted::Order, &why), None);
        }
    }
}
