//! slave-ha-service: the guard of every node; HA services run under a permit only.

use clap::Parser;
use headship_daemon::Exit;
use headship_daemon::arguments::Arguments;
use headship_daemon::start;
use headship_slave_fc::guard;

/// Keeps the HA services stopped where no permit covers them, and gives promises.
#[derive(Debug, Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> Exit {
    start::end(guard::NAME, guard::main(&Command::parse().arguments))
}
