//! Writes what a shell must know to complete `headship`: the packages are built with it, and do not hold it.
#![expect(clippy::print_stderr, reason = "a command line program")]

#[path = "../args.rs"]
mod args;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;

/// Writes completions of `headship` to standard output.
#[derive(Debug, Parser)]
#[command(name = "headship-completions", version)]
struct Arguments {
    /// For which shell
    shell: Shell,
}

fn main() -> ExitCode {
    let mut text = Vec::new();
    let mut command = args::Arguments::command();
    clap_complete::generate(Arguments::parse().shell, &mut command, "headship", &mut text);
    match std::io::Write::write_all(&mut std::io::stdout(), &text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headship-completions: {error}");
            ExitCode::FAILURE
        }
    }
}
