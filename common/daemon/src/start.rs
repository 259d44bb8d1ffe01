//! How a daemon begins, up to the point where it knows its configuration, and how it ends when it cannot.

use std::error::Error;
use std::{panic, process};

use headship_core::config::Config;
use headship_core::say::Kind;

use crate::arguments::Arguments;
use crate::{Exit, configuration, log};

/// Why a daemon does not begin.
#[derive(Debug)]
pub struct Refusal {
    /// The exit code that tells it.
    pub exit: Exit,
    /// The sentence that tells it.
    pub why: String,
}

impl Refusal {
    /// A refusal for `error` and its causes.
    pub fn new(exit: Exit, error: &dyn Error) -> Self {
        Self { exit, why: log::chain(error) }
    }
}

impl<E: Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::new(Exit::Failed, &error)
    }
}

/// What keeps a second process of a kind away; a refusal if that has, or if the lock cannot be had. `held` tells which.
pub fn alone<L, E: Error>(lock: Result<L, E>, held: impl Fn(&E) -> bool) -> Result<L, Refusal> {
    lock.map_err(|error| {
        let exit = if held(&error) { Exit::AlreadyRunning } else { Exit::Failed };
        Refusal::new(exit, &error)
    })
}

/// From now on a panic of any task ends the process, once it is said: nobody knows what its state is worth, and the next
/// process begins with what is written down.
pub fn abort_on_panic() {
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        say(panic);
        process::abort();
    }));
}

/// Loads the configuration and opens the log.
pub fn configure(program: &str, arguments: &Arguments) -> Result<Config, Refusal> {
    abort_on_panic();
    let config = configuration::load(&arguments.config)
        .map_err(|error| Refusal::new(error.exit(), &error))?;
    log::init(program, &config.node)?;
    Ok(config)
}

/// As `configure`, for a daemon that runs on headnodes only.
pub fn configure_headnode(program: &str, arguments: &Arguments) -> Result<Config, Refusal> {
    let config = configure(program, arguments)?;
    if !config.is_headnode() {
        let why = format!(
            "{} is not a headnode of the configuration: {program} has nothing to do here",
            config.node
        );
        return Err(Refusal { exit: Exit::NotThisNode, why });
    }
    Ok(config)
}

/// The exit code of a daemon, having said why if it did not begin.
pub fn end(program: &str, ended: Result<Exit, Refusal>) -> Exit {
    match ended {
        Ok(exit) => exit,
        Err(refusal) => {
            let kind = match refusal.exit {
                Exit::Configuration => Kind::ConfigurationFault,
                Exit::Ok
                | Exit::Failed
                | Exit::Usage
                | Exit::NotThisNode
                | Exit::AlreadyRunning
                | Exit::Refused
                | Exit::NotActive
                | Exit::NobodyActive
                | Exit::QuorumAway
                | Exit::TimedOut
                | Exit::Degraded => Kind::NotBegun,
            };
            log::complain(program, kind, &refusal.why);
            refusal.exit
        }
    }
}
