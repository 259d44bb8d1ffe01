//! Scenario files: what is done to a calm cluster, and the log that must come of it.
//!
//! Above `----` stand commands, one a line (those of `command`, and `run 30s`), below it the log. A cluster has two
//! headnodes with the preset `normal`, and the log begins when hn0 has been active in epoch 1 for a while. A file may begin
//! otherwise: `cluster fast`, `cluster tolerant`, `cluster of 3`, `cluster that follows` (hosts file and agent), `cluster
//! with workers` (two nodes that follow beside headnodes that do), `cluster with a fence agent`, `cluster with two fence
//! methods` (the agent, then ssh), `cluster that fences over ssh`, `cluster from nothing`.

use std::time::Duration;

use super::command::seconds;
use super::reached::Reached;
use super::setup::{Broken, Fencing, Setup};
use super::world::World;

/// The line between commands and log.
const BORDER: &str = "----\n";

/// When the log begins, unless from nothing: everything is quiet by then.
const BEGIN: Duration = Duration::from_secs(10);

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct Played {
    /// The whole text as it should be.
    pub text: String,
    /// Which transitions and refusals there were, from the beginning of its cluster.
    pub reached: Reached,
}

/// Runs the commands of a scenario.
///
/// # Errors
///
/// The command that is none, or the rule that was violated.
pub fn play(text: &str) -> Result<Played, String> {
    play_without(text, &Broken::default())
}

/// The same with rules dropped.
///
/// # Errors
///
/// The command that is none, or the rule that was violated.
pub fn play_without(text: &str, broken: &Broken) -> Result<Played, String> {
    let script = text.split_once(BORDER).map_or(text, |(script, _)| script);
    let lines = || script.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let (mut setup, mut from_nothing) = (Setup { broken: broken.clone(), ..Setup::calm() }, false);
    for line in lines().filter(|line| line.starts_with("cluster ")) {
        match line {
            "cluster fast" => setup.preset = "fast",
            "cluster tolerant" => setup.preset = "tolerant",
            "cluster of 3" => setup.headnodes = 3,
            "cluster that follows" => setup.follow = true,
            "cluster with workers" => (setup.follow, setup.workers) = (true, 2),
            "cluster with a fence agent" => setup.fencing = Fencing::Agent,
            "cluster with two fence methods" => setup.fencing = Fencing::AgentAndSsh,
            "cluster that fences over ssh" => setup.fencing = Fencing::Ssh,
            "cluster from nothing" => from_nothing = true,
            _ => return Err(format!("`{line}`: no such cluster")),
        }
    }
    let mut world = World::new(setup);
    if !from_nothing {
        world.run_until(BEGIN);
        world.begin_log_anew();
    }
    for line in lines().filter(|line| !line.starts_with("cluster ")) {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["run", span] => {
                let end = world.now() + seconds(span)?;
                world.run_until(end);
            }
            _ => world.command(line).map_err(|why| format!("`{line}`: {why}"))?,
        }
    }
    if let Some(violation) = world.violated() {
        return Err(format!("{violation}\n{}", world.log(1)));
    }
    let text = format!("{}\n{BORDER}{}", script.trim_end_matches('\n'), world.log(1));
    Ok(Played { text, reached: world.reached().clone() })
}
