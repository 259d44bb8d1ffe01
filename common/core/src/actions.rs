//! Services that are started, stopped and looked at by programs that end: what each program is told, and what its end means.
//!
//! Two languages are spoken: that of resource agents (Open Cluster Framework, API 1.1), and our own, headship-command(7).
//! What such a service leaves behind may be no process at all, an address or a mount. So a [`Mark`] stands for it on its
//! host from before its start until it was seen gone. Programs are run, and marks kept, in `headship-drivers`.
//!
//! A component of Ambari is a service of actions, too: its server stands in for the programs, and [`crate::ambari`] tells
//! what it is asked.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ambari::Component;
use crate::config::checked::{Driver, Programs, Service};
use crate::fencing::End;
use crate::time::millis;

/// How many answers in a row may be late: a host under load is slow, and the service may be well.
const LATE: u32 = 3;

/// What a program is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start it; it is up afterwards.
    Start,
    /// Stop it; it is down afterwards.
    Stop,
    /// Tell whether it runs.
    Monitor,
}

/// Which exit codes and variables the programs know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    /// headship-command(7).
    Command,
    /// That of resource agents.
    Ocf,
}

/// All that is needed to start, stop and see one service, whatever the configuration says meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// The service.
    pub service: String,
    #[serde(flatten)]
    way: Way,
    start_ms: u64,
    stop_ms: u64,
    monitor_ms: u64,
    interval_ms: u64,
}

/// What performs the actions, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "language", rename_all = "kebab-case")]
enum Way {
    Command(Commands),
    Ocf(Commands),
    Ambari(Component),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Commands {
    start: Vec<String>,
    stop: Vec<String>,
    monitor: Vec<String>,
    /// What is the same for all three.
    environment: BTreeMap<String, String>,
}

/// What performs the actions of a recipe.
#[derive(Clone, Copy, Debug)]
pub enum Means<'a> {
    /// Programs on this host.
    Programs(Speaker<'a>),
    /// An Ambari server, with its agents.
    Ambari(&'a Component),
}

/// The programs of a recipe, with their language.
#[derive(Clone, Copy, Debug)]
pub struct Speaker<'a> {
    recipe: &'a Recipe,
    language: Language,
    commands: &'a Commands,
}

/// One program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// What it finds in its environment beside what everybody does.
    pub environment: BTreeMap<String, String>,
    /// How long it may take.
    pub limit: Duration,
}

/// Stands for a service that may run on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// How it is stopped.
    pub recipe: Recipe,
    /// Whether its start has succeeded.
    #[serde(default)]
    pub up: bool,
    /// What last went wrong with it; empty if nothing did.
    #[serde(default)]
    pub why: String,
}

/// What `monitor` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It runs.
    Running,
    /// Nothing of it runs.
    Down,
    /// It has failed, or the answer means nothing: something of it may run.
    Failed(String),
    /// There was no answer in time.
    Late(String),
}

/// Whether a service that was started still runs.
#[derive(Debug, Default)]
pub struct Watch {
    late: u32,
}

impl Recipe {
    /// That of a service whose driver has actions.
    pub fn of(service: &Service) -> Option<Self> {
        let actions = match &service.driver {
            Driver::Actions(actions) => actions,
            Driver::Systemd { .. } | Driver::Command { .. } => return None,
        };
        let name = &service.name;
        let way = match &actions.programs {
            Programs::Command { start, stop, status } => Way::Command(Commands {
                start: start.clone(),
                stop: stop.clone(),
                monitor: status.clone(),
                environment: [("HEADSHIP_SERVICE".to_owned(), name.clone())].into(),
            }),
            Programs::Ocf { root, provider, agent, parameters } => {
                let path = agent_path(root, provider, agent);
                let [start, stop, monitor] =
                    ["start", "stop", "monitor"].map(|it| vec![path.clone(), it.into()]);
                let environment = ocf(name, [root, provider, agent], parameters);
                Way::Ocf(Commands { start, stop, monitor, environment })
            }
            Programs::Ambari(component) => Way::Ambari(component.as_ref().clone()),
        };
        Some(Self {
            service: name.clone(),
            way,
            start_ms: millis(service.start_limit),
            stop_ms: millis(service.stop_limit),
            monitor_ms: millis(actions.limit),
            interval_ms: millis(actions.interval),
        })
    }

