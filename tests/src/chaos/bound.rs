//! The least time that a fault must cost, by the configured figures: what nobody could be faster than.
//!
//! It counts from the fault's beginning, for a fault that is alone, and leaves out what services need to start. The standby
//! counts its wait from the last renewal that it read, and so may be ahead of the fault by one renewal that is just not late yet.
//! What must not move services, or moves them in order, costs nothing but their own stops and starts.

use std::time::Duration;

use headship_core::config;
use headship_core::lease;
use headship_core::node::NodeName;

use crate::lab::Preset;

use super::kind::Kind;
use super::plan::{Fault, Machine};

/// The lab's own configuration.
const CONFIGURATION: &str = include_str!("../../lab/headship.toml");

/// How long the restart of a service may take, and of others with it in their order: on idle cores it is some tenths of a second.
const RESTART: Duration = Duration::from_secs(3);

/// The figures of a preset, as the suite in the lab has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long an active may act without a renewal that was acknowledged.
    pub lease: Duration,
    /// How long after that everything must be gone.
    pub kill: Duration,
    /// How long a taker waits from the last renewal that it read.
    wait: Duration,
    /// How long after the last renewal the next one is late.
    late: Duration,
    /// How long after the last sign of a host its lock is there at least.
    lock: Duration,
    /// How long everything of a host must have stood still before it is fenced.
    pub(super) dead_after: Duration,
}

impl Timing {
    /// Those of a preset.
    #[must_use]
    pub fn of(preset: Preset) -> Self {
        let (name, tick) = (preset.name(), preset.tick_ms());
        let own = format!("[failover_quorum]\ntick_ms = {tick}\n[timing]\npreset = \"{name}\"\n");
        let files = [("headship.toml", CONFIGURATION), ("50-timing.toml", &own)];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let node = NodeName::try_from("hn0").expect("it is a short word");
        let config = config::load(&files, node)
            .unwrap_or_else(|faults| unreachable!("the configuration of the lab: {faults}"));
        let timing = &config.timing;
        Self {
            lease: timing.lease,
            kill: timing.kill,
            wait: lease::wait(timing.lease_ms(), timing.kill_ms()),
            late: timing.renew + timing.renew / 4,
            // The ensemble counts from the last touch that its leader heard of, which its followers tell twice a tick.
            lock: timing.session.saturating_sub(Duration::from_millis(tick.into()) / 2),
            dead_after: config.fencing.dead_after,
        }
    }

    /// The lock of a host that fell silent is there until then.
    fn locked(&self) -> Duration {
        self.lock.saturating_sub(self.late)
    }

    /// Nobody has waited out a host that fell silent before that.
    pub(super) fn waited(&self) -> Duration {
        self.wait.saturating_sub(self.late)
    }

    /// No agent is asked about a host that fell silent before that.
    fn fenced(&self) -> Duration {
        self.dead_after.saturating_sub(self.late)
    }

    /// How long nobody may have all services for what has to be over with a restart: less than a takeover by waiting needs.
    fn restart(&self) -> Duration {
        RESTART.min((self.lease + self.kill) / 2)
    }

    /// How long a fence device that lies takes for its three answers: until everything has stopped by itself.
    pub(super) fn lie(&self) -> Duration {
        self.lease + self.kill / 4
    }
}

impl Fault {
    /// The longest outage that it may bring if nothing else happens, where it must not move services, or moves them in order. Nothing
    /// where services may have to be waited for.
    pub(super) fn most(&self, timing: &Timing) -> Option<Duration> {
        let waits = match self.kind {
            Kind::PowerLoss
            | Kind::FreezeBeyond
            | Kind::FreezeLost
            | Kind::Cut
            | Kind::Deaf
            | Kind::Mute
            | Kind::ServiceUnkillable
            | Kind::MountHangs => self.at == Machine::Active,
            // Killed again and again, one of them leaves the lease to end, and its host to go down.
            Kind::DaemonGone => self.takes_stoppers(),
            // By chance all that matters may be lost.
            Kind::Loss | Kind::Slow => true,
            Kind::EnsembleAway | Kind::EnsembleFrozen => true,
            Kind::AgentFails | Kind::AgentHangs | Kind::AgentLies => true,
            Kind::Reboot
            | Kind::FreezeBelow
            | Kind::ServerCut
            | Kind::Apart
            | Kind::DaemonKill
            | Kind::DaemonStop
            | Kind::TwoKill
            | Kind::AllKill
            | Kind::AllStop
            | Kind::DaemonRestart
            | Kind::BusStop
            | Kind::Pid1Stop
            | Kind::Reexec
            | Kind::LeaderKill
            | Kind::LeaderFreeze
            | Kind::LeaderPower
            | Kind::FollowerKill
            | Kind::FollowerFreeze
            | Kind::FollowerPower
            | Kind::FollowerApart
            | Kind::ServiceKill
            | Kind::ServicesKill
            | Kind::ServiceStop
            | Kind::ServiceStart
            | Kind::ServiceClings
            | Kind::Switchover
            | Kind::Failover
            | Kind::Pause
            | Kind::Keep
            | Kind::Maintenance
            | Kind::ServiceMaintenance
            | Kind::RunFull
            | Kind::StateFull => false,
        };
        (!waits).then(|| timing.restart())
    }

