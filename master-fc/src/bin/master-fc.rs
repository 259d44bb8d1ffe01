//! master-fc: joins the election on a headnode, holds office, and gives it up.

use clap::Parser;
use headship_daemon::Exit;
use headship_daemon::arguments::Arguments;
use headship_daemon::start;
use headship_master_fc::controller;

/// Joins the election on a headnode, holds office, and gives it up.
#[derive(Debug, Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> Exit {
    start::end(controller::NAME, controller::main(&Command::parse().arguments))
}
