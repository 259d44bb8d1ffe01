//! `bench`: measures the suite in a lab of its own and prints a table of medians. See `headship_tests::bench`.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a command line program")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use headship_tests::bench;
use headship_tests::lab::{DEFAULT_DIR, Options, Preset};

/// Times and sizes of the suite, measured in a lab that it brings up and ends. Leave the machine alone meanwhile.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often each time is measured.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// With which timing, one lab after the other.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Preset::Fast, Preset::Normal])]
    preset: Vec<Preset>,
    /// State directory of the lab.
    #[arg(long, default_value_os_t = PathBuf::from(format!("{DEFAULT_DIR}-bench")))]
    dir: PathBuf,
    /// Number of the lab: labs that are up together need different ones.
    #[arg(long, default_value_t = 4)]
    number: u8,
    /// Where the programs to measure were built, if not beside this one.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Arguments { runs, preset, dir, number, programs } = Arguments::parse();
    let mut options = Options { dir, number, ..Options::for_people() };
    if let Some(programs) = programs {
        options.sources.programs = programs;
    }
    match bench::measure(&options, &preset, runs, &mut |line| eprintln!("bench: {line}")) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {:#}", anyhow::Error::new(error));
            ExitCode::FAILURE
        }
    }
}
