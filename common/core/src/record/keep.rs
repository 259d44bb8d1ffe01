//! `pause --keep` in the record `settings`: asked by an operator, acknowledged by the active, ended by a resume.
//!
//! A pause alone leaves the lease as it is. With a keep that the active has acknowledged its host has no D, so that its services
//! outlast a quorum that is away for hours; and whoever acknowledged it, or proof that its host is out, has to end it.
//! `protocol.md`, 8.

use serde::{Deserialize, Serialize};

use super::{Rest, Settings};
use crate::epoch::Epoch;
use crate::node::Identity;
use crate::time::WallTime;

/// That the active shall keep its services running, whatever the quorum does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Keep {
    /// A random id, by which the permit names it.
    pub id: String,
    /// The term of whoever is asked. Nobody acknowledges it in another one, or where a program from before left it out.
    #[serde(default)]
    pub epoch: Option<Epoch>,
    /// Until when it may be acknowledged. Without it nobody does: who asked may be gone for hours, and would not hear of it.
    #[serde(default)]
    pub not_after: Option<WallTime>,
    /// Who has acknowledged it: from then on nothing stops there at D. `None`: it binds nobody yet, and can end at once.
    #[serde(default)]
    pub acknowledged: Option<Kept>,
    /// Who resumed, once it was acknowledged: it lasts until its holder acknowledges that, or is proven to be out.
    #[serde(default)]
    pub resumed: Option<String>,
    /// That the host of whoever acknowledged it is powered off, if somebody has said so since the resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<KeepConfirmed>,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// Somebody's word that the host of an acknowledged keep is powered off. It counts as long as nothing shows that the host lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeepConfirmed {
    /// Who said it, and from where.
    pub by: String,
    /// When, for people.
    pub at: WallTime,
    /// Of whom: it says nothing of any other machine, boot or term.
    pub over: Kept,
    /// The version of `lease` that stood still, if there was a lease: a renewal since then takes the word back for good.
    pub lease: Option<i32>,
}

impl Keep {
    /// What the active of `epoch` is asked, until `not_after`.
    pub fn asked(id: String, epoch: Epoch, not_after: WallTime) -> Self {
        let (epoch, not_after) = (Some(epoch), Some(not_after));
        Self {
            id,
            epoch,
            not_after,
            acknowledged: None,
            resumed: None,
            confirmed: None,
            rest: Rest::new(),
        }
    }

    /// Whether the active of `epoch` may acknowledge it at `now`.
    pub fn is_live(&self, epoch: Epoch, now: WallTime) -> bool {
        self.epoch == Some(epoch) && self.not_after.is_some_and(|not_after| now <= not_after)
    }
}

/// Whose services are kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Kept {
    /// The holder of office that acknowledged it.
    #[serde(flatten)]
    pub by: Identity,
    /// Its term.
    pub epoch: Epoch,
}

impl Kept {
    /// Whether it is the term `epoch` of this very boot, whatever the process.
    pub fn is(&self, me: &Identity, epoch: Epoch) -> bool {
        self.by.same_boot(me) && self.epoch == epoch
    }
}

/// How automatic failover stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pausing<'a> {
    /// It is on.
    Automatic,
    /// Nobody claims; the lease counts as ever. By whom and why.
    Paused(&'a str),
    /// The same, and the active is asked to keep its services whatever the quorum does.
    Asked {
        /// By whom and why.
        by: &'a str,
        /// What is asked.
        keep: &'a Keep,
    },
    /// The active has acknowledged it.
    Kept {
        /// By whom and why it is paused.
        by: &'a str,
        /// What was asked.
        keep: &'a Keep,
        /// Who acknowledged it.
        kept: &'a Kept,
    },
    /// It was resumed, and is not over yet.
    Resuming {
        /// Who acknowledged the keep.
        kept: &'a Kept,
    },
}

