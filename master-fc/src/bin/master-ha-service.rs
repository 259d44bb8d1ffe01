//! master-ha-service: keeps the HA services running on the active headnode.

use clap::Parser;
use headship_daemon::Exit;
use headship_daemon::arguments::Arguments;
use headship_daemon::start;
use headship_master_fc::duty;

/// Keeps the HA services running on the active headnode.
#[derive(Debug, Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> Exit {
    start::end(duty::NAME, duty::main(&Command::parse().arguments))
}
