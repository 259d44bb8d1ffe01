//! The way to a component that is started or stopped: one thing at a time, each decided by what was just read.

use std::collections::BTreeSet;
use std::time::Duration;

use super::answer::{self, Answer, Trouble};
use super::request::Request;
use super::survey::{Seen, Survey};
use super::{Agent, Component, start, stop};
use crate::epoch::Epoch;
use crate::time::Time;

/// The pause between two rounds of questions; each costs the server a tenth of a second.
const AGAIN: Duration = Duration::from_millis(500);

/// How many rounds in a row a stop may fail to get an answer before it is made without Ambari.
const TRIES: u32 = 3;

/// What keeps a stop from being believed when nothing runs any more.
pub(super) const OPEN: &str =
    "a start of it that was ordered may still be carried out by its agent";

/// What a course is to bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// It runs here, and on no other headnode. The epoch is told to whoever reads Ambari's list of operations.
    Start(Option<Epoch>),
    /// Nothing of it runs here: Ambari stops it, and what that leaves is killed.
    Stop,
    /// The same at once: it is killed first, and Ambari is asked only for what is not proven by that.
    Kill,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make this request.
    Ask(Request),
    /// Look whether anything of it runs on this host.
    Look,
    /// End everything of it on this host, by SIGKILL after this long of SIGTERM, and look.
    Kill(Duration),
    /// Look whether the gate would let it through.
    Gate,
    /// Replace the host's record of its agent.
    Keep(Agent),
    /// Wait this long.
    Wait(Duration),
    /// It is over.
    End(Result<(), Why>),
}

/// Why a goal is not reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The gate refused.
    Gate,
    /// It failed, or nobody knows.
    Failed(String),
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The answer to a request, or why there is none.
    Answer(Result<Answer, String>),
    /// Whether anything of it runs, after a look or a kill, or why that cannot be seen.
    Runs(Result<bool, String>),
    /// Whether the gate lets it through.
    Gate(bool),
    /// The record was replaced, or why not.
    Kept(Result<(), String>),
    /// It was waited.
    Waited,
}

/// What a decision asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Abort(u64),
    Maintain { host: String, on: bool },
    Order { host: String, start: bool },
    Explain(u64),
    Wait(String),
    Kill,
    Done,
    Fail(String),
}

/// What a course remembers from one round to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// The last registration of this host's agent that was seen to be over.
    lost: Option<u64>,
    /// Since when it was healthy at each look.
    healthy: Option<Time>,
    /// The request of the start that was ordered.
    pub(super) ordered: Option<u64>,
    /// When a start was last aborted.
    aborted: Option<Time>,
    /// On which hosts Ambari was told that its stop is desired. What it does of that it does at once, or never.
    pub(super) told: BTreeSet<String>,
    /// It was killed, and seen gone.
    killed: bool,
    /// How many rounds in a row were not answered.
    unanswered: u32,
}

/// What a decision goes by.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) component: &'a Component,
    pub(super) seen: &'a Seen,
    pub(super) memory: &'a Memory,
    agent: &'a Agent,
    now: Time,
    grace: Time,
}

/// What is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Doing {
    Survey,
    Write,
    /// Whether it is a start.
    Order(bool),
    Gate(Request),
    Explain(u64),
    Kill,
    Pause,
    /// The record is being kept; then an order is given, or a round begins, or it is over.
    Keep(Option<Result<(), Why>>),
    KeepForOrder {
        request: Request,
        start: bool,
    },
}

/// The way to one goal. Each step is carried out, and what came of it handed to `next`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    component: Component,
    goal: Goal,
    agent: Agent,
    is_kept: bool,
    grace: Time,
    end: Time,
    doing: Doing,
    survey: Survey,
    memory: Memory,
    /// What is waited for.
    why: String,
}

impl View<'_> {
    /// Nothing more is asked of Ambari for the sake of grace.
    pub(super) fn is_late(&self) -> bool {
        self.now >= self.grace
    }

    /// An agent that was handed what was aborted may not have reported since.
    pub(super) fn is_settling(&self) -> bool {
        let settle = Duration::from_millis(self.component.server.settle_ms);
        self.memory.aborted.is_some_and(|at| self.now < at.after(settle))
    }

    /// The last registration of this host's agent that is known is over, or may be. One that has been healthy for as long as
    /// it takes to report has registered in any case: it was read between its registration and what follows from that.
    pub(super) fn is_registration_over(&self) -> bool {
        let settle = Duration::from_millis(self.component.server.settle_ms);
        let memory = self.memory;
        memory.lost.is_some_and(|lost| self.seen.host.registered <= lost)
            && memory.healthy.is_none_or(|since| self.now < since.after(settle))
    }

    /// Nothing that was ordered starts it here any more.
    pub(super) fn is_proven(&self) -> bool {
        let may_come = self.agent.has_open_start(&self.component.name) || self.is_settling();
        self.component.is_gated() || !may_come
    }
}

