//! The facts that are stood in for, one by one. V, C, R and N are those of the measurements: verified, corrected, refuted, new.

mod running;
mod servers;

use serde_json::{Value, json};

use super::*;

const JHS: &str = "HISTORYSERVER";

/// A server without agents of its own: what they do is told here.
struct Site {
    state: State,
    server: Server,
    now: u64,
}

impl Site {
    /// After a start of the server, before any agent has registered.
    fn fresh() -> Self {
        let state = State::new("lab", ("MAPREDUCE2", JHS), &["h1", "h2"], Pace::default());
        let server = Server::new(1, &state);
        Self { state, server, now: 1_000_000 }
    }

    /// With both agents registered, and heard.
    fn new() -> Self {
        let mut site = Self::fresh();
        for host in ["h1", "h2"] {
            site.register(host);
            site.report(host, &[]);
        }
        site
    }

    fn register(&mut self, host: &str) {
        let (id, now) = (self.server.id, self.now);
        let shown = self.state.host(host);
        (shown.server, shown.registered, shown.beat) = (id, now, now);
        self.work();
    }

    fn report(&mut self, host: &str, runs: &[&str]) {
        let now = self.now;
        let shown = self.state.host(host);
        shown.report += 1;
        shown.beat = now;
        shown.runs = runs.iter().map(|it| (*it).to_owned()).collect();
        self.work();
    }

    fn work(&mut self) {
        self.now += 10;
        self.server.work(&mut self.state, self.now);
    }

    fn ends(&mut self, id: u64, status: &str) {
        let request = self.state.requests.iter_mut().find(|it| it.id == id).unwrap();
        status.clone_into(&mut request.status);
        self.work();
    }

    fn call(&mut self, method: &str, path: &str, body: &str) -> Reply {
        self.call_with(method, path, body, &[("x-requested-by", "x"), ADMIN])
    }

    fn call_with(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Reply {
        let [method, path, body] = [method, path, body].map(str::to_owned);
        let headers = headers.iter().map(|(it, value)| ((*it).to_owned(), (*value).to_owned()));
        let path = format!("/api/v1/{path}");
        let call = Call { method, path, headers: headers.collect(), body };
        self.server.answer(&mut self.state, &call)
    }

    fn put(&mut self, host: &str, body: &Value) -> Reply {
        self.call(
            "PUT",
            &format!("clusters/lab/hosts/{host}/host_components/{JHS}"),
            &body.to_string(),
        )
    }

    /// With the level HOST_COMPONENT.
    fn order(&mut self, host: &str, state: &str) -> Reply {
        self.order_at(host, state, "HOST_COMPONENT")
    }

    fn order_at(&mut self, host: &str, state: &str, level: &str) -> Reply {
        let level = json!({ "level": level, "cluster_name": "lab" });
        let info = json!({ "context": "x", "operation_level": level });
        self.put(host, &json!({ "RequestInfo": info, "Body": { "HostRoles": { "state": state } } }))
    }

    fn maintain(&mut self, host: &str, word: &str) -> Reply {
        self.put(host, &json!({ "HostRoles": { "maintenance_state": word } }))
    }

    /// State, desired state, maintenance.
    fn roles(&mut self, host: &str) -> [String; 3] {
        let path = format!("clusters/lab/hosts/{host}/host_components/{JHS}");
        let told = parsed(&self.call("GET", &path, ""));
        ["state", "desired_state", "maintenance_state"]
            .map(|key| told["HostRoles"][key].as_str().unwrap().to_owned())
    }

    fn status(&mut self, id: u64) -> (String, String) {
        let told = parsed(&self.call("GET", &format!("clusters/lab/requests/{id}"), ""));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&told["Requests"]["request_status"]), text(&told["tasks"][0]["Tasks"]["status"]))
    }

    fn abort(&mut self, id: u64, body: &Value) -> u16 {
        self.call("PUT", &format!("clusters/lab/requests/{id}"), &body.to_string()).status
    }
}

/// `admin:secret`
const ADMIN: (&str, &str) = ("authorization", "Basic YWRtaW46c2VjcmV0");

/// Nothing was queued, or nothing but that is told.
fn is_silent(reply: &Reply) -> bool {
    reply.status == 200 && reply.body.is_empty()
}

fn parsed(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    serde_json::from_str(&reply.body).unwrap()
}

