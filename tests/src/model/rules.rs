//! The rules of the protocol, by name, and the small arithmetic that they come down to.
//!
//! Decides how long a wait is, when the gate admits a start, and when the way to office is free,
//! for a set of rules from which any one can be dropped. Deliberately knows nothing of states,
//! actions or the quorum: every function here is one line of the protocol over plain figures.

/// Declares [`Rule`]: each variant with the sentence that reports print.
macro_rules! rules {
    ($($name:ident: $sentence:literal, $shown:expr;)*) => {
        /// One rule of the protocol that the model can drop.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Rule {
            $(#[doc = $sentence] $name,)*
        }

        impl Rule {
            /// Every rule, in the order of the protocol's table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The rule in words.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $sentence,)*
                }
            }

            /// What dropping the rule must show.
            #[must_use]
            pub const fn shown(self) -> Shown {
                match self {
                    $(Self::$name => $shown,)*
                }
            }
        }
    };
}

/// What the model shows when a rule is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A moving service runs on two headnodes at once.
    TwoActives,
    /// A healthy holder loses the office.
    NeedlessLoss,
    /// Healthy claimants displace each other again and again.
    InTurns,
    /// A state from which nobody comes to run the services, although somebody could.
    Stuck,
    /// Nothing: the rule is kept for speed, or to spare healthy hosts.
    Nothing,
}

rules! {
    ActiveVersion: "every write of office is conditional on `active`@v", Shown::TwoActives;
    ClaimBeforeWait: "the claim is written before the wait", Shown::TwoActives;
    RenewBeforePermit: "office, then renew, then permit", Shown::TwoActives;
    WaitLease: "the wait has the lease in it", Shown::TwoActives;
    WaitKill: "the wait has the kill time in it", Shown::TwoActives;
    WaitFromLease: "the wait counts from the lease value that stands after the claim", Shown::TwoActives;
    WaitAnew: "a claimant's wait starts anew at write 6", Shown::TwoActives;
    LeaseMargin: "the lease in the wait has a margin for clocks", Shown::TwoActives;
    KillMargin: "the kill time in the wait has a margin for clocks", Shown::TwoActives;
    FromSending: "D counts from the sending of the renew, not from its answer", Shown::TwoActives;
    OnlyRenew: "nothing but a renew counts for D", Shown::TwoActives;
    NoInventedD: "a new process takes D from the permit and invents none", Shown::TwoActives;
    GuardKills: "the guard kills at D", Shown::TwoActives;
    ControllerKills: "master-fc kills at D", Shown::TwoActives;
    KillBound: "the guard is back and has killed within the kill time", Shown::TwoActives;
    Gate: "every start passes the gate", Shown::TwoActives;
    GateClosed: "the gate asks for an epoch above `closed`", Shown::TwoActives;
    GateDeadline: "the gate asks for a time before the deadline", Shown::TwoActives;
    PromiseClosesFirst: "a promise sets `closed` first", Shown::TwoActives;
    PromiseReplaces: "no start is queued any more when a promise is written", Shown::TwoActives;
    PromiseVerifies: "a promise is written only when nothing is seen running", Shown::TwoActives;
    PromiseEpoch: "a promise frees the way only if it is of `active`'s epoch or a later one", Shown::TwoActives;
    CedeRemovesPermit: "the permit is gone before the office is ceded", Shown::TwoActives;
    CedeReplaces: "no start is queued any more when the office is ceded", Shown::TwoActives;
    CedeVerifies: "the office is ceded only when nothing is seen running", Shown::TwoActives;
    SixBumps: "write 6 writes `active`, so that late writes of the older process fail", Shown::TwoActives;
    SixRefused: "write 6 is refused under another's claim", Shown::TwoActives;
    NewBootClaims: "a new boot never resumes an old epoch", Shown::TwoActives;
    FenceVerified: "a fence method says Yes only after it saw the host off", Shown::TwoActives;
    FenceBound: "a Yes is bound to boot and epoch", Shown::TwoActives;
    ConfirmBound: "an operator's word is bound to the claim that it was given for", Shown::TwoActives;
    ConfirmSigns: "an operator's word is refused while its host shows a sign of life", Shown::TwoActives;
    ClaimChecksSettings: "the claim is conditional on `settings`, not paused", Shown::TwoActives;
    KeepAcknowledged: "`pause --keep` moves D only once the active has acknowledged it", Shown::TwoActives;
    KeepChecksActive: "the acknowledgement of a keep is conditional on `active`@v", Shown::TwoActives;
    KeepChecksSettings: "the acknowledgement of a keep is conditional on `settings`@p", Shown::TwoActives;
    ResumeRenewsFirst: "on resume the active renews and writes the permit before it acknowledges", Shown::TwoActives;
    ResumeWaits: "the end of an acknowledged keep waits for the active, or proof that it is out", Shown::TwoActives;
    KeepWordSigns: "a word about the host of a keep counts only while that shows no sign of life", Shown::TwoActives;
    ClaimWaits: "a gone lock is claimed only after `lease` stood still for 2h", Shown::NeedlessLoss;
    ClaimChecksLease: "the claim is conditional on `lease`@s, the value that stood still", Shown::NeedlessLoss;
    OverLockWaits: "a lock that is there is claimed over only after lease + kill", Shown::NeedlessLoss;
    OverLockCountsActive: "that time counts since `active` changed, too", Shown::InTurns;
    OverClaimantLonger: "a claimant's lock is claimed over only after its whole wait and 2h", Shown::InTurns;
    SucceedMyself: "write 6 exists", Shown::Stuck;
    KeepEndsWithOffice: "a keep that was resumed is over with the next office", Shown::Stuck;
    NoOwnPromise: "nobody promises the unclaimed epoch of its own running office", Shown::Stuck;
    LockCheck: "office checks that the lock exists", Shown::Nothing;
    OwnerTest: "a cession deletes the lock only if it is the ceder's", Shown::Nothing;
    GuardStopsAtClaim: "the guard stops services at another's claim", Shown::Nothing;
    PermitRemovedOnLoss: "a holder that learns of its loss removes the permit", Shown::Nothing;
    CededWithDelete: "ceding and deleting the lock are one write", Shown::Nothing;
    Until: "others stay out for `until` after a cession", Shown::Nothing;
    Challenge: "a holder is challenged before it is fenced early", Shown::Nothing;
}

