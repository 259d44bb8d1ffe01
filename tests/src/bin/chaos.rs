//! `chaos`: faults by chance in a lab of its own, for some minutes. See `headship_tests::chaos`.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a command line program")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Parser;
use headship_tests::chaos::{self, Kind};
use headship_tests::lab::{self, DEFAULT_DIR, Options, Preset};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Random faults on real hosts, several at a time; fails if HA services ever ran on two headnodes, or if the cluster does not
/// come back in order.
#[derive(Debug, Parser)]
struct Arguments {
    /// For how long; ten, if neither this nor `--runs` is given.
    #[arg(long)]
    minutes: Option<f64>,
    /// Seed of the schedule; another one each time if none is given.
    #[arg(long)]
    seed: Option<u64>,
    /// Timing of the ensemble and the suite.
    #[arg(long, value_enum, default_value_t)]
    preset: Preset,
    /// With the lab's fence agent, which takes a headnode's power for real, and is out of order now and then.
    #[arg(long)]
    fence: bool,
    /// These kinds alone, one fault at a time, at the active and until somebody has surely taken over.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KINDS")]
    only: Vec<Kind>,
    /// How many bursts at most.
    #[arg(long)]
    runs: Option<usize>,
    /// Where a folder is made for the log, and for all that is known of a failure.
    #[arg(long, default_value = "target/chaos")]
    out: PathBuf,
    /// State directory of the lab.
    #[arg(long, default_value_os_t = PathBuf::from(format!("{DEFAULT_DIR}-chaos")))]
    dir: PathBuf,
    /// Number of the lab: labs that are up together need different ones.
    #[arg(long, default_value_t = 5)]
    number: u8,
    /// Where this machine cannot run a lab, say so and succeed.
    #[arg(long)]
    or_skip: bool,
    /// Where the programs to test were built, if not beside this one.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(reason) = lab::available()
        && arguments.or_skip
    {
        eprintln!("chaos: skipped, for this machine cannot run the lab: {reason}");
        return ExitCode::SUCCESS;
    }
    let Arguments { preset, fence, only, dir, number, .. } = arguments;
    let mut lab = Options { dir, number, preset, ..Options::for_people() };
    if let Some(programs) = arguments.programs {
        lab.sources.programs = programs;
    }
    // Small enough to be typed.
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(1..1_000_000));
    let folder = chaos::fresh_folder(&arguments.out, seed);
    eprintln!("chaos: seed {seed}, log in {}", folder.display());
    let minutes = arguments.minutes.or_else(|| arguments.runs.is_none().then_some(10.0));
    let options = chaos::Options {
        lab,
        seed,
        lasts: minutes.map_or(Duration::MAX, |it| Duration::from_secs_f64(it * 60.0)),
        runs: arguments.runs.unwrap_or(usize::MAX),
        fence,
        only,
        dir: folder,
        enough: Arc::new(AtomicBool::new(false)),
    };
    for signal in [SIGINT, SIGTERM] {
        // The burst under way ends in order, and the lab after it; a second signal ends at once.
        let enough = &options.enough;
        let armed = flag::register_conditional_shutdown(signal, 130, Arc::clone(enough))
            .and_then(|_| flag::register(signal, Arc::clone(enough)));
        if let Err(error) = armed {
            eprintln!("chaos: a signal will end it at once, and leave the lab up: {error}");
        }
    }
    match chaos::run(&options, &mut |line| eprintln!("chaos: {line}")) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("chaos: {:#}", anyhow::Error::new(error));
            ExitCode::FAILURE
        }
    }
}
