//! What is known of the services when the other headnode is active: office is announced once the services marked `announce`
//! serve, and the others may still be on their way. Nothing is said here that no record says.

use std::collections::BTreeMap;

use headship_core::node::NodeName;

use crate::view::{Headnode, Records, ServiceSeen};

/// What was last seen of each service on the new active, by its name; nothing where no record tells.
pub(super) type Seen = BTreeMap<String, Option<ServiceSeen>>;

/// What the records say of each of `services` on `node`.
pub(super) fn seen(services: &[String], node: &NodeName, records: &Records) -> Seen {
    let headnode = records.headnodes.iter().find(|headnode| headnode.name == *node);
    let of = |name: &String| headnode.and_then(|headnode: &Headnode| headnode.service(name));
    services.iter().map(|name| (name.clone(), of(name))).collect()
}

/// The end of the last line: which services are on their way and which are not, in the order of `services`. What is in
/// maintenance (`alone`) nobody starts.
pub(super) fn sentence(services: &[String], seen: &Seen, alone: impl Fn(&str) -> bool) -> String {
    let (mut starting, mut given_up, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for name in services {
        match seen.get(name).and_then(Option::as_ref) {
            Some(service) if service.is_running() => {}
            Some(_) | None if alone(name) => left.push(name.clone()),
            Some(service) if service.given_up => given_up.push(name.clone()),
            // It was stopped until now, and is started in its turn.
            Some(service) if matches!(service.observed.as_str(), "stopped" | "starting") => {
                starting.push(name.clone());
            }
            Some(service) => starting.push(format!("{name} (now {})", service.observed)),
            None => starting.push(format!("{name} (not seen yet)")),
        }
    }
    let told = [
        ("still starting there: ", starting, " (`headship status --watch` shows when they run)"),
        ("given up there: ", given_up, " (see `headship status`)"),
        ("in maintenance: ", left, ""),
    ];
    let told = told.into_iter().filter(|(_, names, _)| !names.is_empty());
    let told: Vec<String> =
        told.map(|(what, names, see)| format!("{what}{}{see}", names.join(", "))).collect();
    if told.is_empty() { "all services run".to_owned() } else { told.join("; ") }
}

#[cfg(test)]
mod tests {
    use headship_core::known::Content;

    use super::*;
    use crate::tests::{duty, given_up, node, records};

    fn names() -> Vec<String> {
        ["ambari-server", "job-history", "livy"].map(str::to_owned).to_vec()
    }

    fn told(records: &Records) -> String {
        sentence(&names(), &seen(&names(), &node("hn0"), records), |_| false)
    }

    #[test]
    fn services_that_all_run_are_said_to() {
        assert_eq!(told(&records()), "all services run");
    }

    #[test]
    fn services_on_their_way_are_named_with_what_was_seen() {
        let mut records = records();
        if let Content::Record(services) = &mut records.headnodes[0].services {
            services.services.insert("livy".to_owned(), "starting".to_owned());
            services.services.insert("job-history".to_owned(), "stopped".to_owned());
        }
        assert_eq!(
            told(&records),
            "still starting there: job-history, livy (`headship status --watch` shows when they run)"
        );
        let alone = |name: &str| name == "job-history";
        assert_eq!(
            sentence(&names(), &seen(&names(), &node("hn0"), &records), alone),
            "still starting there: livy (`headship status --watch` shows when they run); in maintenance: job-history"
        );
        records.headnodes[0].duty = duty("hn0", "livy", given_up());
        assert!(told(&records).ends_with("; given up there: livy (see `headship status`)"));
        if let Content::Record(services) = &mut records.headnodes[0].services {
            services.services.insert("job-history".to_owned(), "failed".to_owned());
        }
        assert!(told(&records).starts_with("still starting there: job-history (now failed)"));
    }

    #[test]
    fn what_no_record_tells_is_not_said_to_run() {
        let mut records = records();
        records.headnodes[0].services = Content::Missing;
        assert!(told(&records).starts_with(
            "still starting there: ambari-server (not seen yet), job-history (not seen yet), livy (not seen yet) ("
        ));
    }
}
