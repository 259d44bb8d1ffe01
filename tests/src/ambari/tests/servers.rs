//! Hosts that are lost, servers that start, and what a login is.

use super::super::answer::base64;
use super::*;

#[test]
fn n_a_host_is_lost_after_a_minute_with_a_command_outstanding_and_what_it_held_is_given_up() {
    let mut site = Site::new();
    let start = id(&site.order("h1", "STARTED"));
    site.work();
    site.now += 59_000;
    site.work();
    assert_eq!(site.status(start).1, "QUEUED");
    site.now += 1000;
    site.work();
    assert_eq!(site.status(start).1, "ABORTED");
    assert_eq!(told(site.roles("h1")), "UNKNOWN,STARTED,OFF");
    // It is not redone when the agent returns.
    site.register("h1");
    site.report("h1", &[]);
    site.work();
    assert_eq!(site.status(start).1, "ABORTED");
    assert_eq!(told(site.roles("h1")), "INSTALLED,STARTED,OFF");
}

#[test]
fn n_a_host_waits_for_its_first_report_and_its_registration_rises() {
    let mut site = Site::fresh();
    let host = |site: &mut Site| {
        let told = parsed(&site.call("GET", "clusters/lab/hosts/h1", ""));
        let state = told["Hosts"]["host_state"].as_str().unwrap().to_owned();
        (state, told["Hosts"]["last_registration_time"].as_u64().unwrap())
    };
    assert_eq!(host(&mut site), ("HEARTBEAT_LOST".to_owned(), 0));
    site.register("h1");
    let (state, first) = host(&mut site);
    assert_eq!(state, "WAITING_FOR_HOST_STATUS_UPDATES");
    site.report("h1", &[]);
    assert_eq!(host(&mut site).0, "HEALTHY");
    site.register("h1");
    assert!(host(&mut site).1 > first);
}

#[test]
fn n_after_a_start_of_the_server_nothing_is_ready_and_what_was_queued_goes_on() {
    let mut site = Site::new();
    let first = id(&site.order("h1", "STARTED"));
    let second = id(&site.order("h1", "STARTED"));
    site.work();
    site.server = Server::new(1, &site.state);
    assert_eq!(site.roles("h1")[0], "UNKNOWN");
    assert_eq!(site.order("h1", "STARTED").status, 200);
    site.ends(first, "COMPLETED");
    site.work();
    assert_eq!(site.status(second).1, "QUEUED");
}

#[test]
fn n_without_its_database_a_server_answers_late_and_a_session_from_memory() {
    let mut site = Site::new();
    let cookie = site.call("GET", "check", "").cookie.unwrap();
    let session = [("cookie", cookie.as_str()), ("x-requested-by", "x")];
    site.state.database_is_away = true;
    let late = site.call("GET", "check", "");
    assert_eq!((late.status, late.after), (500, 10_000));
    assert_eq!(site.call_with("GET", "check", "", &[]).status, 403);
    assert_eq!(site.call_with("GET", "check", "", &session).body, "RUNNING");
    let path = format!("clusters/lab/hosts/h1/host_components/{JHS}");
    assert_eq!(site.call_with("GET", &path, "", &session).status, 200);
    assert_eq!(site.call_with("GET", "clusters", "", &session).status, 500);
    assert_eq!(site.call_with("PUT", &path, "{}", &session).status, 500);
}

#[test]
fn r_every_fault_of_a_login_is_403_and_a_cookie_wins_over_a_password() {
    let mut site = Site::new();
    let wrong = ("authorization", "Basic eDp5");
    assert_eq!(site.call_with("GET", "check", "", &[wrong]).status, 403);
    let begun = site.call("GET", "check", "");
    let cookie = begun.cookie.unwrap();
    let with = site.call_with("GET", "check", "", &[("cookie", &cookie), wrong]);
    assert_eq!((with.status, with.cookie), (200, None));
    assert_eq!(site.call_with("GET", "check", "", &[("cookie", "stale")]).status, 403);
    let renewed = site.call_with("GET", "check", "", &[("cookie", "stale"), ADMIN]);
    assert!(renewed.cookie.is_some());
    // Sessions die with the server.
    site.server = Server::new(1, &site.state);
    assert_eq!(site.call_with("GET", "check", "", &[("cookie", &cookie)]).status, 403);
    assert_eq!(base64(b"admin:secret"), "YWRtaW46c2VjcmV0");
}

#[test]
fn n_two_servers_on_one_database_give_up_each_others_requests_and_keep_their_own_caches() {
    let mut site = Site::new();
    let start = id(&site.order("h1", "STARTED"));
    site.work();
    let mut second = Server::new(2, &site.state);
    second.work(&mut site.state, site.now);
    site.maintain("h1", "ON");
    site.ends(start, "COMPLETED");
    // The task was carried out all the same.
    assert_eq!(site.status(start), ("ABORTED".to_owned(), "COMPLETED".to_owned()));
    std::mem::swap(&mut site.server, &mut second);
    assert_eq!(told(site.roles("h1")), "UNKNOWN,STARTED,OFF");
    assert_eq!(site.order("h1", "INSTALLED").status, 200);
}
