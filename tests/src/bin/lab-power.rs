//! `lab-power DIR NUMBER`: the fence device of a lab. See `headship_tests::lab::power`.

use std::path::PathBuf;

use clap::Parser;
use headship_tests::lab::{Place, power};

/// The lab's power distribution: takes the power of its hosts away, and gives it back, for whoever asks over the lab's
/// network. `lab up` starts it.
#[derive(Debug, Parser)]
struct Arguments {
    /// State directory of the lab.
    dir: PathBuf,
    /// Number of the lab.
    number: u8,
}

fn main() -> anyhow::Result<()> {
    let Arguments { dir, number } = Arguments::parse();
    Ok(power::serve(&Place::new(&dir, number))?)
}
