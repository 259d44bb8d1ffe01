//! For each rule, a small scope in which dropping it shows why it is there.
//!
//! Decides where to look for a counterexample, so that it is found in seconds. With the rule in
//! force each of these scopes holds; the binary `model` checks that, too.

use super::rules::{Figures, Rule, Shown};
use super::scope::{Check, Command, Fault, Scope, Start};

use Fault::{ActiveLost, Cut, Freeze, GuardAway, Kill, Lag, PowerLoss, SessionLost, SlowClock};

impl Scope {
    /// The scope in which dropping this rule shows something, with the rule still in force.
    #[must_use]
    pub fn showing(rule: Rule) -> Self {
        let scope = match rule.shown() {
            Shown::TwoActives => Self::showing_two_actives(rule),
            Shown::NeedlessLoss => {
                Self::with_faults(2, &[Lag, SessionLost]).checking(&[Check::NoNeedlessLoss])
            }
            Shown::InTurns => Self::in_turns(),
            Shown::Stuck if rule == Rule::SucceedMyself => {
                Self::with_faults(1, &[SessionLost]).and_commands(1, &[Command::Pause])
            }
            Shown::Stuck if rule == Rule::KeepEndsWithOffice => {
                Self::with_faults(2, &[PowerLoss, Lag]).and_commands(1, &[Command::PauseKeep])
            }
            Shown::Stuck => Self::with_faults(0, &[]),
            Shown::Nothing => Self::hygiene(rule),
        };
        match rule.shown() {
            Shown::Stuck => scope.checking(&[Check::NotStuck]),
            Shown::TwoActives | Shown::NeedlessLoss | Shown::InTurns | Shown::Nothing => scope,
        }
    }

    fn showing_two_actives(rule: Rule) -> Self {
        match rule {
            Rule::WaitLease => Self::with_faults(1, &[Freeze]).with_figures(Figures::new(6, 3)),
            Rule::WaitFromLease => {
                Self::with_faults(3, &[Cut]).with_figures(Figures::new(3, 1)).without_late_writes()
            }
            Rule::LeaseMargin | Rule::KillMargin => {
                Self::with_faults(3, &[Freeze, GuardAway, SlowClock]).without_late_writes()
            }
            Rule::WaitKill | Rule::KillBound => {
                Self::with_faults(2, &[Freeze, GuardAway]).without_late_writes()
            }
            Rule::ClaimBeforeWait | Rule::OnlyRenew => Self::with_faults(1, &[Lag]),
            Rule::FromSending | Rule::GuardKills | Rule::GateDeadline => {
                Self::with_faults(2, &[Freeze])
            }
            Rule::ControllerKills => Self::slow_guard(),
            Rule::WaitAnew | Rule::NoInventedD => Self::with_faults(2, &[Cut, Kill]),
            Rule::SixBumps => Self::with_faults(2, &[Cut, Kill]).and_commands(1, &[Command::Cede]),
            Rule::NewBootClaims => Self::with_faults(3, &[PowerLoss, Cut]).without_late_writes(),
            Rule::CedeRemovesPermit | Rule::CedeReplaces | Rule::CedeVerifies => {
                Self::with_faults(0, &[]).and_commands(1, &[Command::Cede])
            }
            Rule::FenceVerified => Self::with_faults(1, &[Cut]).with_fencing(),
            Rule::FenceBound => {
                Self::with_faults(2, &[Cut, Freeze]).with_fencing().without_late_writes()
            }
            Rule::ConfirmBound => Self::with_faults(2, &[PowerLoss, Cut])
                .and_commands(1, &[Command::Confirm])
                .without_late_writes(),
            Rule::ConfirmSigns => {
                Self::with_faults(1, &[Freeze]).and_commands(1, &[Command::Confirm])
            }
            Rule::ClaimChecksSettings
            | Rule::KeepAcknowledged
            | Rule::KeepChecksActive
            | Rule::KeepChecksSettings
            | Rule::ResumeRenewsFirst
            | Rule::ResumeWaits => {
                Self::with_faults(1, &[Cut, Freeze]).and_commands(1, &[Command::PauseKeep])
            }
            Rule::KeepWordSigns => Self::with_faults(1, &[Cut, Freeze])
                .and_commands(2, &[Command::PauseKeep, Command::ConfirmKeep]),
            Rule::Gate
            | Rule::GateClosed
            | Rule::PromiseClosesFirst
            | Rule::PromiseReplaces
            | Rule::PromiseVerifies
            | Rule::PromiseEpoch
            | Rule::SixRefused
            | Rule::ActiveVersion
            | Rule::RenewBeforePermit
            | Rule::ClaimWaits
            | Rule::ClaimChecksLease
            | Rule::OverLockWaits
            | Rule::OverLockCountsActive
            | Rule::OverClaimantLonger
            | Rule::SucceedMyself
            | Rule::KeepEndsWithOffice
            | Rule::NoOwnPromise
            | Rule::LockCheck
            | Rule::OwnerTest
            | Rule::GuardStopsAtClaim
            | Rule::PermitRemovedOnLoss
            | Rule::CededWithDelete
            | Rule::Until
            | Rule::Challenge => Self::with_faults(2, &[Cut, Freeze]).without_late_writes(),
        }
    }

    /// The preset `fast`: a guard that is away longer than the kill time, but never both at once.
    #[must_use]
    pub fn slow_guard() -> Self {
        let figures = Figures { lease: 3, kill: 3, watchdog: 6 };
        Self::with_faults(2, &[Cut, GuardAway]).with_figures(figures)
    }

    /// Three headnodes of which one is dead; two claim, and nothing but the wait frees the way.
    #[must_use]
    pub fn in_turns() -> Self {
        let mut scope = Self::with_faults(1, &[ActiveLost]).checking(&[Check::NotInTurns]);
        scope.headnodes = 3;
        scope.dead = Some(2);
        scope
    }

    /// A new cluster that comes up for the first time.
    #[must_use]
    pub fn new_cluster(most_faults: u8, faults: &[Fault]) -> Self {
        let mut scope = Self::with_faults(most_faults, faults);
        scope.start = Start::New;
        scope.checking(&[Check::Safe, Check::NotStuck])
    }

    /// Two headnodes, every fault, safety and liveness.
    #[must_use]
    pub fn every_fault(most_faults: u8) -> Self {
        Self::with_faults(most_faults, Fault::ALL).checking(&[Check::Safe, Check::NotStuck])
    }

    /// A wide scope for a rule whose need no test shows.
    fn hygiene(rule: Rule) -> Self {
        if rule == Rule::Challenge {
            Self::with_faults(2, &[Cut, Lag, Freeze]).without_late_writes().with_fencing()
        } else {
            Self::with_faults(1, Fault::ALL).and_commands(1, &[Command::Cede])
        }
    }
}
