//! Courses against a server and agents that answer as real ones did; time is the tests' own.

mod site;
mod start;
mod stop;

use super::*;

/// The component that the tests are about, on `h1`; `h2` is the other headnode.
fn component(body: Body) -> Component {
    let [url, cluster, name, host] =
        ["http://headnodehost:8080", "lab", "HISTORYSERVER", "h1"].map(str::to_owned);
    let credentials = Credentials::File("/etc/headship/ambari.credentials".to_owned());
    let server =
        Server { url, cluster, credentials, ca_file: None, limit_ms: 15_000, settle_ms: 25_000 };
    Component { server, name, host, others: vec!["h2".to_owned()], body }
}

fn gated() -> Component {
    component(Body::Unit("jhs.service".to_owned()))
}

fn ungated() -> Component {
    component(Body::Process("JobHistoryServer".to_owned()))
}
