//! How long a command waits for the headnodes' word, and what becomes of a keep that nobody acknowledged by then.
//!
//! It is taken back as orders are: else the active, or who succeeds it, could acknowledge it hours later, and nobody would hear of it.

use std::time::Duration;

use anyhow::Result;
use headship_core::quorum::{Op, Outcome, Refusal as Why};
use headship_core::record::{self, Key, Pausing, Settings};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout};

use super::{SHOWN_WITHIN, Wish};
use crate::cluster::Cluster;
use crate::view::{self, Records};

/// How often the records are read without a change.
const AGAIN: Duration = Duration::from_secs(1);

/// How long the headnodes' word is waited for.
pub(super) struct Patience {
    /// Since what was wished for is written.
    begin: Option<Instant>,
    /// Ctrl-C, where it must not end the command without a word.
    interrupt: Option<Signal>,
    interrupted: bool,
}

impl Patience {
    /// To be made before anything is written.
    ///
    /// # Errors
    /// Signals cannot be waited for.
    pub(super) fn new(wish: &Wish) -> Result<Self> {
        let keeps = matches!(wish, Wish::PauseAndKeep(_));
        let interrupt = if keeps { Some(signal(SignalKind::interrupt())?) } else { None };
        Ok(Self { begin: None, interrupt, interrupted: false })
    }

    /// Whether it is over, and the beginning of the sentence that says why.
    pub(super) fn over(&mut self) -> Option<&'static str> {
        let begin = self.begin.get_or_insert_with(Instant::now);
        if self.interrupted {
            Some("interrupted: ")
        } else {
            (begin.elapsed() >= SHOWN_WITHIN).then_some("")
        }
    }

    /// Waits for a change, or for the end of the operator's patience. Without either it is looked at again all the same.
    pub(super) async fn await_change(&mut self, cluster: &mut Cluster) {
        let change = timeout(AGAIN, cluster.changed());
        match &mut self.interrupt {
            None => drop(change.await),
            Some(interrupt) => tokio::select! {
                _ = interrupt.recv() => self.interrupted = true,
                _ = change => {}
            },
        }
    }
}

/// Whether the keep that was wished for is still only asked for.
pub(super) fn is_open(records: &Records, wish: &Wish) -> bool {
    view::record(&records.settings).is_some_and(|settings| without(settings, wish).is_some())
}

/// A plain pause in place of the keep that was wished for, if nobody has acknowledged that.
fn without(settings: &Settings, wish: &Wish) -> Option<Settings> {
    match (settings.pausing(), wish) {
        (Pausing::Asked { by, keep }, Wish::PauseAndKeep(id)) if keep.id == *id => {
            Some(settings.pause(by, None))
        }
        (
            Pausing::Automatic
            | Pausing::Paused(_)
            | Pausing::Asked { .. }
            | Pausing::Kept { .. }
            | Pausing::Resuming { .. },
            Wish::Pause | Wish::PauseAndKeep(_) | Wish::Resume | Wish::Begin(_) | Wish::End(_),
        ) => None,
    }
}

/// Takes the keep back. False: it is acknowledged by now, or that cannot be seen; look again.
///
/// # Errors
/// The sentence why it stays asked for, as far as it can be seen.
pub(super) async fn withdraw(cluster: &mut Cluster, wish: &Wish) -> Result<bool, String> {
    let read = cluster.one::<Settings>(&Key::Settings).await;
    let (settings, version) = read.map_err(|why| out_of_sight(wish, why))?;
    let Some(plain) = view::record(&settings).and_then(|settings| without(settings, wish)) else {
        return Ok(false);
    };
    let op = Op::Set { key: Key::Settings, version, data: record::write(&plain) };
    match cluster.link().write(vec![op]).await {
        Outcome::Done { .. } => Ok(true),
        Outcome::Refused { why: Why::Denied(why), .. } => {
            let why = format!("the failover quorum does not take it back: {why}");
            Err(out_of_sight(wish, why))
        }
        Outcome::Unknown
        | Outcome::Refused {
            why: Why::Exists | Why::Missing | Why::OtherVersion | Why::NotSent,
            ..
        } => Ok(false),
    }
}

/// What to say where it is not seen what becomes of a wish.
pub(super) fn out_of_sight(wish: &Wish, why: String) -> String {
    match wish {
        Wish::PauseAndKeep(_) => format!(
            "{why}; automatic failover is paused, and the keep may still be acknowledged until it runs out: see `headship status`"
        ),
        Wish::Pause | Wish::Resume | Wish::Begin(_) | Wish::End(_) => why,
    }
}

#[cfg(test)]
mod tests {
    use headship_core::known::Content;

    use super::*;
    use crate::tests::{asked, kept, records};

    #[test]
    fn only_a_keep_of_ones_own_that_nobody_acknowledged_is_withdrawn() {
        let wish = |id: &str| Wish::PauseAndKeep(id.to_owned());
        let mut open = records();
        let Content::Record(settings) = &mut open.settings else { panic!("it is there") };
        *settings = settings.pause("eve", Some(asked()));
        let plain = without(settings, &wish("k")).unwrap();
        assert_eq!(plain.pausing(), Pausing::Paused("eve"));
        assert!(is_open(&open, &wish("k")));
        assert!(!is_open(&open, &wish("another")) && !is_open(&open, &Wish::Resume));
        assert!(!is_open(&kept(), &wish("k")));
    }
}
