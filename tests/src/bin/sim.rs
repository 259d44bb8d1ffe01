//! The seeded simulation from the command line: `sim --seeds 0..1000`, or `sim --seed 7 --log` for one with its log.

use std::ops::Range;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use headship_tests::sim::{Broken, run};

/// Runs the simulated cluster.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seeds to run, as `FROM..TO`.
    #[arg(long, value_parser = range, default_value = "0..100")]
    seeds: Range<u64>,
    /// One seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// Print the log.
    #[arg(long)]
    log: bool,
    /// Print everything that happens.
    #[arg(long)]
    detailed: bool,
    /// Go on after a seed that fails.
    #[arg(long)]
    keep_going: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let ends =
        text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    ends.ok_or_else(|| format!("`{text}` is no range: write it as `0..100`"))
}

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seeds = arguments.seed.map_or(arguments.seeds, |seed| seed..seed + 1);
    let began = Instant::now();
    let (mut simulated, mut offices, mut starts, mut failed) = (Duration::ZERO, 0, 0, 0);
    let mut slowest = (Duration::ZERO, 0);
    let count = seeds.end.saturating_sub(seeds.start);
    for seed in seeds {
        let verdict = run(seed, arguments.detailed, Broken::default());
        simulated += verdict.simulated;
        offices += verdict.offices;
        starts += verdict.starts;
        slowest = slowest.max((verdict.settled_after, seed));
        if arguments.log || verdict.violation.is_some() && !arguments.keep_going {
            print!("{}", verdict.log);
        }
        if let Some(violation) = verdict.violation {
            println!("seed {seed}: {violation}");
            failed += 1;
            if !arguments.keep_going {
                return ExitCode::FAILURE;
            }
        }
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let hours = simulated.as_secs_f64() / 3600.0;
    println!(
        "{count} seeds, {failed} failed; {hours:.1} simulated hours in {minutes:.2} minutes ({:.0} hours a minute); \
         {offices} offices, {starts} starts; longest way to settle {:.0} s (seed {})",
        hours / minutes,
        slowest.0.as_secs_f64(),
        slowest.1
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
