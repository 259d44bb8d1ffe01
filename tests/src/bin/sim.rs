//! The seeded simulation from the command line: `sim --seeds 0..1000`, `sim --seed 7 --log` for one with its log, or
//! `sim --seed 7 --shrink` for one that fails with as few faults as it takes.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::Parser;
use headship_tests::sim::{Broken, Count, Shrunk, Tally, run, shrink, soak};

/// Runs the simulated cluster.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
struct Arguments {
    /// Seeds to run, as `FROM..TO`, on all processors.
    #[arg(long, value_parser = range, default_value = "0..100")]
    seeds: Range<u64>,
    /// Go on after a seed that fails.
    #[arg(long)]
    keep_going: bool,
    /// One seed only.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Print its log.
    #[arg(long, requires = "seed")]
    log: bool,
    /// Print its log, with everything that happens.
    #[arg(long, requires = "seed")]
    detailed: bool,
    /// Leave out what it does not need to fail, and print the log of that.
    #[arg(long, requires = "seed", conflicts_with = "detailed")]
    shrink: bool,
}

/// After how many seeds a line tells how it goes.
const PROGRESS: u64 = 5000;

fn range(text: &str) -> Result<Range<u64>, String> {
    let ends =
        text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    ends.ok_or_else(|| format!("`{text}` is no range: write it as `0..100`"))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let good = match arguments.seed {
        Some(seed) if arguments.shrink => print_shrunk(seed),
        Some(seed) => print_one(seed, arguments.log, arguments.detailed),
        None => print_many(arguments.seeds, arguments.keep_going),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn print_shrunk(seed: u64) -> bool {
    let Some(Shrunk { faults, of, verdict }) = shrink(seed, &Broken::default()) else {
        println!("seed {seed} does not fail");
        return true;
    };
    print!("{}", verdict.log);
    let violation = verdict.violation.unwrap_or_default();
    println!("seed {seed} with {} of {of} faults ({faults:?}): {violation}", faults.len());
    false
}

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn print_one(seed: u64, log: bool, detailed: bool) -> bool {
    let verdict = run(seed, detailed, Broken::default());
    if log || detailed || verdict.violation.is_some() {
        print!("{}", verdict.log);
    }
    let what = verdict.violation.as_deref().unwrap_or("nothing is violated");
    let simulated = verdict.simulated.as_secs();
    println!("seed {seed}, {} faults in {simulated} simulated seconds: {what}", verdict.faults);
    verdict.violation.is_none()
}

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn print_many(seeds: Range<u64>, keep_going: bool) -> bool {
    let began = Instant::now();
    let told = AtomicUsize::new(0);
    let progress = |tally: &Tally| {
        let untold = told.swap(tally.failed.len(), Ordering::Relaxed);
        for (seed, violation) in tally.failed.iter().skip(untold) {
            println!("seed {seed}: {violation}");
        }
        if tally.seeds.is_multiple_of(PROGRESS) {
            let minutes = began.elapsed().as_secs_f64() / 60.0;
            println!("{} seeds, {} failed, {minutes:.1} minutes", tally.seeds, tally.failed.len());
        }
    };
    let tally = soak(seeds, keep_going, progress);
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let hours = tally.simulated.as_secs_f64() / 3600.0;
    println!(
        "{} seeds, {} failed; {hours:.1} simulated hours in {minutes:.2} minutes ({:.0} seeds and {:.0} hours a minute); \
         {} offices, {} starts; longest way to settle {:.0} s (seed {})",
        tally.seeds,
        tally.failed.len(),
        f64::from(u32::try_from(tally.seeds).unwrap_or(u32::MAX)) / minutes,
        hours / minutes,
        tally.offices,
        tally.starts,
        tally.slowest.0.as_secs_f64(),
        tally.slowest.1
    );
    let Count { answered, asked, cuts } = tally.fencing;
    println!(
        "{} seeds with fence methods: {answered} times a holder that was doubted renewed and was left alone, {asked} times a \
         method was asked, {cuts} times a headnode was switched off; needlessly fenced: {}",
        tally.with_fencing,
        tally.needless()
    );
    println!("said in no seed: {}", tally.unsaid().join(", "));
    println!("{}", tally.reached.report().join("; "));
    tally.failed.is_empty()
}
