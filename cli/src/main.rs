//! The operator's command line: shows the cluster and gives it orders. Decides nothing that the cluster goes by.

mod active;
mod adopt;
mod apache;
mod args;
mod check;
mod cluster;
mod fence;
mod followers;
mod history;
mod is_active;
mod keep;
mod local;
mod orders;
mod output;
mod past;
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
        Command::Status(arguments) => {
            configured(place, async |config| status::run(config, place, arguments).await).await
        }
        Command::Active(arguments) => {
            configured(place, async |config| active::run(config, place, arguments).await).await
        }
        Command::IsActive(arguments) => {
            configured(place, async |config| is_active::run(config, place, arguments).await).await
        }
        Command::History(arguments) => {
            configured(place, async |config| history::run(config, place, arguments).await).await
        }
        Command::Switchover(arguments) => {
            configured(place, async |config| orders::switch_over(config, place, arguments).await)
                .await
        }
        Command::Failover(arguments) => {
            configured(place, async |config| orders::fail_over(config, place, arguments).await)
                .await
        }
        Command::Fence { command: Fence::List(arguments) } => {
            configured(place, async |config| fence::list(config, place, arguments).await).await
        }
        Command::Fence { command: Fence::Confirm(arguments) } => {
            configured(place, async |config| fence::confirm(config, place, arguments).await).await
        }
        Command::Pause(arguments) => {
            configured(place, async |config| settings::pause(config, place, arguments).await).await
        }
        Command::Resume(arguments) => {
            configured(place, async |config| settings::resume(config, place, arguments).await).await
        }
        Command::Maintenance(arguments) => {
            configured(place, async |config| settings::maintain(config, place, arguments).await)
                .await
        }
        Command::Adopt(arguments) => {
            configured(place, async |config| adopt::run(config, place, arguments).await).await
        }
        // Faults of the configuration are among what it finds.
        Command::Check(arguments) => check::run(place, arguments).await,
    }
}

/// Does the work with the configuration, or says what is wrong with it.
async fn configured(
    place: &Place,
    work: impl AsyncFnOnce(&Config) -> Result<Exit>,
) -> Result<Exit> {
    match configuration::load(&place.config) {
        Ok(config) => work(&config).await,
        Err(error) => {
            let exit = error.exit();
            output::complain(&format!("{:#}", anyhow::Error::new(error)));
            Ok(exit)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
