//! What comes next on the way to a component of which nothing runs here, and that nothing starts here any more.

use super::answer::Roles;
use super::course::{Next, OPEN, View};

/// Decides by what was just read.
pub(super) fn decide(view: &View<'_>) -> Next {
    let View { component, seen, .. } = view;
    let host = component.host.clone();
    if let Some(id) = seen.pending_start(&component.name, |it| it == host, None) {
        return Next::Abort(id);
    }
    if let Some(next) = seen.own.as_ref().and_then(|own| at_ambari(view, own)) {
        return next;
    }
    // Ambari may believe it stopped while it runs, and ignores a stop then.
    if seen.runs {
        return Next::Kill;
    }
    if !view.is_proven() {
        return Next::Wait(OPEN.to_owned());
    }
    match &seen.own {
        Some(own) if !own.is_in_maintenance() && !view.is_late() => {
            Next::Maintain { host, on: true }
        }
        Some(_) | None => Next::Done,
    }
}

/// What Ambari is to do, or is waited for to do.
fn at_ambari(view: &View<'_>, own: &Roles) -> Option<Next> {
    let View { component, seen, memory, .. } = view;
    let host = component.host.clone();
    let told = memory.told.contains(&host);
    let stop = Next::Order { host: host.clone(), start: false };
    if !seen.host.is_healthy() || own.is_unknown() {
        // It is ignored, but for what is desired then: an agent that comes back must not start it by itself.
        return (own.is_desired() && !told).then_some(stop);
    }
    if view.is_late() {
        return None;
    }
    if own.is_changing() || seen.is_busy(&component.name, &host) {
        return Some(Next::Wait("Ambari has not carried out its stop yet".to_owned()));
    }
    (own.is_started() || own.is_desired() && !told).then_some(stop)
}
