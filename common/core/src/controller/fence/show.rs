//! What people see of a holder that is fenced, or about to be.

use super::{Suspicion, Use};
use crate::controller::Controller;
use crate::fencing::{Answer, Asking};
use crate::record::{FenceSeen, Way, WayAnswer};

impl Controller {
    /// What is shown of a holder that is fenced before its office is claimed.
    pub(in crate::controller) fn fence_seen(&self) -> Option<FenceSeen> {
        let suspicion = self.suspicion.as_ref()?;
        let early = suspicion.used == Use::Early && suspicion.is_told();
        early.then(|| FenceSeen {
            over: suspicion.over.clone(),
            epoch: suspicion.epoch,
            why: suspicion.stands(),
            methods: suspicion.methods(),
        })
    }

    /// What each fence method has said of the one who is claimed over, as ways to its office.
    pub(in crate::controller) fn fence_ways(&self) -> Vec<Way> {
        let Some(suspicion) = &self.suspicion else { return Vec::new() };
        let methods = suspicion.methods();
        let stands = suspicion.rests.is_some() && methods.is_empty();
        let not_asked = stands.then(|| Way {
            way: "fence".to_owned(),
            answer: WayAnswer::Unknown,
            why: suspicion.stands(),
        });
        methods.into_iter().chain(not_asked).collect()
    }

    /// How the competition stands, with what is done about a holder that seems dead.
    pub(in crate::controller) fn with_suspicion(&self, course: String) -> String {
        match self.suspicion.as_ref().filter(|it| it.is_told()) {
            Some(suspicion) => format!("{course}; {}", suspicion.stands()),
            None => course,
        }
    }
}

impl Suspicion {
    fn stands(&self) -> String {
        let node = &self.over.node;
        if let Some(fenced) = &self.fenced {
            return format!("{node} is off, as fence method `{}` says", fenced.by);
        }
        if let Some(method) = self.round.as_ref().and_then(Asking::asks) {
            return format!("{node} seems dead, and fence method `{method}` is asked about it");
        }
        match &self.rests {
            Some((_, why)) => format!("{node} shows nothing, and is not fenced: {why}"),
            None => format!("{node} shows nothing"),
        }
    }

    fn methods(&self) -> Vec<Way> {
        let Some(round) = &self.round else { return Vec::new() };
        let asks = round.asks();
        let yes = self.fenced.as_ref();
        let way = |name: &str, answer: Option<&Answer>| {
            let (answer, why) = match answer {
                Some(Answer::Yes { how }) => (WayAnswer::Yes, how.clone()),
                Some(Answer::No { why }) => (WayAnswer::No, why.clone()),
                Some(Answer::Unknown { why }) => (WayAnswer::Unknown, why.clone()),
                None => match yes.filter(|yes| yes.by == name) {
                    Some(yes) => (WayAnswer::Yes, yes.how.clone()),
                    None if asks == Some(name) => {
                        (WayAnswer::Unknown, "it is being asked".to_owned())
                    }
                    None => (WayAnswer::Unknown, "it has not been asked".to_owned()),
                },
            };
            Way { way: name.to_owned(), answer, why }
        };
        round.answers().map(|(name, answer)| way(name, answer)).collect()
    }
}
