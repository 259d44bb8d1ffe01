//! slave-fc: makes its node follow the active, hosts file first and agent second.

use clap::Parser;
use headship_daemon::Exit;
use headship_daemon::arguments::Arguments;
use headship_daemon::start;
use headship_slave_fc::follow;

/// Keeps the alias of the active headnode in this node's hosts file, and restarts the node's agent when it moves.
#[derive(Debug, Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> Exit {
    start::end(follow::NAME, follow::main(&Command::parse().arguments))
}
