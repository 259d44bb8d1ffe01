//! The kinds of lines in the log: what an operator searches for, and is explained by the journal's catalogue.
//!
//! One kind, one id for ever: what searches for it must not break. The catalogue explains each; `tests/tests/catalogue.rs`
//! holds the two together.

use super::Level;

macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident, $level:ident, $id:literal;)+) => {
        /// What kind of line it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])+ $kind,)+
        }

        impl Kind {
            /// All of them, in the order of the catalogue.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// The journal's `MESSAGE_ID`: `journalctl MESSAGE_ID=…` finds it, `journalctl -x` explains it.
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$kind => $id,)+
                }
            }

            /// How much attention it wants.
            pub const fn level(self) -> Level {
                match self {
                    $(Self::$kind => Level::$level,)+
                }
            }
        }
    };
}

kinds! {
    /// master-fc: this headnode holds office, and what announces it serves.
    RoleActive, Info, "094d193d96f84603a774f8de691b86d8";
    /// master-fc: this headnode claims office, or is about to serve in it.
    RoleBecomingActive, Info, "a425239d006c4323bd6f7e4492d097ef";
    /// master-fc: this headnode stops its services, to be no longer active.
    RoleBecomingStandby, Info, "80af500824cc4c25a6d93a8724ca1577";
    /// master-fc: this headnode may take over.
    RoleStandby, Info, "aae04e25ed5b48e79781f628a069c0b9";
    /// master-fc: this headnode may not go on, and has not been told that another took over.
    RoleNeutral, Warn, "38a478bbde03446f8f9a5959d6a48e23";
    /// master-fc: this headnode takes no part in the election.
    RoleOut, Info, "8e5543c6d90c45d9a2e6482f2e3523a2";
    /// master-fc serves in a new epoch; says what it took.
    OfficeTaken, Info, "bcf2873577f4445087b280d89d00be4b";
    /// master-fc gives up office by itself or by order.
    CessionBegun, Info, "1516f92879fb439caefe5ee7fe870483";
    /// master-fc stays in office after all: somebody paused while it gave it up for another headnode.
    CessionEnded, Warn, "6c9a16e9922c40a3b4586001358f9332";
    /// master-fc reads that another headnode took over from it.
    OfficeLost, Warn, "a4677f5901c34537aa4b594c4e1f9899";
    /// Nobody is active, and this headnode must not claim office.
    NobodyClaims, Warn, "a2ffac5ae31a44d1b245fd0cdeef2214";
    /// D has passed while services were not known to be gone: they are killed.
    DeadlineReached, Error, "988fd34a30d24cebaa4dcaa47a717b0b";
    /// Services could not be stopped in time: the host reboots at once.
    HostReboots, Error, "63635aa735e04e4b8b6e6272a8a452e9";
    /// The host should reboot, and does not.
    RebootFailed, Error, "9ccc8d36dd2b4118840e549b891eee37";
    /// master-fc accepted an operator's order.
    OrderAccepted, Info, "020f96bb82894c5091cc9f5db08fdbc1";
    /// master-fc refused an operator's order.
    OrderRefused, Info, "ffc6cf803d8d4ccd9c05c5b0c209db6a";
    /// Records of another life of the cluster are followed from now on.
    LifeAdopted, Warn, "79edfbf6ef9b485c84d1236db36c27b8";
    /// Automatic failover is paused.
    Paused, Warn, "0dcfbaaff40e4b608f8e1e8afcf5cfdf";
    /// Automatic failover is on again.
    Resumed, Info, "751aa4a54f214f8fa4f4f1a1096982c4";
    /// This headnode keeps its services, whatever the quorum does: it acknowledged `pause --keep`.
    KeepBegun, Warn, "3962230cd5cb4828a7e20c69c1ef21e9";
    /// The lease counts again after `pause --keep`.
    KeepEnded, Info, "199f8a952c5548a9bcd1c63c773f3e26";
    /// This headnode keeps its services no longer, and nobody resumed: master-fc was stopped, or left office.
    KeepLeft, Warn, "aa9699bf78fe4f259e3b8bfac1c52567";
    /// The claimant goes by somebody's word that a headnode is powered off.
    WordTaken, Warn, "986a2d3811e641cfa95d129bd2e32f7f";
    /// A headnode that was confirmed to be powered off lives.
    WordWrong, Error, "2dfd66b37e294d8b822e36c6d9877a74";
    /// The holder of office seems dead: a fence method is asked to switch its host off.
    FenceAsked, Warn, "8f1ee84ca04f4c7f9ed54265c5538918";
    /// A fence method says that the host is off.
    FenceYes, Warn, "15ac70b6872248948b40bd31d5874866";
    /// Nobody waits any more for a fence method that was asked, or goes by what it said.
    FenceStopped, Info, "0db807d576eb4e4aa33d58ff52ab2b72";
    /// No fence method says that the host is off: an operator has to look.
    FenceRefused, Error, "c08a7e3473994762a2206b1483d2b024";
    /// A host lives that a fence method said was off.
    FenceLied, Error, "5bca7023ea354d529d09793c5c666835";
    /// A headnode or a service is in maintenance.
    MaintenanceBegun, Warn, "4d032f7259c34e71b91dedc060c98ec5";
    /// Maintenance of a headnode or a service has ended.
    MaintenanceEnded, Info, "914ad302bfd9475da2cb8a8183caf221";
    /// A record of the failover quorum cannot be understood.
    CorruptRecord, Error, "4c13bf4e3eee475ba07d367e773fe15a";
    /// A lock that comes from no claim is replaced.
    LockReplaced, Warn, "7a87c529409844dc8633ed81528bddea";
    /// The failover quorum denies what a daemon writes.
    WritesDenied, Error, "deaadf5ea9b849098abf65a3bd9c6fa0";
    /// The permit cannot be written or removed.
    PermitFault, Error, "80bec1805a564cf38e81eae483e0075a";
    /// What slave-ha-service has closed cannot be read: nothing passes the gate.
    GateShut, Error, "00e82f4d3fe04f16a83ca7852e766684";
    /// The permit can be written again.
    PermitBack, Info, "7626409a19af4425919bcc38b16f4921";
    /// An HA service ended although it should run; it is started again.
    ServiceDown, Warn, "73d4243b675f487489f148bbd47a697c";
    /// An HA service that was down serves again.
    ServiceBack, Info, "54e19917d25549d1a07ba1d3d7754ee3";
    /// The restart budget of an HA service is spent.
    ServiceGivenUp, Error, "48515406382d487a859a1d07483dc631";
    /// master-ha-service ends, as nothing permits its services here or somebody stops it.
    DutyEnds, Info, "212c522df3dd41c1936158be12536121";
    /// Somebody started an HA service where it may not run; it is stopped.
    StartedByHand, Warn, "0d730443638e4cbe905cd83c499fcf5d";
    /// slave-ha-service promised that nothing of an epoch runs here any more.
    Promised, Info, "7f9849565a194b629021a6748b7f4158";
    /// The gate cannot be closed, so nothing can be promised.
    GateStuck, Error, "492870c150de4478968c12432b15d142";
    /// health-monitor: all checks are good.
    Eligible, Info, "966d24043a6244ecb3bbf7f08290f4ce";
    /// health-monitor: this headnode would rather not be active.
    Reluctant, Warn, "4f878530586b44c6a23db86ed8ab0750";
    /// health-monitor: this headnode cannot run the services.
    Ineligible, Error, "c136d3bed61a4c3f9d0f4d6b0e3634b1";
    /// slave-fc wrote another active headnode into the hosts file.
    AliasMoved, Info, "30cdfae609a74c46bbb357beda86668e";
    /// slave-fc put right what somebody had changed in its lines of the hosts file.
    AliasPutRight, Warn, "8fdaf4c051814a098681fdd9b634dc04";
    /// slave-fc leaves the alias as it is: what the records say cannot be followed.
    AliasInDoubt, Warn, "c3cc35ccc2024f6f95b50e8905dcc7e8";
    /// slave-fc cannot write the hosts file, so the node does not follow.
    HostsRefused, Error, "580feb81b2bf4f369a0a0cd97a12f495";
    /// Somebody else wrote the hosts file at the same moment; what they wrote lies beside it.
    EditSetAside, Warn, "1bbba169e78f4cfc92d3f92379f041ad";
    /// Somebody else wrote the hosts file at the same moment; what they wrote could not be kept whole.
    EditLost, Error, "51b689973cca430c86353c9460ff557a";
    /// The active starts its services although its own alias does not point to it yet.
    AliasLate, Warn, "bbc544d63d4143e6b6704b67eeba8fba";
    /// The active has no slave-fc that would move its alias.
    AliasUnattended, Info, "722e1e222f4a405eb1f153ff50b1b56c";
    /// slave-fc restarted the node's agent for another active headnode.
    AgentRestarted, Info, "969c8457aec94c61aedf725ef4526a2c";
    /// slave-fc cannot note what the agent was started with.
    AgentNoteFault, Warn, "c4157ab00eba47c5823415f91530b62c";
    /// The agent or slave-ha-service is down; slave-fc starts it again.
    ProgramDown, Warn, "76c7ec4081aa465c8d93e96360d2d522";
    /// The agent or slave-ha-service, which was down, runs again.
    ProgramBack, Info, "cfb7f09de296436da92e168d45db46b3";
    /// Connected to the failover quorum, for the first time or again.
    QuorumConnected, Info, "b843541781f1407b935ae9c3c91b0325";
    /// The failover quorum cannot be reached.
    QuorumOutOfSight, Warn, "c1d768ae2eda47f49a74bf11514b9453";
    /// The failover quorum ended the session.
    SessionOver, Warn, "628d76a2b8fa4dafab47d6893df42d23";
    /// systemd cannot be reached over D-Bus.
    BusAway, Warn, "187e704bf052469fbc43f9d7ae433d2f";
    /// systemd can be reached over D-Bus again.
    BusBack, Info, "0becca854fa540c5afe623081815cdb0";
    /// A unit is down by systemd's word, but processes of it are left or may be.
    ProcessesLeft, Warn, "3b8485b1ba814bbcb49988801a1b2edd";
    /// What a fence program started may be left.
    FenceProgramLeft, Warn, "2b2f06b1566a47cd8aecd086e099e538";
    /// A file of the suite's own cannot be read or written.
    FileFault, Error, "4ecc7a16b7df45829abbca72bebc3fb0";
    /// What a daemon says of itself cannot be shown, or hints of files cannot be had.
    StatusFault, Warn, "eca2481e9c44487da4e142f6d4e5bfc1";
    /// A daemon does not begin, as its configuration has faults.
    ConfigurationFault, Error, "03f3646db8c5445fa3c19b4ff63907ac";
    /// A daemon does not begin, for another reason.
    NotBegun, Error, "3af440cec5ec4f40bfe1f87101054858";
    /// `HEADSHIP_LOG` was not understood.
    LevelMisread, Warn, "c4097ae934a84a2fb53d018b8ede94af";
}
