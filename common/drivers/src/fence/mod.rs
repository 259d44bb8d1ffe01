//! Fence methods: asks one about a victim, and brings back its answer.
//!
//! Which method is asked, for how long, and what follows, is decided in `headship_core::fencing`; so is what the end of a
//! fence program means. Here programs are run, each with a limit that ends it and all that it started.

mod agent;
mod command;
mod program;
mod run;
mod ssh;

use std::collections::BTreeMap;
use std::time::Duration;

use headship_core::config::Config;
use headship_core::config::checked::{FenceKind, FenceMethod};
use headship_core::fencing::agent::Action;
use headship_core::fencing::{Answer, Run, Victim};
use headship_core::node::NodeName;

use self::run::Runner;
use crate::host::run::RunDir;

/// The fence methods of a configuration.
#[derive(Debug)]
pub struct Fence {
    methods: Vec<FenceMethod>,
    /// Where each headnode is reached.
    addresses: BTreeMap<NodeName, String>,
    runner: Runner,
}

impl Fence {
    /// The fence methods of `config`. Must be called within a tokio runtime. Under systemd programs run as transient units,
    /// elsewhere in a process group of their own.
    pub fn new(config: &Config, run: &RunDir) -> Self {
        let addresses = config.headnodes.iter().map(|it| (it.name.clone(), it.address.clone()));
        Self {
            methods: config.fencing.methods.clone(),
            addresses: addresses.collect(),
            runner: Runner::new(run),
        }
    }

    /// Asks the method at this place of the configuration's list. Its answer comes within the limit and a second or two, in
    /// which what it started is killed. When the future is dropped, that is killed, too; a unit that systemd is only about to start
    /// ends at the limit.
    pub async fn ask(&self, method: usize, victim: &Victim, limit: Duration) -> Answer {
        let Some(method) = self.methods.get(method) else {
            return Answer::Unknown { why: "there is no such method".to_owned() };
        };
        let address = self.addresses.get(&victim.node).map_or("", String::as_str);
        match &method.kind {
            FenceKind::Agent { program, secrets_file, nodes } => {
                let Some(parameters) = nodes.get(&victim.node) else {
                    let why = format!("it is told nothing about {}", victim.node);
                    return Answer::Unknown { why };
                };
                let secrets_file = secrets_file.as_deref();
                let agent = agent::Agent { program, secrets_file, parameters };
                agent.off(&self.runner, limit).await
            }
            FenceKind::Ssh { arguments } => {
                ssh::ask(&self.runner, arguments, victim, address, limit).await
            }
            FenceKind::Command { command } => {
                command::ask(&self.runner, command, victim, address, limit).await
            }
        }
    }

    /// Has a fence agent say something that changes nothing: how it ended, and its standard output. `None` if this method
    /// has no agent for that headnode, or for `Action::Off`, which is `ask`'s.
    pub async fn look(
        &self,
        method: usize,
        node: &NodeName,
        action: Action,
        limit: Duration,
    ) -> Option<(Run, String)> {
        let FenceKind::Agent { program, secrets_file, nodes } = &self.methods.get(method)?.kind
        else {
            return None;
        };
        match action {
            Action::Off => None,
            Action::Status | Action::Monitor | Action::List => {
                let (secrets_file, parameters) = (secrets_file.as_deref(), nodes.get(node)?);
                let agent = agent::Agent { program, secrets_file, parameters };
                Some(agent.run(&self.runner, action, limit).await)
            }
        }
    }

    /// What keeps a method from being asked on this host, if anything: its program, or its file of secrets.
    pub fn unfit(&self, method: usize) -> Option<String> {
        match &self.methods.get(method)?.kind {
            FenceKind::Agent { program, secrets_file, .. } => {
                program::unfit(program).or_else(|| agent::secrets(secrets_file.as_deref()).err())
            }
            FenceKind::Ssh { .. } => program::unfit(ssh::SSH),
            FenceKind::Command { command } => {
                program::unfit(command.first().map_or("", String::as_str))
            }
        }
    }
}
