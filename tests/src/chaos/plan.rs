//! Which faults come when: a pure function of the seed, so that a schedule comes again.
//!
//! Kinds are dealt like cards: each comes up in a round before any comes again more often than its weight, so that a short
//! run sees many kinds, too. Whom a fault hits is drawn as a role, which is looked up when its burst begins.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use fastrand::Rng;

use crate::lab::Preset;

use super::bound::Timing;
use super::kind::{Hits, Kind, Lasts, Tells, span};

/// The HA services of the lab that a fault may hit.
const SERVICES: [&str; 4] = ["ambari-server", "timeline-server", "job-history", "livy"];

/// How long after its burst's first fault another one may begin, in milliseconds.
const SPREAD_MS: u64 = 6_000;

/// A host by what it is when a burst begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    /// The active headnode.
    Active,
    /// The other headnode.
    Standby,
    /// The host of the ensemble's leader.
    Leader,
    /// The host of a follower.
    Follower,
    /// The host of the other follower.
    OtherFollower,
}

impl Machine {
    /// Those of the ensemble.
    pub(super) const SERVERS: [Self; 3] = [Self::Leader, Self::Follower, Self::OtherFollower];

    const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Standby => "standby",
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::OtherFollower => "other follower",
        }
    }
}

/// A daemon of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Daemon {
    /// master-fc.
    MasterFc,
    /// slave-ha-service.
    Guard,
    /// master-ha-service, which runs on the active headnode only.
    Duty,
    /// health-monitor.
    Monitor,
    /// slave-fc.
    Follower,
}

impl Daemon {
    /// All daemons of an active headnode.
    pub(super) const ALL: [Self; 5] =
        [Self::MasterFc, Self::Guard, Self::Duty, Self::Monitor, Self::Follower];

    /// The daemons that a headnode runs: master-ha-service only where it is active.
    pub(super) const fn of(at: Machine) -> &'static [Self] {
        match at {
            Machine::Active => &Self::ALL,
            Machine::Standby | Machine::Leader | Machine::Follower | Machine::OtherFollower => {
                &[Self::MasterFc, Self::Guard, Self::Monitor, Self::Follower]
            }
        }
    }

    /// Its unit.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::MasterFc => "master-fc.service",
            Self::Guard => "slave-ha-service.service",
            Self::Duty => "master-ha-service.service",
            Self::Monitor => "health-monitor.service",
            Self::Follower => "slave-fc.service",
        }
    }
}

/// One fault with its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Of which kind.
    pub kind: Kind,
    /// Which host it hits.
    pub at: Machine,
    /// The daemons that it hits, where it hits daemons: the first, or both.
    pub daemons: (Daemon, Daemon),
    /// The service that it hits, where it hits one.
    pub service: &'static str,
    /// How much is lost, in percent, or what still arrives, in kilobits a second.
    pub figure: u8,
    /// When it begins, from the beginning of its burst.
    pub begins: Duration,
    /// When it ends.
    pub ends: Duration,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at the {}", self.kind.name(), self.at.word())?;
        match self.kind.traits().3 {
            Tells::Host => {}
            Tells::Daemon => write!(f, ", {}", self.daemons.0.unit())?,
            Tells::TwoDaemons => {
                write!(f, ", {} and {}", self.daemons.0.unit(), self.daemons.1.unit())?;
            }
            Tells::Service => write!(f, ", {}", self.service)?,
            Tells::Figure if self.kind == Kind::Loss => write!(f, ", {} %", self.figure)?,
            Tells::Figure => write!(f, ", {} kbit/s", self.figure)?,
        }
        let (begins, ends) = (self.begins.as_secs_f32(), self.ends.as_secs_f32());
        write!(f, ", {begins:.1} s to {ends:.1} s")
    }
}

/// Faults that begin within some seconds of each other; when all have ended, the cluster must come back in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    /// In the order in which they begin.
    pub faults: Vec<Fault>,
}

/// All bursts of a seed, one after the other, without an end.
#[derive(Clone, Debug)]
pub struct Plan {
    rng: Rng,
    preset: Preset,
    timing: Timing,
    /// The kinds that are dealt, each as often as it weighs.
    deck: Vec<Kind>,
    /// What of the deck was not dealt yet.
    left: VecDeque<Kind>,
    /// One fault a burst, at the active, and for long.
    alone: bool,
}

