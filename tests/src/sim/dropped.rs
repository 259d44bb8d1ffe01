//! Rules that are dropped, to see that they are needed: what the world does in place of the core that would break
//! them. None of this happens unless a rule is dropped.

use headship_core::quorum::{Found, Op};
use headship_core::record::{Key, Settings};

use super::host::{HostId, Kind};
use super::net::ConnId;
use super::unit::State;
use super::world::World;

impl World {
    /// What a write is by the time it is decided. The acknowledgement of a keep is the only one that checks `active` and writes
    /// `settings`.
    pub(super) fn without_dropped(&self, ops: Vec<Op>) -> Vec<Op> {
        let checks_active = |op: &Op| matches!(op, Op::Check { key: Key::Active, .. });
        let acknowledges = ops.iter().any(|op| *op.key() == Key::Settings);
        if !self.setup.broken.keeps_past_active || !acknowledges {
            return ops;
        }
        ops.into_iter().filter(|op| !checks_active(op)).collect()
    }

    /// What a client reads. Of other hosts master-fc sees by one record whether they stand by, and by all others that they live.
    pub(super) fn seen_by(&self, conn: ConnId, key: &Key, found: Found) -> Found {
        let sign = match key {
            Key::Health(node) | Key::Services(node) | Key::Duty(node) | Key::Node(node) => node,
            Key::Settings
            | Key::Lock
            | Key::Active
            | Key::Lease
            | Key::Promise(_)
            | Key::Headnode(_)
            | Key::Restart(_)
            | Key::Switchover
            | Key::Failover
            | Key::Confirm
            | Key::Adopt
            | Key::Challenge
            | Key::History => return found,
        };
        let reader = self.net.daemon_of(conn);
        let of_another = reader.is_some_and(|reader| {
            reader.kind == Kind::Controller && self.host(reader.host).name != *sign
        });
        if self.setup.broken.blind_to_signs && of_another { Found::Missing } else { found }
    }

    /// Whether nobody sees that this service has ended.
    pub(super) fn is_unseen(&self, host: HostId, service: &str) -> bool {
        let unit = self.unit(host, service);
        let ended = unit.gated && unit.state == State::Dead && !unit.executed.is_empty();
        self.setup.broken.blind_to_ends && ended
    }

    /// What a resume writes.
    pub(super) fn resumed(&self, settings: &Settings, by: &str) -> Settings {
        if self.setup.broken.resumes_at_once { settings.automatic() } else { settings.resume(by) }
    }
}
