//! Fencing over ssh: tells the host to power off, until it shows another boot or the time is over.

use std::time::Duration;

use headship_core::fencing::{Answer, Next, Victim, ssh};
use tokio::time::{Instant, sleep};

use super::program;
use super::run::{Job, Runner};

/// ssh itself.
pub(super) const SSH: &str = "/usr/bin/ssh";
/// The pause before the next ssh: a host that powers off or comes back does so in seconds.
const AGAIN: Duration = Duration::from_millis(500);
/// How long one ssh may take on a busy host. One that is cut short by the limit would look like a host that is silent.
const ONE: Duration = Duration::from_secs(2);

/// Asks over ssh about a victim.
pub(super) async fn ask(
    runner: &Runner,
    more: &[String],
    victim: &Victim,
    address: &str,
    limit: Duration,
) -> Answer {
    if let Some(why) = victim.unfit() {
        return Answer::Unknown { why };
    }
    if let Some(why) = program::unfit(SSH) {
        return Answer::Unknown { why: format!("ssh {why}") };
    }
    let end = Instant::now() + limit;
    let mut told = false;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut command = vec![SSH.to_owned()];
        command.extend(ssh::arguments(victim, address, more, left));
        let job = Job {
            command: &command,
            environment: Vec::new(),
            input: String::new(),
            hidden: Vec::new(),
        };
        let (run, output) = runner.run(job, left).await;
        let last = end.saturating_duration_since(Instant::now()) <= AGAIN + ONE;
        match ssh::next(victim, &run, &output, &mut told, last) {
            Next::Say(answer) => return answer,
            Next::Again => sleep(AGAIN).await,
        }
    }
}