impl Plan {
    /// Of all kinds that fit the preset, and a fence agent or none.
    #[must_use]
    pub fn new(seed: u64, preset: Preset, fence: bool) -> Self {
        let kinds = Kind::all().iter().filter(|kind| kind.misfit(preset, fence).is_none());
        let deck = kinds.flat_map(|kind| std::iter::repeat_n(*kind, kind.traits().0)).collect();
        let (timing, left) = (Timing::of(preset), VecDeque::new());
        Self { rng: Rng::with_seed(seed), preset, timing, deck, left, alone: false }
    }

    /// Of these kinds alone, one fault a burst, at the active where it hits headnodes, and until somebody has surely taken
    /// over.
    ///
    /// # Errors
    /// The first kind that does not fit, and why.
    pub fn only(
        seed: u64,
        preset: Preset,
        fence: bool,
        kinds: &[Kind],
    ) -> Result<Self, (Kind, &'static str)> {
        let mut misfits =
            kinds.iter().filter_map(|kind| Some((*kind, kind.misfit(preset, fence)?)));
        match misfits.next() {
            Some(misfit) => Err(misfit),
            None => {
                Ok(Self { deck: kinds.to_vec(), alone: true, ..Self::new(seed, preset, fence) })
            }
        }
    }

    fn deal(&mut self) -> Option<Kind> {
        if self.left.is_empty() {
            let mut deck = self.deck.clone();
            self.rng.shuffle(&mut deck);
            self.left.extend(deck);
        }
        self.left.pop_front()
    }

    fn burst(&mut self) -> Burst {
        let many = match self.rng.u32(0..100) {
            _ if self.alone => 1,
            ..35 => 1,
            35..65 => 2,
            65..85 => 3,
            _ => 4,
        };
        let mut faults: Vec<Fault> = Vec::new();
        let mut put_back = Vec::new();
        // What cannot come beside the others comes first next time.
        while faults.len() < many && put_back.len() < self.deck.len() {
            let Some(kind) = self.deal() else { break };
            let fault = self.fault(kind, faults.is_empty());
            if faults.iter().any(|other| other.clashes_with(&fault, self.preset)) {
                put_back.push(kind);
            } else {
                faults.push(fault);
            }
        }
        for kind in put_back.into_iter().rev() {
            self.left.push_front(kind);
        }
        faults.sort_by_key(|fault| fault.begins);
        Burst { faults }
    }

    fn fault(&mut self, kind: Kind, first: bool) -> Fault {
        let at = self.machine(kind.traits().2);
        let daemons = self.daemons(at);
        let service = self.rng.choice(SERVICES).unwrap_or("livy");
        let figure = self.rng.u8(10..60);
        let lasts = match kind.traits().1 {
            Lasts::Any if self.alone => Lasts::Long,
            lasts @ (Lasts::Any | Lasts::Moment | Lasts::Short | Lasts::Long) => lasts,
        };
        let reach = self.rng.u8(0..3);
        let (shortest, longest) = span(lasts, reach, self.timing);
        let begins = if first { 0 } else { self.rng.u64(0..SPREAD_MS) };
        let ends = begins + self.rng.u64(shortest..=longest);
        let [begins, ends] = [begins, ends].map(Duration::from_millis);
        Fault { kind, at, daemons, service, figure, begins, ends }
    }

    fn machine(&mut self, hits: Hits) -> Machine {
        let servers = [Machine::Leader, Machine::Follower, Machine::OtherFollower];
        let (dice, server) = (self.rng.u32(0..10), self.rng.choice(servers));
        let headnode = if dice < 7 || self.alone { Machine::Active } else { Machine::Standby };
        match hits {
            Hits::Active => Machine::Active,
            Hits::Standby => Machine::Standby,
            Hits::Headnode => headnode,
            Hits::Leader => Machine::Leader,
            Hits::Follower if dice < 5 => Machine::Follower,
            Hits::Follower => Machine::OtherFollower,
            Hits::Machine if dice % 2 == 0 => server.unwrap_or(Machine::Leader),
            Hits::Machine => headnode,
        }
    }