/// The rules in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules(u64);

impl Rules {
    /// The protocol as written.
    #[must_use]
    pub const fn all() -> Self {
        Self(u64::MAX)
    }

    /// The same without one rule.
    #[must_use]
    pub const fn without(self, rule: Rule) -> Self {
        Self(self.0 & !(1 << rule as u8))
    }

    /// Whether a rule is in force.
    #[must_use]
    pub const fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u8) != 0
    }
}

/// The time between two renewals: a model's tick.
pub(super) const RENEW_EVERY: u8 = 1;

/// How long a lock that is gone is left to its holder, for write 6.
pub(super) const RECREATE_TIME: u8 = 2 * RENEW_EVERY;

/// How long others stay out after a cession.
pub(super) const UNTIL: u8 = 2;

/// How long all records of a host stand still before it is doubted.
pub(super) const DEAD_AFTER: u8 = 2;

/// The margin for clocks, in ticks, in each half of the wait: what a slow clock can lose in it.
pub(super) const MARGIN: u8 = 1;

/// The published figures of office, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The time that one acknowledged renew is good for.
    pub lease: u8,
    /// The time after D in which all is gone.
    pub kill: u8,
    /// After how many ticks a frozen or dead guard is back at the latest.
    pub watchdog: u8,
}

impl Figures {
    /// Figures whose watchdog is as long as the kill time allows.
    #[must_use]
    pub const fn new(lease: u8, kill: u8) -> Self {
        Self { lease, kill, watchdog: kill - 1 }
    }

    /// The bound within which a guard is back.
    #[must_use]
    pub const fn guard_back(self, rules: Rules) -> u8 {
        if rules.has(Rule::KillBound) { self.watchdog } else { self.kill + 2 * MARGIN }
    }