fn id(reply: &Reply) -> u64 {
    assert_eq!(reply.status, 202, "{reply:?}");
    serde_json::from_str::<Value>(&reply.body).unwrap()["Requests"]["id"].as_u64().unwrap()
}

fn told(roles: [String; 3]) -> String {
    roles.join(",")
}

#[test]
fn v_a_write_without_the_header_is_refused_and_an_empty_one_is_enough() {
    let mut site = Site::new();
    let path = format!("clusters/lab/hosts/h1/host_components/{JHS}");
    let body = r#"{"HostRoles":{"maintenance_state":"ON"}}"#;
    let refused = site.call_with("PUT", &path, body, &[ADMIN]);
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("X-Requested-By HTTP header is required"));
    assert_eq!(site.call_with("PUT", &path, body, &[ADMIN, ("x-requested-by", "")]).status, 200);
    assert_eq!(site.call_with("GET", &path, "", &[ADMIN]).status, 200);
    // The login comes first.
    assert_eq!(site.call_with("PUT", &path, body, &[]).status, 403);
}

#[test]
fn c_an_order_is_accepted_by_202_and_ids_have_gaps() {
    let mut site = Site::new();
    let first = site.order("h1", "STARTED");
    assert!(first.body.contains(r#""status":"Accepted""#));
    assert!(is_silent(&site.order("h2", "INSTALLED")));
    let gap = id(&first) + 1;
    assert_eq!(id(&site.order("h2", "STARTED")), gap + 1);
    assert_eq!(site.call("GET", &format!("clusters/lab/requests/{gap}"), "").status, 404);
}

#[test]
fn v_200_with_an_empty_body_has_several_causes() {
    let mut site = Site::new();
    assert!(is_silent(&site.order("h1", "INSTALLED")));
    site.maintain("h1", "ON");
    assert!(is_silent(&site.order_at("h1", "STARTED", "SERVICE")));
    let mut fresh = Site::fresh();
    assert!(is_silent(&fresh.order("h1", "STARTED")));
    assert!(fresh.state.requests.is_empty() && site.state.requests.is_empty());
}

#[test]
fn n_what_is_ignored_as_unknown_changes_what_is_desired_and_what_is_in_maintenance_does_not() {
    let mut fresh = Site::fresh();
    fresh.order("h1", "STARTED");
    assert_eq!(told(fresh.roles("h1")), "UNKNOWN,STARTED,OFF");
    let mut site = Site::new();
    site.maintain("h1", "ON");
    site.order_at("h1", "STARTED", "CLUSTER");
    assert_eq!(told(site.roles("h1")), "INSTALLED,INSTALLED,ON");
}

#[test]
fn n_bodies_are_wrapped_in_three_ways_and_refused_in_as_many() {
    let roles = json!({ "maintenance_state": "ON" });
    for body in [
        json!({ "HostRoles": roles }),
        json!({ "Body": { "HostRoles": roles } }),
        json!({ "RequestInfo": { "context": "x" }, "Body": { "HostRoles": roles } }),
    ] {
        let mut site = Site::new();
        assert_eq!(site.put("h1", &body).status, 200);
        assert_eq!(told(site.roles("h1")), "INSTALLED,INSTALLED,ON");
    }
    let mut site = Site::new();
    let path = format!("clusters/lab/hosts/h1/host_components/{JHS}");
    for body in ["", "[]", r#"{"RequestInfo":{"context":"x"}}"#] {
        let refused = site.call("PUT", &path, body);
        assert_eq!(refused.status, 400, "{body}");
        assert!(refused.body.contains("Received an update request with no properties"));
    }
    assert_eq!(site.call("PUT", &path, "{").status, 400);
    assert_eq!(site.put("h1", &json!({ "HostRoles": { "bogus": 1 } })).status, 200);
    let long =
        json!({ "RequestInfo": { "context": "x".repeat(256) }, "Body": { "HostRoles": roles } });
    assert_eq!(site.put("h1", &long).status, 500);
    assert_eq!(told(site.roles("h1")), "INSTALLED,INSTALLED,OFF");
}

#[test]
fn n_500_refuses_a_stop_while_it_starts_and_a_second_start_is_queued_behind() {
    let mut site = Site::new();
    let first = id(&site.order("h1", "STARTED"));
    assert_eq!(site.order("h1", "INSTALLED").status, 500);
    let second = id(&site.order("h1", "STARTED"));
    site.work();
    assert_eq!((site.status(first).1, site.status(second).1), ("QUEUED".into(), "PENDING".into()));
}

#[test]
fn v_states_that_nobody_can_desire_are_refused_and_what_is_not_there_is_not_found() {
    let mut site = Site::new();
    let why = site.order("h1", "MAINTENANCE");
    assert_eq!(why.status, 400);
    assert!(why.body.contains("State.MAINTENANCE"));
    assert_eq!(site.order("h1", "STARTING").status, 400);
    let path = format!("clusters/lab/hosts/h1/host_components/{JHS}");
    assert_eq!(site.call("PATCH", &path, "{}").status, 405);
    for missing in [
        format!("clusters/other/hosts/h1/host_components/{JHS}"),
        format!("clusters/lab/hosts/h9/host_components/{JHS}"),
        "clusters/lab/hosts/h1/host_components/BOGUS".to_owned(),
        "clusters/lab/requests/77".to_owned(),
    ] {
        assert_eq!(site.call("GET", &missing, "").status, 404, "{missing}");
    }
}

#[test]
fn v_maintenance_is_set_at_once_to_on_or_off_and_nothing_else() {
    let mut site = Site::new();
    for _ in 0..2 {
        assert!(is_silent(&site.maintain("h1", "ON")));
        assert_eq!(told(site.roles("h1")), "INSTALLED,INSTALLED,ON");
    }
    for word in ["IMPLIED_FROM_HOST", "FOO", "on", ""] {
        assert_eq!(site.maintain("h1", word).status, 400, "{word}");
    }
    site.state.in_maintenance = vec!["h1".to_owned()];
    assert_eq!(site.roles("h1")[2], "ON");
    site.maintain("h1", "OFF");
    assert_eq!(site.roles("h1")[2], "IMPLIED_FROM_HOST");
    site.state.in_maintenance.push("MAPREDUCE2".to_owned());
    assert_eq!(site.roles("h1")[2], "IMPLIED_FROM_SERVICE_AND_HOST");
    assert_eq!(site.roles("h2")[2], "IMPLIED_FROM_SERVICE");
}

#[test]
fn v_the_level_decides_what_maintenance_lets_through() {
    let table = [
        ("ON", ["CLUSTER", "SERVICE", "HOST", "HOST_COMPONENT"], [false, false, false, true]),
        ("h1", ["CLUSTER", "SERVICE", "HOST", "HOST_COMPONENT"], [false, false, true, true]),
        (
            "MAPREDUCE2",
            ["CLUSTER", "SERVICE", "HOST", "HOST_COMPONENT"],
            [false, true, false, true],
        ),
    ];
    for (what, levels, carried_out) in table {
        for (level, carried_out) in levels.into_iter().zip(carried_out) {
            let mut site = Site::new();
            match what {
                "ON" => drop(site.maintain("h1", "ON")),
                other => site.state.in_maintenance.push(other.to_owned()),
            }
            let status = site.order_at("h1", "STARTED", level).status;
            assert_eq!(site.state.requests.len() == 1, carried_out, "{what} {level}");
            // HOST says 500 whatever it did.
            let expected = if level == "HOST" {
                500
            } else if carried_out {
                202
            } else {
                200
            };
            assert_eq!(status, expected, "{what} {level}");
        }
    }
}

#[test]
fn c_a_level_needs_a_cluster_and_a_known_name() {
    let mut site = Site::new();
    let order = |level: Value| json!({ "RequestInfo": { "operation_level": level }, "Body": { "HostRoles": { "state": "STARTED" } } });
    assert_eq!(
        site.put("h1", &order(json!({ "level": "BLA", "cluster_name": "lab" }))).status,
        400
    );
    assert_eq!(site.put("h1", &order(json!({ "level": "HOST_COMPONENT" }))).status, 400);
    let wrong = json!({ "level": "HOST_COMPONENT", "cluster_name": "lab", "host_name": "nowhere" });
    assert_eq!(site.put("h1", &order(wrong)).status, 202);
}

#[test]
fn v_a_start_of_what_is_dead_and_believed_to_run_is_ignored_until_a_report() {
    let mut site = Site::new();
    let start = id(&site.order("h1", "STARTED"));
    site.ends(start, "COMPLETED");
    assert_eq!(site.roles("h1")[0], "STARTED");
    assert_eq!(site.order("h1", "STARTED").status, 200);
    site.report("h1", &[]);
    assert_eq!(told(site.roles("h1")), "INSTALLED,STARTED,OFF");
    assert_eq!(site.order("h1", "STARTED").status, 202);
}

#[test]
fn n_a_stop_of_what_runs_and_is_believed_stopped_is_ignored_until_a_report() {
    let mut site = Site::new();
    assert_eq!(site.order("h1", "INSTALLED").status, 200);
    site.report("h1", &[JHS]);
    assert_eq!(told(site.roles("h1")), "STARTED,INSTALLED,OFF");
    assert_eq!(site.order("h1", "INSTALLED").status, 202);
}

#[test]
fn v_restart_is_queued_whatever_is_believed_and_whatever_the_maintenance() {
    let body = json!({
        "RequestInfo": { "command": "RESTART", "context": "x" },
        "Requests/resource_filters": [{ "component_name": JHS, "hosts": "h1" }],
    });
    let mut site = Site::new();
    site.maintain("h1", "ON");
    assert_eq!(site.call("POST", "clusters/lab/requests", &body.to_string()).status, 202);
    let mut lost = Site::fresh();
    let queued = id(&lost.call("POST", "clusters/lab/requests", &body.to_string()));
    assert_eq!(lost.status(queued).1, "ABORTED");
    assert_eq!(lost.roles("h1")[1], "STARTED");
}

#[test]
fn n_a_report_may_overwrite_what_is_starting() {
    let mut site = Site::new();
    let start = id(&site.order("h1", "STARTED"));
    site.work();
    site.report("h1", &[]);
    assert_eq!(site.roles("h1")[0], "INSTALLED");
    site.ends(start, "COMPLETED");
    assert_eq!(site.roles("h1")[0], "STARTED");
}

#[test]
fn n_one_thing_at_a_time_a_host_and_hosts_beside_each_other() {
    let mut site = Site::new();
    let slow = id(&site.order("h1", "STARTED"));
    let other = id(&site.order("h2", "STARTED"));
    let behind = id(&site.order("h1", "STARTED"));
    site.work();
    let status = |site: &mut Site, id| site.status(id).1;
    assert_eq!(status(&mut site, slow), "QUEUED");
    assert_eq!(status(&mut site, other), "QUEUED");
    assert_eq!(status(&mut site, behind), "PENDING");
    site.ends(slow, "COMPLETED");
    assert_eq!(status(&mut site, behind), "QUEUED");
}

#[test]
fn n_an_abort_needs_a_reason_and_is_at_once() {
    let mut site = Site::new();
    let start = id(&site.order("h1", "STARTED"));
    let bare = json!({ "Requests": { "request_status": "ABORTED" } });
    assert_eq!(site.abort(start, &bare), 400);
    let body = json!({ "Requests": { "request_status": "ABORTED", "abort_reason": "x" } });
    assert_eq!((site.abort(start, &body), site.abort(start, &body)), (200, 200));
    assert_eq!(site.status(start), ("ABORTED".to_owned(), "ABORTED".to_owned()));
    assert_eq!(site.abort(77, &body), 404);
}

#[test]
fn n_the_list_shows_the_newest_only_if_asked_for_its_end() {
    let mut site = Site::new();
    for _ in 0..25 {
        site.order("h1", "STARTED");
    }
    let mut ids = |query: &str| -> Vec<u64> {
        let told = parsed(&site.call("GET", &format!("clusters/lab/requests{query}"), ""));
        let items = told["items"].as_array().unwrap().clone();
        items.iter().map(|it| it["Requests"]["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids(""), (6..=25).collect::<Vec<_>>());
    assert_eq!(ids("?to=end&page_size=3"), [23, 24, 25]);
    assert_eq!(ids("?page_size=3&sortBy=Requests/id.desc"), [3, 2, 1]);
    assert_eq!(ids("?Requests/request_status=COMPLETED"), [0; 0]);
    for refused in
        ["?from=end", "?Requests/request_status=PENDING", "?Requests/request_status=ABORTED"]
    {
        let reply = site.call("GET", &format!("clusters/lab/requests{refused}"), "");
        assert_eq!(reply.status, 400, "{refused}");
    }
}
