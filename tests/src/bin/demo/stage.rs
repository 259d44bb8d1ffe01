//! What the demonstration plays on: the lab, or plain processes.

use std::process::Command;

use anyhow::Result;
use headship_tests::lab::service_log::ServiceLog;
use headship_tests::lab::{self, Lab};
use headship_tests::plain::Plain;

use crate::news::Follower;

/// How long one `headship` may take, in seconds; a switchover stops and starts services.
const COMMAND_LIMIT_S: &str = "120";

/// A cluster of two headnodes.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Real hosts.
    Lab(Lab),
    /// Processes of this host.
    Plain(Plain),
}

impl Stage {
    /// `headship` with these arguments, as on that host, ready to run; it is ended when it takes too long.
    pub(crate) fn headship(&self, host: &str, arguments: &[&str]) -> Result<Command> {
        match self {
            Self::Lab(lab) => {
                let line = [&["timeout", COMMAND_LIMIT_S, "headship"], arguments].concat();
                Ok(lab.host(host)?.command(&line)?)
            }
            Self::Plain(plain) => {
                let bare = plain.host(host)?.headship(arguments);
                let mut command = Command::new("timeout");
                command.arg(COMMAND_LIMIT_S).arg(bare.get_program()).args(bare.get_args());
                Ok(command)
            }
        }
    }

    /// Ends a host as suddenly as it can be done here.
    pub(crate) fn pull_the_plug(&self, host: &str) -> Result<()> {
        match self {
            Self::Lab(lab) => Ok(lab.host(host)?.power_off()?),
            Self::Plain(plain) => Ok(plain.host(host)?.crash()?),
        }
    }

    /// What that is called here.
    pub(crate) fn deed(&self) -> &'static str {
        match self {
            Self::Lab(_) => "loses its power: the cable goes dead, and every process with it",
            Self::Plain(_) => "crashes: kill -9 for every process, daemons and services",
        }
    }

    /// Starts a host again.
    pub(crate) fn put_it_back(&self, host: &str) -> Result<()> {
        match self {
            Self::Lab(lab) => Ok(lab.host(host)?.power_on()?),
            Self::Plain(plain) => Ok(plain.host(host)?.launch()?),
        }
    }

    /// What the HA services told of themselves.
    pub(crate) fn service_log(&self) -> Result<ServiceLog> {
        match self {
            Self::Lab(lab) => Ok(lab.service_log()?),
            Self::Plain(plain) => Ok(plain.service_log()?),
        }
    }

    /// The nodes that follow whichever headnode is active, with no part in the election. Plain processes have none.
    pub(crate) fn workers(&self) -> Vec<&'static str> {
        match self {
            Self::Lab(lab) => lab.workers().iter().map(lab::Host::name).collect(),
            Self::Plain(_) => Vec::new(),
        }
    }

    /// Whether the agent of each worker is registered at this headnode, which it looks for once, when it starts.
    pub(crate) fn is_followed(&self, active: &str) -> bool {
        let Self::Lab(lab) = self else { return true };
        let registrations = lab.registrations();
        lab.workers().iter().all(|worker| {
            let last = registrations.iter().rfind(|one| one.host == worker.name());
            last.is_some_and(|last| last.server == active)
        })
    }

    /// `getent hosts headnodehost` as on that host, ready to run.
    pub(crate) fn look_up(&self, host: &str) -> Result<Option<Command>> {
        match self {
            Self::Lab(lab) => {
                Ok(Some(lab.host(host)?.command(&["getent", "hosts", "headnodehost"])?))
            }
            Self::Plain(_) => Ok(None),
        }
    }

    /// Hears what the daemons of a host log from now on.
    pub(crate) fn follow(&self, host: &str) -> Result<Follower> {
        match self {
            Self::Lab(lab) => Follower::of_journal(&lab.host(host)?),
            Self::Plain(plain) => Follower::of_files(plain.host(host)?),
        }
    }

    /// How a person goes on from here.
    pub(crate) fn look_around(&self) -> String {
        match self {
            Self::Lab(lab) => {
                let call = call(lab);
                format!(
                    "The cluster stays up. Look around:\n\
                     \x20 a shell on hn0; there: headship status, headship --help, journalctl --follow\n    {call} sh hn0\n\
                     \x20 the cluster as hn1 sees it\n    {call} sh hn1 -- headship status\n\
                     \x20 pull a plug yourself; `on` puts it back\n    {call} power hn1 off\n\
                     \x20 cut a cable; `heal` mends it\n    {call} cut hn1\n\
                     \x20 what else can be broken\n    {call} --help\n\
                     End it:\n    make clean-lab"
                )
            }
            Self::Plain(plain) => {
                let hosts = plain.hosts().iter().map(|host| {
                    let line = host.headship(&["status"]);
                    let words: Vec<_> =
                        line.get_args().map(|word| word.to_string_lossy()).collect();
                    format!("  {} {}\n", line.get_program().display(), words.join(" "))
                });
                format!(
                    "The cluster stays up as long as this program. Look around from another terminal:\n{}",
                    hosts.collect::<String>()
                )
            }
        }
    }

    /// Where to look when something went wrong.
    pub(crate) fn where_to_look(&self) -> String {
        match self {
            Self::Lab(lab) => {
                let call = call(lab);
                format!(
                    "The lab was left up, to be looked at:\n  {call} status\n  \
                     {call} sh hn0 -- headship status\n  {call} sh hn0 -- journalctl --boot\n  {call} log\n\
                     `make clean-lab` ends it."
                )
            }
            Self::Plain(plain) => plain.hosts().iter().map(|host| host.said()).collect(),
        }
    }
}

fn call(lab: &Lab) -> String {
    let program = lab::Options::for_people().sources.programs.join("lab");
    let own = std::env::current_dir().unwrap_or_default();
    let program = program.strip_prefix(own).unwrap_or(&program).display();
    let dir = lab.place().dir();
    if dir == std::path::Path::new(lab::DEFAULT_DIR) {
        format!("{program}")
    } else {
        format!("{program} --dir {}", dir.display())
    }
}
