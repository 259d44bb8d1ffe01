//! The programs of every node: slave-ha-service, which keeps HA services stopped where no permit covers them.

pub mod guard;
