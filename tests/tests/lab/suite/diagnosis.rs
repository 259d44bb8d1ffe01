//! What is shown of a test that failed.

use headship_tests::lab::overlap::Seconds;

use super::Cluster;

/// Lines of each host's journal.
const LINES: &str = "60";

/// Where services ran since the test began, and what each node's daemons said.
pub(super) fn of(cluster: &Cluster<'_>) -> String {
    let since = cluster.since();
    let mut text = format!("\n--- services, since {}", Seconds(since).to_string().trim());
    for life in cluster.log().map(|log| log.intervals()).unwrap_or_default() {
        if life.to >= since {
            text.push_str(&format!("\n{life}"));
        }
    }
    for host in cluster.lab().hosts() {
        text.push_str(&format!("\n--- {}, cable {}", host.name(), host.cuts_text()));
        let mut line =
            vec!["journalctl", "--no-pager", "--output", "short-monotonic", "--lines", LINES];
        line.extend([
            "-u",
            "*-fc.service",
            "-u",
            "*-ha-service.service",
            "-u",
            "health-monitor.service",
        ]);
        line.extend([
            "-u",
            "ambari-server.service",
            "-u",
            "livy.service",
            "-u",
            "ambari-agent.service",
        ]);
        match host.run(&line) {
            Ok(journal) => text.push_str(&format!("\n{}", journal.trim_end())),
            Err(error) => text.push_str(&format!("\n{error}")),
        }
    }
    text
}
