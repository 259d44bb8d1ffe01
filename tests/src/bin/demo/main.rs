//! `demo`: shows a failover and a switchover to whoever watches, and leaves the cluster up to look around in.
//!
//! It plays on the lab; where this machine grants none, on plain processes. What it shows is what `headship` prints, what the
//! daemons log, and what the HA services tell of themselves; it has no words of its own for what happens.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

mod news;
mod stage;
mod story;

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Parser;
use headship_tests::lab::{self, DEFAULT_DIR, Host, Lab, Options, Preset};
use headship_tests::plain::Plain;

use crate::stage::Stage;

/// Two headnodes and a ZooKeeper ensemble on this machine: one loses its power, and the services go on.
#[derive(Debug, Parser)]
struct Arguments {
    /// State directory of the lab.
    #[arg(long, default_value = DEFAULT_DIR, env = "HEADSHIP_LAB_DIR")]
    dir: PathBuf,
    /// Number of the lab: labs that are up together need different ones.
    #[arg(long, default_value_t = 0)]
    number: u8,
    /// End a lab that is up already, and start anew.
    #[arg(long, conflicts_with = "as_it_is")]
    anew: bool,
    /// Play in the lab that is up already.
    #[arg(long)]
    as_it_is: bool,
    /// Play on plain processes even if this machine can run the lab.
    #[arg(long)]
    plain: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match play(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(arguments: &Arguments) -> anyhow::Result<()> {
    let plain = "the demonstration plays on plain processes on loopback addresses, and the end of all of them at once stands in for a loss of power";
    let stage = match lab::available() {
        Ok(()) if arguments.plain => {
            println!("demo: as you asked, {plain}");
            plain_stage()?
        }
        Ok(()) => Stage::Lab(lab(arguments)?),
        Err(reason) => {
            println!("demo: this machine cannot run the lab ({reason}), so {plain}");
            plain_stage()?
        }
    };
    if let Err(error) = story::tell(&stage) {
        eprintln!("\n{}", stage.where_to_look());
        return Err(error);
    }
    let ends_with_us = matches!(stage, Stage::Plain(_));
    if ends_with_us && !std::io::stdin().is_terminal() {
        println!("Nobody is there to look around in it: the cluster ends with this program.");
        return Ok(());
    }
    println!("\n{}", stage.look_around());
    if ends_with_us {
        println!("Press Enter to end it.");
        std::io::stdin().lock().read_line(&mut String::new())?;
    }
    Ok(())
}

fn plain_stage() -> anyhow::Result<Stage> {
    println!("demo: starting three ZooKeeper servers and the daemons of hn0 and hn1");
    let programs = Options::for_people().sources.programs;
    Ok(Stage::Plain(Plain::start(&programs, Preset::Normal)?))
}

fn lab(arguments: &Arguments) -> anyhow::Result<Lab> {
    let options =
        Options { dir: arguments.dir.clone(), number: arguments.number, ..Options::for_people() };
    let up = Lab::attach(&options.dir).ok().filter(|lab| lab.hosts().iter().any(Host::has_power));
    if let Some(lab) = up {
        if goes_on_in_it(arguments)? {
            lab.repair()?;
            return Ok(lab);
        }
        lab.down()?;
    }
    Ok(Lab::up(&options, &mut |line| println!("demo: {line}"))?)
}

/// Whether the lab that is up already is played in, or else ended; asks where neither was said.
fn goes_on_in_it(arguments: &Arguments) -> anyhow::Result<bool> {
    if arguments.anew || arguments.as_it_is {
        return Ok(arguments.as_it_is);
    }
    println!("demo: a lab is up already in {}", arguments.dir.display());
    if !std::io::stdin().is_terminal() {
        bail!(
            "say `make demo DEMO=--as-it-is` to play in it, or `make demo DEMO=--anew` to end it first"
        );
    }
    println!("Play in it as it is (p), end it and start anew (a), or leave it alone (Enter)?");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "p" => Ok(true),
        "a" => Ok(false),
        _ => bail!("the lab was left alone"),
    }
}