impl Course {
    /// A course, with the host's record, and its first step. It is over by `end`, which is what remains of the limit; whoever
    /// carries it out holds the lock of the host's agent all the while.
    pub fn begin(
        component: Component,
        goal: Goal,
        agent: Agent,
        (now, limit): (Time, Duration),
    ) -> (Self, Step) {
        let grace = match goal {
            Goal::Start(_) => limit,
            Goal::Stop => limit / 4 * 3,
            Goal::Kill => Duration::ZERO,
        };
        let mut course = Self {
            component,
            goal,
            agent,
            is_kept: true,
            grace: now.after(grace),
            end: now.after(limit),
            doing: Doing::Kill,
            survey: Survey::default(),
            memory: Memory::default(),
            why: "it was not begun".to_owned(),
        };
        let step = match goal {
            Goal::Start(_) | Goal::Stop => course.survey(),
            Goal::Kill => Step::Kill(Duration::ZERO),
        };
        (course, step)
    }

    /// When it is over at the latest.
    pub fn end(&self) -> Time {
        self.end
    }

    /// The step after the last one, by what came of that.
    pub fn next(&mut self, now: Time, heard: Heard) -> Step {
        match (self.doing.clone(), heard) {
            (Doing::Pause, Heard::Waited) => self.survey(),
            (Doing::Survey, Heard::Answer(answer)) => {
                let taken = answer.map_err(Trouble::Passing);
                let taken = taken.and_then(|it| self.survey.take(&self.component, &it));
                match taken {
                    Ok(()) => self.go_on(),
                    Err(trouble) => self.trouble(now, trouble),
                }
            }
            (Doing::Survey, Heard::Runs(Ok(runs))) => {
                self.survey.seen.runs = runs;
                self.memory.unanswered = 0;
                self.decide(now)
            }
            (Doing::Write, Heard::Answer(answer)) => match answer.as_ref().map(answer::refused) {
                Ok(Some(trouble)) => self.trouble(now, trouble),
                Ok(None) | Err(_) => self.pause(now),
            },
            (Doing::Order(start), Heard::Answer(answer)) => self.ordered(now, start, answer),
            (Doing::Gate(request), Heard::Gate(true)) => self.hand_over(now, request, true),
            (Doing::Gate(_), Heard::Gate(false)) => self.finish(Err(Why::Gate)),
            (Doing::KeepForOrder { request, start }, Heard::Kept(Ok(()))) => {
                self.doing = Doing::Order(start);
                Step::Ask(request)
            }
            (Doing::Keep(then), Heard::Kept(Ok(()))) => match then {
                Some(ended) => Step::End(ended),
                None => self.pause(now),
            },
            // What cannot be put on record is not ordered.
            (Doing::KeepForOrder { .. } | Doing::Keep(_), Heard::Kept(Err(why))) => {
                Step::End(Err(Why::Failed(format!("its host's record cannot be kept: {why}"))))
            }
            (Doing::Explain(id), Heard::Answer(answer)) => {
                let said = answer.map_or_else(|why| why, |it| answer::stderr(&it));
                self.fail(format!("its start failed at Ambari (request {id}): {said}"))
            }
            (Doing::Kill, Heard::Runs(Ok(false))) => self.killed(now),
            (Doing::Kill, Heard::Runs(Ok(true))) => {
                self.fail("processes of it are left in spite of SIGKILL".to_owned())
            }
            (Doing::Survey | Doing::Kill, Heard::Runs(Err(why))) => {
                self.fail(format!("nobody knows whether it runs on this host: {why}"))
            }
            (doing, heard) => self.fail(format!("{heard:?} is no outcome of {doing:?}")),
        }
    }

    fn survey(&mut self) -> Step {
        let with_others = matches!(self.goal, Goal::Start(_));
        self.survey = Survey::new(&self.component, with_others);
        self.doing = Doing::Survey;
        self.go_on()
    }

    /// The look on the host comes last: it is what the decision rests on most.
    fn go_on(&mut self) -> Step {
        self.survey.next(&self.component).map_or(Step::Look, Step::Ask)
    }

    fn decide(&mut self, now: Time) -> Step {
        let seen = &self.survey.seen;
        let mut news = self.agent.learn(now, &self.component.host, &seen.requests);
        if seen.host.is_healthy() {
            self.memory.healthy.get_or_insert(now);
            let settle = Duration::from_millis(self.component.server.settle_ms);
            news |= self.agent.settle(now, settle);
        } else if seen.host.is_lost() {
            self.memory.healthy = None;
            self.memory.lost = self.memory.lost.max(Some(seen.host.registered));
        }
        self.is_kept &= !news;
        let (component, memory, agent) = (&self.component, &self.memory, &self.agent);
        let view = View { component, seen, memory, agent, now, grace: self.grace };
        let next = match self.goal {
            Goal::Start(_) => start::decide(&view),
            Goal::Stop | Goal::Kill => stop::decide(&view),
        };
        self.carry_out(now, next)
    }

