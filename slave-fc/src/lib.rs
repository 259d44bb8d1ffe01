//! The programs of every node: slave-fc, which makes the node follow the active, and slave-ha-service, which keeps HA
//! services stopped where no permit covers them.

use headship_core::quorum;
use headship_zk::Quorum;

pub mod follow;
pub mod guard;

/// What is done next.
#[derive(Debug)]
enum Step<A> {
    Do(A),
    End,
}

/// The next event of the quorum; never one where there is none to listen to.
async fn next_of(quorum: &mut Option<Quorum>) -> quorum::Event {
    match quorum {
        Some(quorum) => quorum.next().await,
        None => std::future::pending().await,
    }
}
