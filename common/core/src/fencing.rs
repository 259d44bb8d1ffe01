//! Fencing: which method is asked next, and what each answer permits. `protocol.md`, 7.
//!
//! Methods are asked in the order of the configuration, each for as long as its own limit and the budget of all allow. Only
//! a Yes goes on; after the last method the attempt is refused, and an operator has to look. What a fence program's end and
//! words mean is decided in [`agent`], [`command`] and [`ssh`], what a host's silence is worth in [`knock`]; programs are run
//! elsewhere. When there is a reason to fence at all, and what follows from a Yes, is the controller's to decide.

pub mod agent;
pub mod command;
pub mod knock;
pub mod ssh;

use std::time::Duration;

use crate::config::checked::{FenceMethod, Fencing};
use crate::epoch::Epoch;
use crate::node::{Identity, NodeName};
use crate::time::{Time, millis};

/// How long a holder may leave a challenge unanswered: it is told by a watch, and renews at once.
pub const ANSWER_LIMIT: Duration = Duration::from_millis(500);

/// How much longer than its limit a method is waited for: it ends by itself, after it has ended what it had started.
const BEYOND: Duration = Duration::from_secs(2);

/// From here on, lengths of time are told in seconds.
const READABLE: Duration = Duration::from_secs(1);

/// Whom a fencing is about: the boot of a machine that held an epoch. A Yes is about this boot, and no other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Victim {
    /// Its name.
    pub node: NodeName,
    /// The content of its `/etc/machine-id`.
    pub machine: String,
    /// Its boot id.
    pub boot: String,
    /// The epoch that it held.
    pub epoch: Epoch,
}

impl Victim {
    /// Whether it is this boot of this machine, in this epoch.
    pub fn is(&self, holder: &Identity, epoch: Epoch) -> bool {
        (&self.node, &self.machine, &self.boot) == (&holder.node, &holder.machine, &holder.boot)
            && self.epoch == epoch
    }

    /// Why it cannot be named to a fence program, if so. Its ids are what a record says, and a program may hand them to a shell.
    pub fn unfit(&self) -> Option<String> {
        let plain = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        let fit = plain(&self.machine) && plain(&self.boot);
        (!fit).then(|| format!("the record of {} has no usable machine and boot id", self.node))
    }
}

/// How long after the last sign of a holder of office its fence agents have switched it off at the latest, if they can: all that
/// may be asked about it before its office is claimed, one after the other, with a look at the host before each. The looks and
/// the agents' own time; nothing where there is none for it.
pub fn switched_off_after(fencing: &Fencing, node: &NodeName) -> Option<(Duration, Duration)> {
    let agents = fencing.methods.iter().filter(|method| method.is_agent() && method.fences(node));
    let (look, none) = (fencing.dead_after + ANSWER_LIMIT, Duration::ZERO);
    let sum = agents.fold((none, none), |(looks, asked), method| {
        (looks.saturating_add(look), asked.saturating_add(method.limit))
    });
    (sum.0 > none).then(|| (sum.0, sum.1.min(fencing.budget)))
}

/// What a fence method says of a victim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Nothing of that boot runs any more.
    Yes {
        /// How that is known.
        how: String,
    },
    /// It still runs, as far as the method sees.
    No {
        /// What was seen.
        why: String,
    },
    /// Nobody knows. That is no better than a No.
    Unknown {
        /// Why nobody knows.
        why: String,
    },
}

/// One run of a fence program.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// How it ended.
    pub end: End,
    /// The last of what it said, in one line; empty if it said nothing.
    pub said: String,
}

/// How the run of a fence program ended. Nothing that it started is left in any case, or it is said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal, which was not ours.
    Signal(i32),
    /// It took longer than this, and was killed.
    Late(Duration),
    /// It was not begun, or its end was not seen.
    Unseen(String),
}

/// What follows from one run, where a method may take several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// It is not out yet: ask again, as long as there is time.
    Again,
    /// This is the answer.
    Say(Answer),
}