    fn carry_out(&mut self, now: Time, next: Next) -> Step {
        match next {
            Next::Abort(id) => {
                self.memory.aborted = Some(now);
                self.why =
                    format!("request {id} would start it on a headnode, and is not gone yet");
                self.write(self.component.abort(id))
            }
            Next::Maintain { host, on } => {
                let word = if on { "in" } else { "out of" };
                self.why = format!("it is not {word} maintenance on `{host}` yet");
                self.write(self.component.maintain(&host, on))
            }
            Next::Order { host, start } => {
                let request = self.component.order(&host, start, &self.words());
                self.why = format!("Ambari has not taken its order about `{host}` yet");
                if start {
                    self.doing = Doing::Gate(request);
                    return Step::Gate;
                }
                let is_here = host == self.component.host;
                self.memory.told.insert(host);
                if is_here { self.hand_over(now, request, false) } else { self.write(request) }
            }
            Next::Explain(id) => {
                self.doing = Doing::Explain(id);
                Step::Ask(self.component.request(id))
            }
            Next::Wait(why) => {
                self.why = why;
                self.pause(now)
            }
            Next::Kill => self.kill(now),
            Next::Done => self.finish(Ok(())),
            Next::Fail(why) => self.fail(why),
        }
    }

    fn write(&mut self, request: Request) -> Step {
        self.doing = Doing::Write;
        Step::Ask(request)
    }

    /// Who dies after an order and before its answer leaves it on record.
    fn hand_over(&mut self, now: Time, request: Request, start: bool) -> Step {
        self.agent.begins(&self.component.name, start, now);
        self.is_kept = true;
        self.doing = Doing::KeepForOrder { request, start };
        Step::Keep(self.agent.clone())
    }

    fn ordered(&mut self, now: Time, start: bool, answer: Result<Answer, String>) -> Step {
        let answer = match answer {
            Ok(answer) => answer,
            // It may have been queued: that shows among the requests.
            Err(why) => return self.trouble(now, Trouble::Passing(why)),
        };
        let request = answer::accepted(&answer);
        if request.is_none() && answer.status >= 500 {
            return self.pause(now);
        }
        self.agent.answered(request);
        if start {
            self.memory.ordered = request;
        }
        if let Some(trouble) = answer::refused(&answer) {
            self.is_kept = false;
            return self.trouble(now, trouble);
        }
        self.doing = Doing::Keep(None);
        Step::Keep(self.agent.clone())
    }

    fn kill(&mut self, now: Time) -> Step {
        self.doing = Doing::Kill;
        let left = self.end.since(now);
        Step::Kill(if self.goal == Goal::Kill { Duration::ZERO } else { left / 2 })
    }

    fn killed(&mut self, now: Time) -> Step {
        self.memory.killed = true;
        let (component, seen) = (&self.component, &self.survey.seen);
        let (memory, agent, grace) = (&self.memory, &self.agent, self.grace);
        let view = View { component, seen, memory, agent, now, grace };
        let is_proven = view.is_proven();
        if !is_proven {
            self.why = format!("{OPEN}: {}", self.why);
        }
        let blind = self.goal == Goal::Kill || self.memory.unanswered >= TRIES;
        if blind && is_proven { self.finish(Ok(())) } else { self.pause(now) }
    }

    /// A start needs Ambari. A stop does not: what runs here is killed all the same.
    fn trouble(&mut self, now: Time, trouble: Trouble) -> Step {
        let (why, lasts) = match trouble {
            Trouble::Passing(why) => (why, false),
            Trouble::Lasting(why) => (why, true),
        };
        // A question that the end cuts short says less than what was waited for.
        if now < self.end {
            self.why.clone_from(&why);
        }
        match self.goal {
            Goal::Start(_) if lasts => return self.fail(why),
            Goal::Start(_) => return self.pause(now),
            Goal::Stop | Goal::Kill => {}
        }
        self.memory.unanswered =
            if lasts || now >= self.grace { TRIES } else { self.memory.unanswered + 1 };
        if self.memory.unanswered < TRIES {
            self.pause(now)
        } else if self.memory.killed {
            self.killed(now)
        } else {
            self.kill(now)
        }
    }

    fn pause(&mut self, now: Time) -> Step {
        if now >= self.end {
            return self.fail(self.why.clone());
        }
        self.doing = Doing::Pause;
        Step::Wait(AGAIN.min(self.end.since(now)))
    }

    fn fail(&mut self, why: String) -> Step {
        self.finish(Err(Why::Failed(why)))
    }

    fn finish(&mut self, ended: Result<(), Why>) -> Step {
        if self.is_kept {
            return Step::End(ended);
        }
        self.is_kept = true;
        self.doing = Doing::Keep(Some(ended));
        Step::Keep(self.agent.clone())
    }

    fn words(&self) -> String {
        match self.goal {
            Goal::Start(Some(epoch)) => format!(" (epoch {epoch})"),
            Goal::Start(None) | Goal::Stop | Goal::Kill => String::new(),
        }
    }
}