    /// What performs its actions.
    pub fn means(&self) -> Means<'_> {
        let speaker =
            |language, commands| Means::Programs(Speaker { recipe: self, language, commands });
        match &self.way {
            Way::Command(commands) => speaker(Language::Command, commands),
            Way::Ocf(commands) => speaker(Language::Ocf, commands),
            Way::Ambari(component) => Means::Ambari(component),
        }
    }

    /// How long an action may take.
    pub fn limit(&self, action: Action) -> Duration {
        Duration::from_millis(match action {
            Action::Start => self.start_ms,
            Action::Stop => self.stop_ms,
            Action::Monitor => self.monitor_ms,
        })
    }

    /// As one word of a command line.
    pub fn to_word(&self) -> String {
        serde_json::to_string(self).expect("it holds only texts, numbers and plain maps")
    }

    /// From such a word.
    ///
    /// # Errors
    ///
    /// It is no recipe.
    pub fn from_word(word: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(word)
    }

    /// How long to wait between two looks.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    /// How long to stop it and to see it gone may take.
    pub fn clear_limit(&self) -> Duration {
        Duration::from_millis(self.stop_ms.saturating_add(self.monitor_ms))
    }
}

impl Speaker<'_> {
    /// What is run for an action.
    pub fn step(&self, action: Action) -> Step {
        let (command, interval_ms) = match action {
            Action::Start => (&self.commands.start, 0),
            Action::Stop => (&self.commands.stop, 0),
            Action::Monitor => (&self.commands.monitor, self.recipe.interval_ms),
        };
        let limit = self.recipe.limit(action);
        let limit_ms = limit.as_millis();
        let own = match self.language {
            Language::Command => vec![
                ("HEADSHIP_ACTION", action.word(self.language).to_owned()),
                ("HEADSHIP_LIMIT_MS", limit_ms.to_string()),
            ],
            Language::Ocf => vec![
                ("OCF_RESKEY_CRM_meta_name", action.word(self.language).to_owned()),
                ("OCF_RESKEY_CRM_meta_timeout", limit_ms.to_string()),
                ("OCF_RESKEY_CRM_meta_interval", interval_ms.to_string()),
            ],
        };
        let mut environment = self.commands.environment.clone();
        environment.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Step { command: command.clone(), environment, limit }
    }

    /// Whether `start` succeeded; if not, why.
    pub fn started(&self, end: &End) -> Result<(), String> {
        self.done(Action::Start, end)
    }

    /// Whether it is gone: `stop` succeeded, and `monitor` then saw nothing of it. Neither is believed alone.
    pub fn cleared(&self, stop: &End, monitor: &End) -> Result<(), String> {
        self.done(Action::Stop, stop)?;
        let word = Action::Monitor.word(self.language);
        match self.told(monitor) {
            Told::Down => Ok(()),
            Told::Running => Err(format!("its `stop` succeeded, and `{word}` says that it runs")),
            Told::Failed(why) | Told::Late(why) => {
                Err(format!("its `stop` succeeded, but nobody knows whether it is gone: {why}"))
            }
        }
    }

    /// Whether anything of a service that nobody is known to have started here may run.
    pub fn may_run(&self, monitor: &End) -> bool {
        match (self.language, monitor) {
            // The agent lacks what it needs, so it has started nothing here.
            (Language::Ocf, End::Exited(5)) => false,
            (Language::Ocf | Language::Command, end) => self.told(end) != Told::Down,
        }
    }

    /// What `monitor` tells.
    pub fn told(&self, end: &End) -> Told {
        match (self.language, end) {
            (Language::Command | Language::Ocf, End::Exited(0)) => Told::Running,
            // An active and a degraded one of those that know more than on and off.
            (Language::Ocf, End::Exited(8 | 190 | 191)) => Told::Running,
            (Language::Ocf, End::Exited(7)) | (Language::Command, End::Exited(3)) => Told::Down,
            (Language::Command | Language::Ocf, end @ End::Late(_)) => {
                Told::Late(self.sentence(Action::Monitor, end))
            }
            (
                Language::Command | Language::Ocf,
                end @ (End::Exited(_) | End::Signal(_) | End::Unseen(_)),
            ) => Told::Failed(self.sentence(Action::Monitor, end)),
        }
    }

    fn done(&self, action: Action, end: &End) -> Result<(), String> {
        if *end == End::Exited(0) { Ok(()) } else { Err(self.sentence(action, end)) }
    }

    /// What an end that was no success means.
    fn sentence(&self, action: Action, end: &End) -> String {
        let word = action.word(self.language);
        match end {
            End::Exited(code) => match (self.language, ocf_says(*code)) {
                (Language::Ocf, Some(says)) => {
                    format!("its `{word}` says: {says} (exit code {code})")
                }
                (Language::Ocf, None) | (Language::Command, _) => {
                    format!("its `{word}` ended with exit code {code}")
                }
            },
            End::Signal(signal) => format!("its `{word}` was killed by signal {signal}"),
            End::Late(limit) => format!("its `{word}` took longer than {limit:?} and was killed"),
            End::Unseen(why) => format!("its `{word}` {why}"),
        }
    }
}

