//! The programs of every node: slave-fc, which makes the node follow the active, and slave-ha-service, which keeps HA
//! services stopped where no permit covers them.

pub mod follow;
pub mod guard;