/// What is to be done next about a victim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Ask this method, for this long at most.
    Ask {
        /// Its place in the configuration's list.
        method: usize,
        /// How long it may take.
        limit: Duration,
    },
    /// Look whether the victim still shows nothing before the next method is asked ([`Asking::go_on`]): this one may have taken
    /// long, and without saying that it is out.
    Look,
    /// The victim is out.
    Fenced {
        /// The method that says so.
        by: String,
        /// How it knows.
        how: String,
    },
    /// No method says that it is out: nothing may be begun, and an operator has to look ([`way_out`]).
    Refused {
        /// What each method said.
        why: String,
    },
}

/// One round of asking the fence methods about a victim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asking {
    victim: Victim,
    methods: Vec<Method>,
    /// What is left of the time of all methods together.
    left: Duration,
    /// The method that is being asked.
    asked: Option<Asked>,
    /// What the methods before it said.
    said: Vec<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Asked {
    /// Its place in the round.
    index: usize,
    since: Time,
    /// From when on it is not waited for.
    late: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Method {
    name: String,
    limit: Duration,
    /// Its place in the configuration's list.
    place: usize,
}

impl Asking {
    /// Begins a round, with what is to be done first. Of the methods that fence the victim only those that `may` be are asked.
    pub fn begin(
        now: Time,
        victim: Victim,
        fencing: &Fencing,
        may: impl Fn(&FenceMethod) -> bool,
    ) -> (Self, Step) {
        let methods = methods(&victim, fencing, may).collect();
        let left = fencing.budget;
        let mut asking = Self { victim, methods, left, asked: None, said: Vec::new() };
        let step = asking.next(now);
        (asking, step)
    }

    /// Goes on with the next method. Those that `may` be asked by now and were not in this round yet come last, and bring new
    /// time.
    pub fn go_on(
        mut self,
        now: Time,
        fencing: &Fencing,
        may: impl Fn(&FenceMethod) -> bool,
    ) -> (Self, Step) {
        let asked: Vec<usize> = self.methods.iter().map(|method| method.place).collect();
        let new = methods(&self.victim, fencing, may);
        self.methods.extend(new.filter(|method| !asked.contains(&method.place)));
        if self.methods.len() > asked.len() {
            self.left = fencing.budget;
        }
        let step = self.next(now);
        (self, step)
    }

    /// What a method answered, and what is to be done now; `None` if nothing is, as after the answer of a method that was
    /// given up: its Yes may be true, but it came after its limit, and the next method has been asked.
    pub fn answered(&mut self, now: Time, method: usize, answer: Answer) -> Option<Step> {
        let asked = self.asked?;
        let said = self.methods.get(asked.index).filter(|asked| asked.place == method)?;
        let by = said.name.clone();
        self.asked = None;
        self.left = self.left.saturating_sub(now.since(asked.since));
        Some(match answer {
            Answer::Yes { how } => Step::Fenced { by, how },
            Answer::No { .. } | Answer::Unknown { .. } => {
                self.said.push(answer);
                let further = self.methods.len() > self.said.len() && !self.left.is_zero();
                if further { Step::Look } else { self.next(now) }
            }
        })
    }

    /// Gives up a method that is late. Early or repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Time) -> Option<Step> {
        let asked = self.asked.filter(|asked| now >= asked.late)?;
        let method = self.methods.get(asked.index)?;
        let why = format!("it did not answer within {:?}", method.limit);
        self.answered(now, method.place, Answer::Unknown { why })
    }

    /// When `handle_timeout` is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.asked.map(|asked| asked.late)
    }

    /// What each method has said so far, by its name and in their order; `None` for one that has not answered.
    pub fn answers(&self) -> impl Iterator<Item = (&str, Option<&Answer>)> {
        let said = self.said.iter().map(Some).chain(std::iter::repeat(None));
        self.methods.iter().map(|method| method.name.as_str()).zip(said)
    }

    /// The method that is being asked, by its name.
    pub fn asks(&self) -> Option<&str> {
        self.methods.get(self.asked?.index).map(|method| method.name.as_str())
    }

    /// Asks the next method, or refuses.
    fn next(&mut self, now: Time) -> Step {
        while let Some(method) = self.methods.get(self.said.len()) {
            let limit = method.limit.min(self.left);
            if !limit.is_zero() {
                let (index, late) = (self.said.len(), now.after(limit).after(BEYOND));
                self.asked = Some(Asked { index, since: now, late });
                return Step::Ask { method: method.place, limit };
            }
            let why = "no time was left to ask it".to_owned();
            self.said.push(Answer::Unknown { why });
        }
        Step::Refused { why: self.refusal() }
    }

    fn refusal(&self) -> String {
        let node = &self.victim.node;
        if self.methods.is_empty() {
            return format!("no fence method can be asked about {node}");
        }
        let said = self.methods.iter().zip(&self.said);
        let said: Vec<String> =
            said.map(|(method, answer)| format!("{}: {answer}", method.name)).collect();
        format!("no fence method says that {node} is off ({})", said.join("; "))
    }
}

