//! The fence command: one run of the operator's program.

use std::time::Duration;

use headship_core::fencing::{Answer, Victim, command};

use super::program;
use super::run::{Job, Runner};

/// Asks the command about a victim.
pub(super) async fn ask(
    runner: &Runner,
    command: &[String],
    victim: &Victim,
    address: &str,
    limit: Duration,
) -> Answer {
    if let Some(why) = victim.unfit() {
        return Answer::Unknown { why };
    }
    if let Some(why) = program::unfit(command.first().map_or("", String::as_str)) {
        return Answer::Unknown { why: format!("it {why}") };
    }
    let environment = command::environment(victim, address, limit);
    let job = Job { command, environment, input: String::new(), hidden: Vec::new() };
    command::answer(&runner.run(job, limit).await.0)
}