impl Action {
    fn word(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::Start, _) => "start",
            (Self::Stop, _) => "stop",
            (Self::Monitor, Language::Ocf) => "monitor",
            (Self::Monitor, Language::Command) => "status",
        }
    }
}

impl Watch {
    /// Takes an answer; why the service is over, if it is.
    pub fn take(&mut self, told: Told) -> Option<String> {
        let late = match told {
            Told::Running => {
                self.late = 0;
                return None;
            }
            Told::Down => return Some("it runs no more".to_owned()),
            Told::Failed(why) => return Some(why),
            Told::Late(why) => why,
        };
        self.late = self.late.saturating_add(1);
        (self.late >= LATE).then(|| format!("{late}, {LATE} times in a row"))
    }
}

/// Where an agent is installed.
pub fn agent_path(root: &str, provider: &str, agent: &str) -> String {
    format!("{root}/resource.d/{provider}/{agent}")
}

/// What each action of an agent finds in its environment.
fn ocf(
    service: &str,
    [root, provider, agent]: [&str; 3],
    parameters: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let own = [
        ("OCF_ROOT", root),
        ("OCF_RA_VERSION_MAJOR", "1"),
        ("OCF_RA_VERSION_MINOR", "1"),
        ("OCF_RESOURCE_INSTANCE", service),
        ("OCF_RESOURCE_PROVIDER", provider),
        ("OCF_RESOURCE_TYPE", agent),
        ("OCF_CHECK_LEVEL", "0"),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let told = parameters.iter().map(|(name, it)| (format!("OCF_RESKEY_{name}"), it.clone()));
    own.chain(told).collect()
}

/// What an agent's exit code says, but for success.
fn ocf_says(code: i32) -> Option<&'static str> {
    Some(match code {
        1 => "it failed",
        2 => "a parameter is wrong",
        3 => "the agent does not know the action",
        4 => "a permission is missing",
        5 => "something that it needs is not installed on this host",
        6 => "the configuration is wrong",
        7 => "it does not run",
        8 => "it runs as the promoted one",
        9 => "it failed as the promoted one",
        190 => "it runs, but not well",
        191 => "it runs as the promoted one, but not well",
        _ => return None,
    })
}