/// The methods that fence the victim and `may` be asked.
fn methods(
    victim: &Victim,
    fencing: &Fencing,
    may: impl Fn(&FenceMethod) -> bool,
) -> impl Iterator<Item = Method> {
    let methods = fencing.methods.iter().enumerate();
    methods
        .filter(move |(_, method)| method.fences(&victim.node) && may(method))
        .map(|(place, method)| Method { name: method.name.clone(), limit: method.limit, place })
}

/// What an operator can do where no method says Yes.
pub fn way_out(node: &NodeName) -> String {
    format!("see that {node} is off, then `headship fence confirm {node}`")
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Yes { how } => write!(f, "yes, {how}"),
            Self::No { why } => write!(f, "no, {why}"),
            Self::Unknown { why } => write!(f, "unknown, {why}"),
        }
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.end {
            End::Exited(status) => write!(f, "exited with {status}")?,
            End::Signal(signal) => write!(f, "was killed by signal {signal}")?,
            // What is left of a limit is nobody's figure: in milliseconds it can be read.
            End::Late(limit) if *limit < READABLE => {
                write!(f, "took longer than {}ms and was killed", millis(*limit))?;
            }
            End::Late(limit) => {
                let tenths = millis(*limit).saturating_add(50) / 100;
                write!(f, "took longer than {}.{}s and was killed", tenths / 10, tenths % 10)?;
            }
            End::Unseen(why) => f.write_str(why)?,
        }
        if !self.said.is_empty() {
            write!(f, ", saying `{}`", self.said)?;
        }
        Ok(())
    }
}

/// Whether a command succeeds whatever is the case: as a fence method it would call every host switched off. What merely
/// resolves to such a program is found on the host.
pub fn always_succeeds(command: &[String]) -> bool {
    let Some((program, arguments)) = command.split_first() else { return false };
    match program.rsplit('/').next().unwrap_or_default() {
        "true" | ":" => true,
        "env" | "exec" | "nice" | "nohup" | "setsid" | "busybox" => {
            let plain = |word: &&String| !word.starts_with('-') && !word.contains('=');
            let rest = arguments.iter().position(|word| plain(&word));
            rest.and_then(|at| arguments.get(at..)).is_some_and(always_succeeds)
        }
        "sh" | "bash" | "dash" | "ash" | "ksh" | "zsh" => {
            let script = arguments.iter().skip_while(|word| *word != "-c").nth(1);
            script.is_some_and(|script| script_succeeds(script))
        }
        _ => false,
    }
}

fn script_succeeds(script: &str) -> bool {
    let script = script.trim().trim_end_matches(';').trim_end();
    let words: Vec<String> = script.split_whitespace().map(str::to_owned).collect();
    match words.first().map(String::as_str) {
        None => true,
        Some("exit") => matches!(words.get(1).map(String::as_str), None | Some("0")),
        Some(_) => always_succeeds(&words),
    }
}

#[cfg(test)]
mod tests;