    /// Two different daemons that run on the host.
    fn daemons(&mut self, at: Machine) -> (Daemon, Daemon) {
        let mut daemons = Daemon::of(at).to_vec();
        self.rng.shuffle(&mut daemons);
        let both = [Daemon::MasterFc, Daemon::Guard];
        if self.preset == Preset::Fast && daemons.iter().take(2).all(|one| both.contains(one)) {
            // With this preset never both at once.
            daemons.rotate_left(1);
        }
        match daemons.as_slice() {
            [first, second, ..] => (*first, *second),
            [] | [_] => both.into(),
        }
    }
}

impl Iterator for Plan {
    type Item = Burst;

    fn next(&mut self) -> Option<Burst> {
        (!self.deck.is_empty()).then(|| self.burst())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::step::Step;
    use super::*;

    const PRESETS: [Preset; 3] = [Preset::Fast, Preset::Normal, Preset::Tolerant];

    fn bursts(seed: u64, preset: Preset, count: usize) -> Vec<Burst> {
        Plan::new(seed, preset, true).take(count).collect()
    }

    /// All faults of many bursts of several seeds.
    fn many(preset: Preset) -> Vec<Burst> {
        (0..20).flat_map(|seed| bursts(seed, preset, 100)).collect()
    }

    #[test]
    fn a_seed_draws_the_same_faults_again_and_another_one_others() {
        assert_eq!(bursts(7, Preset::Normal, 50), bursts(7, Preset::Normal, 50));
        assert_ne!(bursts(7, Preset::Normal, 50), bursts(8, Preset::Normal, 50));
    }

    #[test]
    fn every_kind_that_fits_comes_up_soon() {
        for preset in PRESETS {
            for seed in 0..20 {
                let bursts = bursts(seed, preset, 60);
                let drawn: BTreeSet<Kind> =
                    bursts.iter().flat_map(|burst| &burst.faults).map(|it| it.kind).collect();
                let all = Kind::all().iter().copied();
                let all = all.filter(|kind| kind.misfit(preset, true).is_none());
                assert_eq!(drawn, all.collect(), "{preset:?}, seed {seed}");
            }
        }
        assert!(Kind::all().iter().all(|kind| kind.misfit(Preset::Normal, true).is_none()));
        let of_agent = [Kind::AgentFails, Kind::AgentHangs, Kind::AgentLies];
        assert!(of_agent.into_iter().all(|kind| kind.misfit(Preset::Normal, false).is_some()));
    }

    #[test]
    fn a_kind_alone_that_does_not_fit_is_refused_with_the_way_out() {
        let refused = |preset, fence, kind| {
            let plan = Plan::only(1, preset, fence, &[Kind::Cut, kind]);
            plan.err().map(|(named, why)| (named == kind, why.to_owned()))
        };
        let (named, why) = refused(Preset::Normal, false, Kind::AgentFails).unwrap();
        assert!(named && why.contains("--fence"), "{why}");
        let (named, why) = refused(Preset::Fast, true, Kind::AllKill).unwrap();
        assert!(named && why.contains("--preset"), "{why}");
        assert_eq!(refused(Preset::Normal, true, Kind::AgentFails), None);
    }

    #[test]
    fn all_daemons_are_those_that_run_where_it_hits() {
        for kind in [Kind::AllKill, Kind::AllStop] {
            let faults = many(Preset::Normal).into_iter().flat_map(|burst| burst.faults);
            for fault in faults.filter(|fault| fault.kind == kind) {
                let count = if fault.at == Machine::Active { 5 } else { 4 };
                assert_eq!(fault.steps().len(), count, "{fault}");
            }
        }
    }

    #[test]
    fn bursts_have_one_to_four_faults_in_the_order_of_their_beginnings() {
        let mut sizes = BTreeSet::new();
        for burst in many(Preset::Normal) {
            sizes.insert(burst.faults.len());
            assert_eq!(burst.faults.first().map(|it| it.begins), Some(Duration::ZERO));
            assert!(burst.faults.is_sorted_by_key(|it| it.begins));
        }
        assert_eq!(sizes, (1..=4).collect());
    }

    #[test]
    fn what_lasts_is_ended_and_ends_are_final() {
        for burst in many(Preset::Normal) {
            for fault in burst.faults {
                let ends: Vec<Step> = fault.steps().into_iter().filter_map(Step::undo).collect();
                // What is killed again and again is back when nobody kills it any more.
                let ended = !ends.is_empty() || fault.kind == Kind::DaemonGone;
                assert_eq!(fault.ends > fault.begins, ended, "{fault}");
                assert_eq!(ends.into_iter().filter_map(Step::undo).collect::<Vec<_>>(), []);
                assert!(!fault.steps().is_empty(), "{fault}");
            }
        }
    }

    #[test]
    fn some_faults_are_shorter_than_the_lease_and_some_outlast_a_failover() {
        let timing = Timing::of(Preset::Normal);
        let spans: Vec<Duration> = many(Preset::Normal)
            .into_iter()
            .flat_map(|burst| burst.faults)
            .filter(|fault| fault.kind == Kind::Cut)
            .map(|fault| fault.ends - fault.begins)
            .collect();
        let longest = (timing.lease + timing.kill) * 9 / 4;
        assert!(spans.iter().any(|span| *span < timing.lease / 2));
        assert!(spans.iter().any(|span| *span > timing.lease + timing.kill));
        assert!(spans.iter().all(|span| *span <= longest));
    }

    /// Guard and master-fc of a host, as far as a fault takes them away.
    fn taken(fault: &Fault) -> BTreeSet<Daemon> {
        let first = fault.daemons.0;
        let daemons = match fault.kind.traits().3 {
            Tells::Daemon => vec![first],
            Tells::TwoDaemons => vec![first, fault.daemons.1],
            Tells::Host if matches!(fault.kind, Kind::AllKill | Kind::AllStop) => {
                Daemon::ALL.to_vec()
            }
            Tells::Host | Tells::Service | Tells::Figure => Vec::new(),
        };
        let stops = |daemon: &Daemon| matches!(daemon, Daemon::MasterFc | Daemon::Guard);
        daemons.into_iter().filter(stops).collect()
    }

    #[test]
    fn nothing_is_drawn_that_the_protocol_does_not_cover() {
        for preset in PRESETS {
            for burst in many(preset) {
                for at in [Machine::Active, Machine::Standby] {
                    let here = || burst.faults.iter().filter(|fault| fault.at == at);
                    let taken: Vec<Daemon> = here().flat_map(taken).collect();
                    let stands = |fault: &&Fault| {
                        let froze = [Kind::FreezeBelow, Kind::FreezeBeyond, Kind::FreezeLost];
                        let bare = [Kind::Pid1Stop, Kind::ServiceUnkillable, Kind::MountHangs];
                        froze.contains(&fault.kind) || bare.contains(&fault.kind)
                    };
                    let standing = here().filter(stands).count();
                    assert!(standing == 0 || standing == 1 && taken.is_empty(), "{burst:?}");
                    assert!(preset != Preset::Fast || taken.len() <= 1, "{burst:?}");
                }
            }
        }
    }

    #[test]
    fn an_agent_lies_only_where_nothing_else_happens() {
        let lies = |burst: &&Burst| burst.faults.iter().any(|it| it.kind == Kind::AgentLies);
        let bursts = many(Preset::Normal);
        assert!(bursts.iter().any(|burst| lies(&burst)));
        assert!(bursts.iter().filter(lies).all(|burst| burst.faults.len() == 1));
    }

    #[test]
    fn a_kind_alone_hits_the_active_until_somebody_has_taken_over() {
        let kinds = [Kind::Cut, Kind::PowerLoss];
        let timing = Timing::of(Preset::Normal);
        for burst in Plan::only(3, Preset::Normal, false, &kinds).unwrap().take(50) {
            let [fault] = burst.faults.as_slice() else { panic!("{burst:?}") };
            assert!(kinds.contains(&fault.kind) && fault.at == Machine::Active, "{fault}");
            assert!(fault.ends > timing.lease + timing.kill, "{fault}");
        }
    }
}
