//! What comes next on the way to a component that runs here, and on no other headnode.

use super::answer::{Roles, TaskEnd};
use super::course::{Next, View};

/// Decides by what was just read.
pub(super) fn decide(view: &View<'_>) -> Next {
    let View { component, seen, memory, .. } = view;
    let (name, host) = (&component.name, &component.host);
    let Some(own) = &seen.own else {
        return Next::Fail(format!(
            "Ambari has no component `{name}` on host `{host}`: add it there, or correct `component`"
        ));
    };
    // What was queued while another headnode was active would start it there beside ours, however late.
    let headnode = |host: &str| component.is_on_headnode(host);
    if let Some(id) = seen.pending_start(name, headnode, memory.ordered) {
        return Next::Abort(id);
    }
    if !component.is_gated() && view.is_settling() {
        return Next::Wait(
            "a start that was aborted may still be carried out: its agent is to report first"
                .into(),
        );
    }
    if let Some(next) = unready(view, own).or_else(|| elsewhere(view)) {
        return next;
    }
    if own.is_in_maintenance() {
        return Next::Maintain { host: host.clone(), on: false };
    }
    match memory.ordered {
        Some(id) => follow(view, own, id),
        None => order(view, own),
    }
}

/// Until its agent has registered with this server, whatever is ordered is ignored, and taken down as desired all the same.
fn unready(view: &View<'_>, own: &Roles) -> Option<Next> {
    let View { component, seen, .. } = view;
    let host = &component.host;
    if !seen.host.is_healthy() {
        let state = &seen.host.state;
        return Some(Next::Wait(format!("Ambari calls host `{host}` {state}: its agent is away")));
    }
    if view.is_registration_over() {
        return Some(Next::Wait(format!("the agent of host `{host}` has not registered anew yet")));
    }
    let name = &component.name;
    own.is_unknown()
        .then(|| Next::Wait(format!("Ambari knows nothing of `{name}` on `{host}` yet")))
}

/// On the other headnodes it is stopped and in maintenance: an agent starts what is desired, and out of maintenance, by
/// itself. Of a host that is lost nothing more can be had, nor is needed: the protocol has waited it out.
fn elsewhere(view: &View<'_>) -> Option<Next> {
    let View { component, seen, memory, .. } = view;
    seen.others.iter().find_map(|(host, roles)| {
        if !roles.is_in_maintenance() {
            return Some(Next::Maintain { host: host.clone(), on: true });
        }
        let to_tell = roles.is_desired() && !memory.told.contains(host);
        if !roles.is_started() && !roles.is_changing() && !to_tell {
            return None;
        }
        if seen.is_busy(&component.name, host) {
            let text = format!("`{}` is being stopped on `{host}`", component.name);
            return Some(Next::Wait(text));
        }
        Some(Next::Order { host: host.clone(), start: false })
    })
}

fn order(view: &View<'_>, own: &Roles) -> Next {
    let View { component, seen, .. } = view;
    let host = component.host.clone();
    if own.is_changing() || seen.is_busy(&component.name, &host) {
        return Next::Wait(format!("Ambari is still busy with `{}`", component.name));
    }
    if own.is_started() && own.is_desired() && seen.runs {
        return Next::Done;
    }
    // A start of what is believed to run is ignored, until its agent has reported that it is dead.
    Next::Order { host, start: !own.is_started() }
}

/// Its end counts, not the state: that may be overwritten by an older report.
fn follow(view: &View<'_>, own: &Roles, id: u64) -> Next {
    let View { component, seen, .. } = view;
    match seen.end_of(id, &component.name, &component.host) {
        Some(TaskEnd::Open) | None => {
            Next::Wait(format!("Ambari has not carried out its start yet (request {id})"))
        }
        Some(TaskEnd::Badly) => Next::Explain(id),
        Some(TaskEnd::Cut) => {
            Next::Fail(format!("Ambari gave up its start (request {id}): see its agent"))
        }
        Some(TaskEnd::Well) if !own.is_desired() => {
            Next::Fail("somebody else had Ambari stop it meanwhile".to_owned())
        }
        Some(TaskEnd::Well) if seen.runs => Next::Done,
        Some(TaskEnd::Well) => Next::Wait(format!(
            "Ambari says that it is started (request {id}), and nothing of it runs on this host"
        )),
    }
}
