//! At most one write of office is under way at a time: a second one would be decided by what the first one changes.

use headship_core::quorum::{Ask, Event, Request};
use headship_core::record::Key;

use super::host::{Daemon, DaemonId, Kind};
use super::machine::Heard;
use super::world::World;

impl Daemon {
    /// A write is under way until its outcome comes, or until the connection is gone that it would come by.
    pub(super) fn forget_answered(&mut self, heard: &Heard) {
        let Heard::Quorum(event) = heard else { return };
        let over = match event {
            Event::Wrote { id, .. } => self.writing == Some(*id),
            Event::Disconnected | Event::SessionLost => true,
            Event::Connected { .. } | Event::Changed(_) | Event::Read { .. } => false,
        };
        if over {
            self.writing = None;
        }
    }
}

impl World {
    /// What a daemon asks of the quorum. What a master-fc tells of itself in its own record is no write of office.
    pub(super) fn check_writes(&mut self, id: DaemonId, ask: &Ask) {
        let Request::Write(ops) = &ask.request else { return };
        if id.kind != Kind::Controller || ops.iter().all(|op| matches!(op.key(), Key::Headnode(_)))
        {
            return;
        }
        let daemon = self.host_mut(id.host).daemon_mut(id.kind);
        if daemon.writing.replace(ask.id).is_some() {
            let who = self.who(id);
            self.violation(format!("master-fc on {who} writes while another write is under way"));
        }
    }
}