    /// How long a claimant waits that has no other proof.
    #[must_use]
    pub const fn wait(self, rules: Rules) -> u8 {
        let mut ticks = 0;
        if rules.has(Rule::WaitLease) {
            ticks += self.lease;
            if rules.has(Rule::LeaseMargin) {
                ticks += MARGIN;
            }
        }
        if rules.has(Rule::WaitKill) {
            ticks += self.kill;
            if rules.has(Rule::KillMargin) {
                ticks += MARGIN;
            }
        }
        ticks
    }

    /// How long nothing has moved before a lock that is still there is claimed over.
    #[must_use]
    pub const fn over_lock(self, rules: Rules, claimant_named: bool) -> u8 {
        if !rules.has(Rule::OverLockWaits) {
            0
        } else if claimant_named && rules.has(Rule::OverClaimantLonger) {
            self.longest()
        } else {
            self.lease + self.kill
        }
    }

    /// The longest time that any rule counts to; ages need not be known beyond it.
    #[must_use]
    pub const fn longest(self) -> u8 {
        self.lease + self.kill + 2 * MARGIN + RECREATE_TIME
    }

    /// What is left of the lease when a renew is acknowledged that was sent `age` ticks ago.
    #[must_use]
    pub const fn left_after(self, rules: Rules, age: u8) -> u8 {
        if rules.has(Rule::FromSending) { self.lease.saturating_sub(age) } else { self.lease }
    }
}

/// How many epochs a value lies behind `active`'s: 0, 1, or 2 for more.
pub type Behind = u8;

/// Whether the gate admits a start: `permit` is its epoch and what is left until its deadline.
#[must_use]
pub const fn gate_admits(rules: Rules, permit: Option<(Behind, u8)>, closed: Behind) -> bool {
    if !rules.has(Rule::Gate) {
        return true;
    }
    match permit {
        Some((epoch, left)) => {
            (epoch < closed || !rules.has(Rule::GateClosed))
                && (left > 0 || !rules.has(Rule::GateDeadline))
        }
        None => false,
    }
}

/// What a claimant knows about the old holder.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one of the protocol's five proofs")]
pub struct Evidence {
    /// The old holder ceded, to me or long enough ago.
    pub ceded: bool,
    /// There is no `active` record, so that every headnode may be the old holder.
    pub unknown: bool,
    /// How far the old holder's promise lies behind `active`'s epoch.
    pub promise: Behind,
    /// Every configured headnode has promised the epoch.
    pub all_promised: bool,
    /// A fence method said Yes about that boot and epoch.
    pub fenced: bool,
    /// Ticks since the first read of the lease value that stands after the claim.
    pub waited: u8,
    /// Ticks since the claim.
    pub since_claim: u8,
    /// Services may run by a keep, which have no D.
    pub kept: bool,
}

/// How `settings` stand to claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claims {
    /// Automatic failover is on.
    Allowed,
    /// It is paused, whether or not the active was asked to run on without the quorum, or has acknowledged that.
    Paused,
    /// An acknowledged keep was resumed, and its holder has not acknowledged that yet.
    Resuming,
}

/// Whether `settings` let anybody claim, by what is known of the old holder: `off`, by a fence method or by somebody's word, too.
#[must_use]
pub const fn claims_are_allowed(claims: Claims, ceded: bool, promise: Behind, off: bool) -> bool {
    match claims {
        Claims::Allowed => true,
        Claims::Paused => false,
        Claims::Resuming => ceded || promise == 0 || off,
    }
}

/// Whether the way to office is free.
#[must_use]
pub const fn way_is_free(rules: Rules, figures: Figures, known: Evidence) -> bool {
    let wait = figures.wait(rules);
    if known.fenced || known.ceded {
        true
    } else if known.unknown {
        known.all_promised || known.since_claim >= wait && !known.kept
    } else {
        let waited = known.waited >= wait && !known.kept;
        known.promise == 0 || !rules.has(Rule::PromiseEpoch) || waited
    }
}
