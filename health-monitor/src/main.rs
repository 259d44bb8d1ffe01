//! health-monitor: tells whether this headnode may join the election.

use clap::Parser;
use headship_daemon::Exit;
use headship_daemon::arguments::Arguments;
use headship_daemon::start;
use headship_health_monitor::monitor;

/// Tells whether this headnode may join the election, by heartbeats.
#[derive(Debug, Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> Exit {
    start::end(monitor::NAME, monitor::main(&Command::parse().arguments))
}