    /// The least time from its beginning until all services serve again, if nothing else happens; `fence` with a fence agent.
    pub(super) fn bound(&self, timing: &Timing, fence: bool) -> Duration {
        let lasts = self.ends - self.begins;
        let fenced = if fence { timing.fenced() } else { Duration::MAX };
        // What ends within the lease need not move anything; after that the host itself is back no sooner than the fault ends.
        let cut = if lasts > timing.lease { lasts.min(timing.waited()) } else { Duration::ZERO };
        match self.kind {
            Kind::PowerLoss
            | Kind::FreezeLost
            | Kind::FreezeBeyond
            | Kind::Cut
            | Kind::Deaf
            | Kind::Mute
                if self.at != Machine::Active =>
            {
                Duration::ZERO
            }
            // Its next boot can promise, but its lock has to go first.
            Kind::PowerLoss => lasts.max(timing.locked()).min(timing.waited()).min(fenced),
            // What stands still answers here: all hosts share a kernel.
            Kind::FreezeLost | Kind::FreezeBeyond => timing.waited(),
            Kind::Cut => cut.min(fenced),
            Kind::Deaf | Kind::Mute | Kind::AgentFails | Kind::AgentHangs => cut,
            Kind::AgentLies => cut.min(timing.fenced() + timing.lie()),
            // Nobody serves before there is a quorum.
            Kind::EnsembleAway | Kind::EnsembleFrozen if lasts > timing.lease => lasts,
            Kind::EnsembleAway
            | Kind::EnsembleFrozen
            | Kind::Reboot
            | Kind::FreezeBelow
            | Kind::ServerCut
            | Kind::Apart
            | Kind::Loss
            | Kind::Slow
            | Kind::DaemonKill
            | Kind::DaemonStop
            | Kind::DaemonGone
            | Kind::TwoKill
            | Kind::AllKill
            | Kind::AllStop
            | Kind::DaemonRestart
            | Kind::BusStop
            | Kind::Pid1Stop
            | Kind::Reexec
            | Kind::LeaderKill
            | Kind::LeaderFreeze
            | Kind::LeaderPower
            | Kind::FollowerKill
            | Kind::FollowerFreeze
            | Kind::FollowerPower
            | Kind::FollowerApart
            | Kind::ServiceKill
            | Kind::ServicesKill
            | Kind::ServiceStop
            | Kind::ServiceStart
            | Kind::ServiceClings
            | Kind::ServiceUnkillable
            | Kind::MountHangs
            | Kind::Switchover
            | Kind::Failover
            | Kind::Pause
            | Kind::Keep
            | Kind::Maintenance
            | Kind::ServiceMaintenance
            | Kind::RunFull
            | Kind::StateFull => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Daemon;
    use super::*;

    fn fault(kind: Kind, at: Machine, seconds: u64) -> Fault {
        let daemons = (Daemon::MasterFc, Daemon::Guard);
        let (begins, ends) = (Duration::from_secs(3), Duration::from_secs(3 + seconds));
        Fault { kind, at, daemons, service: "livy", figure: 10, begins, ends }
    }

    fn bound(kind: Kind, at: Machine, seconds: u64, fence: bool) -> u128 {
        fault(kind, at, seconds).bound(&Timing::of(Preset::Normal), fence).as_millis()
    }

    #[test]
    fn what_must_not_move_services_may_cost_a_restart_and_no_takeover_by_waiting() {
        let most = |kind, at, preset| fault(kind, at, 12).most(&Timing::of(preset));
        let (active, leader) = (Machine::Active, Machine::Leader);
        let restart = Some(Duration::from_secs(3));
        for (kind, at) in [
            (Kind::DaemonKill, active),
            (Kind::Reexec, active),
            (Kind::LeaderPower, leader),
            (Kind::PowerLoss, Machine::Standby),
        ] {
            assert_eq!(most(kind, at, Preset::Normal), restart, "{kind:?}");
            assert_eq!(most(kind, at, Preset::Fast), Some(Duration::from_millis(1250)), "{kind:?}");
        }
        for (kind, at) in
            [(Kind::PowerLoss, active), (Kind::EnsembleAway, leader), (Kind::DaemonGone, active)]
        {
            assert_eq!(most(kind, at, Preset::Normal), None, "{kind:?}");
        }
    }

    #[test]
    fn what_moves_services_costs_the_wait_less_a_renewal_or_what_its_end_allows() {
        // 1.01 x 6 s and 1.1 x 2 s, less 0.625 s.
        let (active, waited) = (Machine::Active, 7635);
        for kind in [Kind::PowerLoss, Kind::FreezeLost, Kind::FreezeBeyond, Kind::Cut, Kind::Deaf] {
            assert_eq!(bound(kind, active, 12, false), waited, "{kind:?}");
            assert_eq!(bound(kind, Machine::Standby, 12, false), 0, "{kind:?}");
        }
        assert_eq!(bound(Kind::PowerLoss, active, 1, false), 3125, "its lock");
        assert_eq!(bound(Kind::Cut, active, 5, false), 0, "it may renew in time");
        assert_eq!(bound(Kind::Cut, active, 7, false), 7000);
        assert_eq!(bound(Kind::EnsembleAway, Machine::Leader, 12, false), 12_000);
        assert_eq!(bound(Kind::EnsembleAway, Machine::Leader, 5, false), 0);
        assert_eq!(bound(Kind::LeaderPower, Machine::Leader, 12, false), 0);
    }

    #[test]
    fn with_a_fence_agent_it_is_what_a_host_must_have_stood_still_and_only_where_it_answers_nothing()
     {
        let active = Machine::Active;
        assert_eq!(bound(Kind::PowerLoss, active, 12, true), 375);
        assert_eq!(bound(Kind::Cut, active, 12, true), 375);
        assert_eq!(bound(Kind::Mute, active, 12, true), 7635);
        assert_eq!(bound(Kind::AgentHangs, active, 12, true), 7635);
        assert_eq!(bound(Kind::AgentLies, active, 12, true), 6875);
    }
}
