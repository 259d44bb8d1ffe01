//! The start gate: lets an HA service start only under a permit of this boot that is not closed and has not expired.
//!
//! `gate [--run FOLDER] UNIT` is what PID 1 runs right before it executes the unit. It exits with 0, or says why not and
//! exits with a code of its own. `gate --launch FOLDER SERVICE COMMAND…` becomes the command, in a session of its own,
//! where there is no systemd to do that; `--launch-ungated` does so for what is no HA service, such as a node's agent.
//! `gate --pinned HEADNODE UNIT` refuses what belongs on another headnode; `gate --faulty UNIT` says with a refusal that it may
//! be due to the faults of the configuration.
//! `gate [--run FOLDER] --guard-ended` is what PID 1 runs whenever the guard has ended: if it
//! failed, and failed before within lease and kill time while a permit lets services run, the host reboots at once.
//!
//! The rules are in `headship_core::lease`, and which exit codes are final is in `Exit`.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use headship_daemon::Exit;
use headship_drivers::host::gate::{self, REFUSED};
use headship_drivers::host::reboot;
use headship_drivers::host::run::{RUN, RunDir};
use headship_drivers::process::{Gated, LaunchError, launch};

/// Exit code for a command line that nobody understands, and for a command that cannot be executed.
const FAILED: u8 = 1;

/// How long a refusal waits before it is said. `systemctl status` shows only what came after PID 1 noted the start, and PID 1
/// notes it after it has executed us; nobody else waits for a refusal.
const HEARD: Duration = Duration::from_millis(50);

/// What is added to a refusal where nobody can be sure that the unit needs a permit.
const FAULTY: &str = "; the configuration has faults, so even what is pinned needs a permit until they are mended: see `headship check`";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--launch", run, service, command @ ..] => {
            become_command(run, service, command, Gated::Yes)
        }
        ["--launch-ungated", run, service, command @ ..] => {
            become_command(run, service, command, Gated::No)
        }
        ["--guard-ended"] => guard_ended(Path::new(RUN)),
        ["--run", run, "--guard-ended"] => guard_ended(Path::new(run)),
        ["--pinned", headnode, unit] => {
            refuse(unit, &format!("it is pinned to {headnode}, and runs nowhere else"))
        }
        ["--faulty", unit] => check(Path::new(RUN), unit, FAULTY),
        ["--run", run, "--faulty", unit] => check(Path::new(run), unit, FAULTY),
        ["--run", run, unit] => check(Path::new(run), unit, ""),
        [unit] if !unit.starts_with('-') => check(Path::new(RUN), unit, ""),
        _ => {
            say(io::stderr(), "gate: give the unit, as in `gate livy.service`");
            ExitCode::from(FAILED)
        }
    }
}

fn check(run: &Path, unit: &str, doubt: &str) -> ExitCode {
    match gate::check(&RunDir::new(run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refused) => refuse(unit, &format!("{refused}{doubt}")),
    }
}

fn refuse(unit: &str, why: &str) -> ExitCode {
    std::thread::sleep(HEARD);
    say(io::stderr(), &format!("{unit}: {why}"));
    ExitCode::from(REFUSED)
}

fn guard_ended(run: &Path) -> ExitCode {
    // systemd's word for how it ended; an ordered stop is no failure.
    if std::env::var("SERVICE_RESULT").is_ok_and(|result| result == "success") || was_final() {
        return ExitCode::SUCCESS;
    }
    let run = RunDir::new(run);
    match gate::guard_failed(&run) {
        Ok(false) => return ExitCode::SUCCESS,
        Ok(true) => {
            say(io::stderr(), "the guard failed again while HA services may run here: rebooting");
            // Returns only if it must not, or cannot.
            let Err(error) = reboot::immediately(&run);
            say(io::stderr(), &format!("cannot reboot: {error}"));
        }
        Err(error) => say(io::stderr(), &format!("the guard's failure is not noted: {error}")),
    }
    ExitCode::from(FAILED)
}

/// Whether the guard ended for a reason that stays until somebody mends it, such as a faulty configuration. Started again, it
/// would end again, and a reboot would mend nothing.
fn was_final() -> bool {
    let exited = std::env::var("EXIT_CODE").is_ok_and(|code| code == "exited");
    let status = std::env::var("EXIT_STATUS").ok().and_then(|status| status.parse().ok());
    exited && status.is_some_and(|status: u8| Exit::FINAL.iter().any(|exit| exit.code() == status))
}

/// Returns only if the command was not executed: the driver then reads the reason from our standard output.
fn become_command(run: &str, service: &str, command: &[&str], gated: Gated) -> ExitCode {
    let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
    let error = launch(&RunDir::new(run), service, &command, gated);
    say(io::stdout(), &format!("{service}: {error}"));
    ExitCode::from(match error {
        LaunchError::Refused(_) => REFUSED,
        LaunchError::Busy | LaunchError::File(_) | LaunchError::Kernel { .. } => FAILED,
    })
}

/// If nobody reads it, the exit code still tells.
fn say(mut to: impl Write, sentence: &str) {
    drop(writeln!(to, "{sentence}"));
}