impl Settings {
    /// How automatic failover stands. A program that knows no keep resumes by taking `paused` away: that ends what nobody has
    /// acknowledged, and of the rest it is a resume like any other.
    pub fn pausing(&self) -> Pausing<'_> {
        match (self.paused.as_deref(), &self.keep) {
            (None, None) => Pausing::Automatic,
            (Some(by), None) => Pausing::Paused(by),
            (paused, Some(keep)) => match (&keep.acknowledged, paused) {
                (None, None) => Pausing::Automatic,
                (None, Some(by)) => Pausing::Asked { by, keep },
                (Some(kept), Some(by)) if keep.resumed.is_none() => {
                    Pausing::Kept { by, keep, kept }
                }
                (Some(kept), Some(_) | None) => Pausing::Resuming { kept },
            },
        }
    }

    /// Paused by `by`, with a keep if one is asked for.
    #[must_use]
    pub fn pause(&self, by: &str, keep: Option<Keep>) -> Self {
        Self { paused: Some(by.to_owned()), keep, ..self.clone() }
    }

    /// Resumed by `by`: at once, unless somebody has acknowledged a keep. Then `paused` stays until that is over, so that a
    /// program that knows no keep does not claim either.
    #[must_use]
    pub fn resume(&self, by: &str) -> Self {
        match (self.pausing(), &self.keep) {
            (Pausing::Kept { .. } | Pausing::Resuming { .. }, Some(keep)) => {
                let resumed = keep.resumed.clone().or_else(|| Some(by.to_owned()));
                Self { keep: Some(Keep { resumed, ..keep.clone() }), ..self.clone() }
            }
            (
                Pausing::Automatic
                | Pausing::Paused(_)
                | Pausing::Asked { .. }
                | Pausing::Kept { .. }
                | Pausing::Resuming { .. },
                Some(_) | None,
            ) => self.automatic(),
        }
    }

    /// With somebody's word about the host of the keep, or without it again.
    #[must_use]
    pub fn confirm_off(&self, confirmed: Option<KeepConfirmed>) -> Self {
        let keep = self.keep.clone().map(|keep| Keep { confirmed, ..keep });
        Self { keep, ..self.clone() }
    }

    /// With automatic failover on, whatever was.
    #[must_use]
    pub fn automatic(&self) -> Self {
        Self { paused: None, keep: None, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::Incarnation;
    use crate::node::NodeName;
    use crate::record::{FORMAT, Key, Maintenance, parse, write};

    fn settings() -> Settings {
        Settings {
            format: FORMAT,
            incarnation: Incarnation("i".to_owned()),
            paused: None,
            keep: None,
            maintenance: Maintenance::default(),
            rest: Rest::new(),
        }
    }

    fn asked() -> Settings {
        let keep = Keep::asked("k".to_owned(), Epoch(7), WallTime(1000));
        settings().pause("root", Some(keep))
    }

    fn acknowledged(asked: &Settings) -> Settings {
        let by = Identity {
            node: NodeName::try_from("hn0").unwrap(),
            machine: "m0".to_owned(),
            boot: "b0".to_owned(),
            process: "p0".to_owned(),
        };
        let mut settings = asked.clone();
        settings.keep.as_mut().unwrap().acknowledged = Some(Kept { by, epoch: Epoch(7) });
        parse(&Key::Settings, &write(&settings)).unwrap()
    }

    #[test]
    fn a_keep_ends_at_once_until_somebody_acknowledges_it() {
        let asked = asked();
        assert!(matches!(asked.pausing(), Pausing::Asked { by: "root", .. }));
        assert_eq!(asked.resume("eve"), settings());

        let kept = acknowledged(&asked);
        assert!(matches!(kept.pausing(), Pausing::Kept { by: "root", .. }));
        let resuming = kept.resume("eve");
        assert!(matches!(resuming.pausing(), Pausing::Resuming { .. }));
        assert_eq!(resuming.paused.as_deref(), Some("root"));
        assert_eq!(resuming.resume("bob"), resuming);
        assert_eq!(resuming.automatic(), settings());
    }

    #[test]
    fn a_resume_of_a_program_that_knows_no_keep_ends_only_what_nobody_acknowledged() {
        let asked = asked();
        assert_eq!(Settings { paused: None, ..asked.clone() }.pausing(), Pausing::Automatic);
        let kept = Settings { paused: None, ..acknowledged(&asked) };
        assert!(matches!(kept.pausing(), Pausing::Resuming { .. }));
    }

    #[test]
    fn a_keep_is_for_one_term_and_a_limited_time() {
        let live = |keep: &Keep, epoch, now| keep.is_live(Epoch(epoch), WallTime(now));
        let keep = asked().keep.unwrap();
        assert!(live(&keep, 7, 1000));
        assert!(!live(&keep, 7, 1001) && !live(&keep, 8, 1000) && !live(&keep, 6, 1000));
        // As a program from before wrote it.
        let text = r#"{"format":1,"incarnation":"i","paused":"root","keep":{"id":"k"}}"#;
        let old: Settings = parse(&Key::Settings, text).unwrap();
        assert!(matches!(old.pausing(), Pausing::Asked { .. }));
        assert!(!live(&old.keep.unwrap(), 7, 0));
    }

    #[test]
    fn a_pause_without_a_keep_reads_as_ever() {
        let text = r#"{"format":1,"incarnation":"i","paused":"root"}"#;
        let read: Settings = parse(&Key::Settings, text).unwrap();
        assert_eq!(read.pausing(), Pausing::Paused("root"));
        assert!(!write(&read).contains("keep"));
        assert_eq!(read.resume("eve"), settings());
    }
}
