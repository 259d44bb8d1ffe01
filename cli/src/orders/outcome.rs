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

/// The end of the last line: which services were not seen running yet, in the order of `services`.
pub(super) fn sentence(services: &[String], seen: &Seen) -> String {
    let missing: Vec<String> = services
        .iter()
        .filter_map(|name| match seen.get(name).and_then(Option::as_ref) {
            Some(service) if service.is_running() => None,
            Some(service) if service.given_up => Some(format!("{name} (given up)")),
            Some(service) => Some(format!("{name} ({})", service.observed)),
            None => Some(format!("{name} (unknown)")),
        })
        .collect();
    if missing.is_empty() {
        return "all services run".to_owned();
    }
    format!(
        "not seen running yet: {}; `headship status --watch` shows when they are",
        missing.join(", ")
    )
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
        sentence(&names(), &seen(&names(), &node("hn0"), records))
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
            "not seen running yet: job-history (stopped), livy (starting); `headship status --watch` shows when they are"
        );
        records.headnodes[0].duty = duty("hn0", "livy", given_up());
        assert!(told(&records).contains("livy (given up)"));
    }

    #[test]
    fn what_no_record_tells_is_not_said_to_run() {
        let mut records = records();
        records.headnodes[0].services = Content::Missing;
        assert!(told(&records).starts_with(
            "not seen running yet: ambari-server (unknown), job-history (unknown), livy (unknown);"
        ));
    }
}
