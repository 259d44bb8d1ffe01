//! One seed: a cluster drawn by chance, faults for some minutes, everything healed, and what must then be true.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use headship_core::say::Kind;

use super::clock::micros;
use super::fence::Count;
use super::host::HostId;
use super::reached::Reached;
use super::setup::{Broken, Fencing, Setup};
use super::world::World;

/// How long a healed cluster may take to have one active with all services: longer than a restart budget's window, after
/// which a service that was given up is tried again.
const SETTLE: Duration = Duration::from_secs(1300);

const MORE_THAN_ENOUGH: Duration = Duration::from_secs(5);

/// How long a cluster runs before the first fault, how long faults last, and how long people are at work after them, and starts and stops
/// that began before the healing have not reached their limits. One seed in eight is long: what needs minutes is rarer than what needs
/// the right moment.
struct Length {
    before: Duration,
    trouble: Duration,
    work: Duration,
}

const LONG: Length = Length {
    before: Duration::from_secs(40),
    trouble: Duration::from_secs(240),
    work: Duration::from_secs(100),
};

const SHORT: Length = Length {
    before: Duration::from_secs(15),
    trouble: Duration::from_secs(90),
    work: Duration::from_secs(90),
};

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The seed.
    pub seed: u64,
    /// Which rule was violated, if one was.
    pub violation: Option<String>,
    /// How long the cluster ran, in its own time.
    pub simulated: Duration,
    /// How often office was taken.
    pub offices: u64,
    /// How often a service was started.
    pub starts: u64,
    /// How often a holder was doubted and fenced; nothing where no fence method is configured.
    pub fencing: Option<Count>,
    /// How long the healed cluster took to settle.
    pub settled_after: Duration,
    /// Which kinds of lines the daemons have said.
    pub said: BTreeSet<Kind>,
    /// Which transitions and refusals there were.
    pub reached: Reached,
    /// How many faults were planned, those that were left out among them.
    pub faults: u32,
    /// The log.
    pub log: String,
}

/// The cluster that a seed draws.
fn draw(seed: u64, detailed: bool, broken: Broken) -> Setup {
    let mut rng = Rng::with_seed(seed ^ 0x5eed);
    let drift = broken.drift_ppm;
    let preset = match rng.u32(0..20) {
        0..14 => "normal",
        14..17 => "fast",
        _ => "tolerant",
    };
    // Drawn apart from all else, so that the rest of a seed is as it would be without.
    let follow = Rng::with_seed(seed ^ 0xf0110).u32(0..4) == 0;
    Setup {
        seed,
        headnodes: if rng.u32(0..20) < 3 { 3 } else { 2 },
        follow,
        workers: if follow { Rng::with_seed(seed ^ 0x30c3).usize(1..=3) } else { 0 },
        another_life: Rng::with_seed(seed ^ 0x11fe).u32(0..5) == 0,
        rare: Rng::with_seed(seed ^ 0x4a4e_5eed).u32(0..4) == 0,
        fencing: match Rng::with_seed(seed ^ 0xfe7ce).u32(0..8) {
            0 | 1 => Fencing::Agent,
            2 => Fencing::AgentAndSsh,
            3 => Fencing::Ssh,
            _ => Fencing::No,
        },
        preset,
        calm: false,
        detailed,
        // Two clocks drift apart by up to one per cent.
        drift_ppm: match drift {
            0 => (0..3).map(|_| rng.i64(-4900..=4900)).collect(),
            drift => vec![-drift, drift, 0],
        },
        lost_hints: if rng.bool() { 0.0 } else { 0.02 },
        extra_timeouts: 0.05,
        broken,
        left_out: BTreeSet::new(),
    }
}

/// Runs a seed; with a rule dropped only its faults, not its healing. The same seed gives the same log; `detailed` only adds lines to it.
pub fn run(seed: u64, detailed: bool, broken: Broken) -> Verdict {
    run_setup(draw(seed, detailed, broken))
}

/// The same without some of its faults.
pub(super) fn run_without(seed: u64, broken: Broken, left_out: BTreeSet<u32>) -> Verdict {
    run_setup(Setup { left_out, ..draw(seed, false, broken) })
}

