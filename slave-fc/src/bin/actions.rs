//! Performs the actions of services that are started, stopped and looked at by programs that end.
//!
//! `actions run FOLDER RECIPE` starts one and stays for as long as it runs: it is the main process of the service's unit.
//! `actions clear FOLDER RECIPE` stops what a mark of the service stands for, and sees it gone: PID 1 runs it after each end of
//! that unit. `actions kill FOLDER RECIPE` does the same in haste: the guard runs it at D. `actions look FOLDER RECIPE` looks
//! for what nobody is known to have started here.
//! FOLDER is that of the host's contract, RECIPE what `headship_core::actions` makes of the configuration.
//!
//! What the ends of programs mean is decided there, and how marks are kept in `headship_drivers::actions`.

use std::io::{self, Write};
use std::process::ExitCode;

use headship_core::actions::Recipe;
use headship_daemon::notify::Notifier;
use headship_daemon::run::block_on;
use headship_drivers::actions::{self, MarkError, NotRunning};
use headship_drivers::host::gate::REFUSED;
use headship_drivers::host::run::RunDir;
use headship_drivers::systemd::FAILED_WORDS;

/// Exit code for what failed, and for a command line that nobody understands.
const FAILED: u8 = 1;
/// Exit code if another start, stop or look of the service is under way.
const BUSY: u8 = 75;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [verb, folder, recipe] = arguments.as_slice() else {
        return fail(
            "actions: give what to do, a folder and a recipe, as in `actions clear FOLDER RECIPE`",
        );
    };
    let recipe = match Recipe::from_word(recipe) {
        Ok(recipe) => recipe,
        Err(error) => return fail(&format!("actions: the recipe is damaged: {error}")),
    };
    let run_dir = RunDir::new(*folder);
    let ended = block_on(async {
        match *verb {
            "run" => run(&run_dir, &recipe).await,
            "clear" => match actions::clear(&run_dir, &recipe).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(why) => fail(&format!("{}: {why}", recipe.service)),
            },
            "kill" => match actions::kill(&run_dir, &recipe).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(why) => fail(&format!("{}: {why}", recipe.service)),
            },
            "look" => match actions::look(&run_dir, &recipe).await {
                Ok(_) => ExitCode::SUCCESS,
                Err(MarkError::Busy) => ExitCode::from(BUSY),
                Err(error) => fail(&format!("{}: {error}", recipe.service)),
            },
            other => fail(&format!("actions: `{other}` is nothing to do")),
        }
    });
    ended.unwrap_or_else(|error| fail(&format!("actions: {error}")))
}

async fn run(folder: &RunDir, recipe: &Recipe) -> ExitCode {
    let notifier = match Notifier::from_environment() {
        Ok(notifier) => notifier,
        Err(error) => {
            return fail(&format!("{}: systemd is not to be told: {error}", recipe.service));
        }
    };
    let up = || {
        // Who is not heard is waited for in vain, and started anew.
        let told = notifier.status("up") && notifier.ready();
        if !told {
            say(&format!("{}: systemd does not hear that it is up", recipe.service));
        }
    };
    let why = actions::run(folder, recipe, up).await;
    let sentence = format!("{}: {why}", recipe.service);
    match why {
        NotRunning::Stopped => ExitCode::SUCCESS,
        NotRunning::Refused(_) => {
            say(&sentence);
            ExitCode::from(REFUSED)
        }
        NotRunning::Mark(_) | NotRunning::Failed(_) => {
            if !notifier.status(&format!("{FAILED_WORDS}{why}")) {
                say("systemd does not hear why it failed");
            }
            fail(&sentence)
        }
    }
}

fn fail(sentence: &str) -> ExitCode {
    say(sentence);
    ExitCode::from(FAILED)
}

/// If nobody reads it, the exit code still tells.
fn say(sentence: &str) {
    drop(writeln!(io::stderr(), "{sentence}"));
}
