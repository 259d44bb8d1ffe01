//! The operator's command line: shows the cluster and gives it orders. Decides nothing that the cluster goes by.

mod active;
mod adopt;
mod apache;
mod args;
mod check;
mod cluster;
mod config_show;
mod fence;
mod followers;
mod history;
mod is_active;
mod keep;
mod local;
mod orders;
mod output;
mod past;
mod refusal;
mod say;
mod settings;
mod standing;
mod status;
mod table;
mod view;
mod who;

#[cfg(test)]
mod tests;

use anyhow::Result;
use clap::Parser;
use headship_core::config::Config;
use headship_daemon::Exit;
use headship_daemon::configuration;

use crate::args::{Arguments, Command, Fence, Place};
use crate::refusal::Refuse;

fn main() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(message) => {
            // clap knows where each of its texts belongs; there is nobody to tell when that fails.
            drop(message.print());
            return if message.use_stderr() { Exit::Usage } else { Exit::Ok };
        }
    };
    match run(&arguments) {
        Ok(exit) => exit,
        // Whoever closed the pipe has seen enough (`headship status | head -1`).
        Err(error) if is_broken_pipe(&error) => Exit::Ok,
        Err(error) => {
            output::complain(&format!("{error:#}"));
            Exit::Failed
        }
    }
}

fn run(arguments: &Arguments) -> Result<Exit> {
    let Arguments { command, place } = arguments;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(dispatch(command, place));
    // A question to a server that never answers is not waited for.
    runtime.shutdown_background();
    result
}

async fn dispatch(command: &Command, place: &Place) -> Result<Exit> {
    match command {
        Command::Status(it) => configured(place, it, status::run).await,
        Command::Active(it) => configured(place, it, active::run).await,
        Command::IsActive(it) => configured(place, it, is_active::run).await,
        Command::History(it) => configured(place, it, history::run).await,
        Command::Switchover(it) => configured(place, it, orders::switch_over).await,
        Command::Failover(it) => configured(place, it, orders::fail_over).await,
        Command::Fence { command: Fence::List(it) } => configured(place, it, fence::list).await,
        Command::Fence { command: Fence::Confirm(it) } => {
            configured(place, it, fence::confirm).await
        }
        Command::Pause(it) => configured(place, it, settings::pause).await,
        Command::Resume(it) => configured(place, it, settings::resume).await,
        Command::Maintenance(it) => configured(place, it, settings::maintain).await,
        Command::Adopt(it) => configured(place, it, adopt::run).await,
        // Faults of the configuration are among what it finds.
        Command::Check(it) => check::run(place, it).await,
        Command::Config { command: args::Config::Show(it) } => config_show::run(place, it),
    }
}

/// Does the work with the configuration, or says what is wrong with it.
async fn configured<A: Refuse>(
    place: &Place,
    arguments: &A,
    work: impl AsyncFnOnce(&Config, &Place, &A) -> Result<Exit>,
) -> Result<Exit> {
    match configuration::load(&place.config) {
        Ok(config) => work(&config, place, arguments).await,
        Err(error) => arguments.refuse(&error.into()),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