fn run_setup(setup: Setup) -> Verdict {
    let seed = setup.seed;
    let mut world = World::new(setup);
    let long = Rng::with_seed(seed ^ 0x1e46).u32(0..8) == 0;
    let length = if long { LONG } else { SHORT };
    let start = world.between(2_000_000, micros(length.before));
    world.run_until(start);
    let trouble = world.between(20_000_000, micros(length.trouble));
    let pause = world.between(800_000, 15_000_000);
    let end = start + trouble;
    let faults = world.plan_faults(end, pause);
    if world.setup.another_life {
        world.plan_another_life(trouble);
    }
    if world.setup.rare {
        world.plan_rare(trouble);
    }
    world.run_until(end);
    let mut settled_after = Duration::ZERO;
    if world.setup.broken == Broken::default() {
        world.heal_all();
        // Who adopts another life of the cluster takes longer.
        let work = if world.lives > 0 { LONG.work } else { length.work };
        settled_after = settle(&mut world, work);
        let quiet = quiet(&world, long);
        stay_quiet(&mut world, quiet);
    }
    Verdict {
        seed,
        violation: world.violated().map(str::to_owned),
        simulated: world.now(),
        offices: world.checker.offices,
        starts: world.checker.starts,
        fencing: (world.setup.fencing != Fencing::No).then_some(world.device.count),
        settled_after,
        said: world.checker.said.clone(),
        reached: world.reached().clone(),
        faults,
        log: world.log(3),
    }
}

/// Liveness: in the end exactly one headnode is active, with all services, and the others stand by.
fn settle(world: &mut World, work: Duration) -> Duration {
    let healed = world.now();
    let last_end = healed + work;
    loop {
        let next = world.now() + Duration::from_secs(5);
        world.run_until(next);
        let why = world.unsettled();
        if world.violated().is_some() || why.is_none() && world.now() >= last_end {
            return world.now() - healed;
        }
        if let Some(why) = why.filter(|_| world.now() >= healed + SETTLE) {
            world.violation(format!("it does not settle: {why}"));
        }
    }
}

/// How long it must then stay as it is: who renews no more has lost its office by then, and in a long seed who waits to be the only
/// one has come forward.
fn quiet(world: &World, long: bool) -> Duration {
    let timing = world.config_for(HostId(0)).timing;
    let quiet = timing.wait() + MORE_THAN_ENOUGH;
    if long { quiet + timing.lonely_after } else { quiet }
}

/// And it stays so: nothing is started, nobody takes office, nothing is ordered to and fro.
fn stay_quiet(world: &mut World, quiet: Duration) {
    if world.violated().is_some() {
        return;
    }
    let before = (world.checker.offices, world.checker.starts);
    let end = world.now() + quiet;
    world.run_until(end);
    let after = (world.checker.offices, world.checker.starts);
    if before != after {
        let text = format!("it is not quiet: offices and starts went from {before:?} to {after:?}");
        world.violation(text);
    }
    if let Some(why) = world.unsettled() {
        world.violation(format!("it did not stay settled: {why}"));
    }
}

/// The first election of a cluster of two or three headnodes: who won it, and how many claims were refused because another was
/// faster; or what was not as it should be: exactly one office of epoch 1, and services on its host only. In three of four all
/// are up, and race from the moment at which the operator resumes; in the others from their boot.
///
/// # Errors
///
/// What was not as it should be, with the log.
pub fn first_election(seed: u64) -> Result<(String, u64), String> {
    let mut rng = Rng::with_seed(seed ^ 0xe1ec);
    let mut setup = draw(seed, false, Broken::default());
    setup.headnodes = if rng.bool() { 2 } else { 3 };
    let mut world = World::new(setup);
    if rng.u32(0..4) > 0 {
        world.begin_paused();
        world.run_until(Duration::from_secs(12));
        world.command("resume").map_err(|why| format!("seed {seed}: {why}"))?;
    }
    let mut end = world.now() + Duration::from_secs(10);
    world.run_until(end);
    // Some more for whoever was slow: a lost hint, or a lost reading.
    while world.winner().is_none() && end < Duration::from_secs(90) {
        end += Duration::from_secs(5);
        world.run_until(end);
    }
    let told = |why: String, world: &World| format!("{}seed {seed}: {why}", world.log(3));
    if let Some(violation) = world.violated() {
        return Err(told(violation.to_owned(), &world));
    }
    if world.checker.offices != 1 {
        return Err(told(format!("{} offices were taken", world.checker.offices), &world));
    }
    let winner =
        world.winner().ok_or_else(|| told("nobody serves alone in epoch 1".to_owned(), &world))?;
    Ok((winner, world.checker.beaten))
}
