//! What happens to single HA services: started where they must not run, killed or stopped where they must.

use headship_tests::lab::service_log::{self, What};
use headship_tests::lab::{HA_UNITS, Host, Signal};

use super::cluster::{Cluster, FAILOVER, SERVICES, SOON};
use super::{Answer, Test};
use crate::Outcome;

pub(super) const FAST: [Test; 9] = [
    ("a_start_by_hand_on_the_standby_fails_with_our_sentence", refused_on_standby),
    ("a_service_started_past_the_gate_on_the_standby_is_killed_within_a_second", past_the_gate),
    ("each_service_that_is_killed_on_the_active_is_back", killed),
    ("each_service_that_is_killed_thrice_comes_back_within_its_budget", killed_thrice),
    ("each_service_that_is_stopped_by_hand_on_the_active_is_back", stopped_by_hand),
    ("a_unit_that_stays_active_without_its_process_is_started_again", exited),
    ("a_service_that_answers_wrongly_is_found_by_its_probe_and_started_anew", wrong),
    ("a_service_that_is_not_critical_is_given_up_and_nothing_moves", given_up),
    ("a_critical_service_that_is_given_up_moves_the_office_to_the_ready_peer", yields),
];

pub(super) const MORE: [Test; 2] = [
    ("a_service_that_hangs_is_found_by_its_unanswered_probe_and_started_anew", hung),
    ("a_critical_service_that_is_given_up_moves_nothing_without_a_ready_peer", stays),
];

/// A second, on the clock of the service log.
const SECOND: u64 = 1_000_000_000;

// B-09, B-23, B-36 (standby), B-37, K-1.
pub(super) fn refused_on_standby(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let (_, standby) = cluster.pair()?;
    for unit in HA_UNITS {
        let answer = standby.output(&["systemctl", "start", unit])?;
        assert_eq!(answer.status.code(), Some(1), "systemctl start {unit}");
        let status = String::from_utf8(
            standby.output(&["systemctl", "status", "--no-pager", "--full", unit])?.stdout,
        )?;
        let sentence = format!(
            "{unit}: this headnode holds no permit: HA services run on the active headnode only (see `headship status`)"
        );
        assert!(status.contains(&sentence), "{status}");
    }
    cluster.assert_untouched(&before)
}

// K-1, B-23, B-36 (standby): what runs all the same is stopped as soon as it is seen.
fn past_the_gate(cluster: &Cluster<'_>) -> Outcome {
    let (_, standby) = cluster.pair()?;
    let generator = "/etc/systemd/system-generators/headship-generator";
    standby.run(&["mkdir", "--parents", "/etc/systemd/system-generators"])?;
    standby.run(&["ln", "--symbolic", "/dev/null", generator])?;
    standby.run(&["systemctl", "daemon-reload"])?;
    let since = service_log::now();
    for service in SERVICES {
        // Whether systemd had time to see it running does not matter.
        standby.output(&["systemctl", "start", service])?;
        cluster.wait(&format!("{service} is gone"), SOON, || {
            (!standby.runs(&format!("{service}.service"))).then_some(())
        })?;
        // It may be killed before it can say that it began.
        if let Ok(began) = cluster.first(&standby, service, What::Start, since) {
            let lived = cluster.last_sign(&standby, service_log::now())? - began;
            assert!(lived < SECOND, "{service} ran for {} ms", lived / 1_000_000);
        }
    }
    let told = cluster.told(since)?;
    let started =
        told.iter().any(|event| event.host == standby.name() && event.what == What::Start);
    assert!(started, "the gate was there all the same");
    standby.run(&["rm", generator])?;
    standby.run(&["systemctl", "daemon-reload"])?;
    // It did run on two headnodes, as it had to be.
    cluster.was_on_purpose(since);
    let since = service_log::now();
    // The gate is back, and refuses.
    for unit in HA_UNITS {
        assert!(!standby.output(&["systemctl", "start", unit])?.status.success());
    }
    let told = cluster.told(since)?;
    assert!(told.is_empty(), "{told:?}");
    Ok(())
}

/// Waits until a service serves on `host` that began at or after `since`.
pub(super) fn wait_served(
    cluster: &Cluster<'_>,
    host: &Host,
    service: &str,
    since: u64,
) -> Answer<u64> {
    cluster.wait(&format!("{service} serves again on {}", host.name()), FAILOVER, || {
        let log = cluster.log().ok()?;
        let began = log.first(host.name(), service, What::Start, since)?;
        log.first(host.name(), service, What::Ready, began)
    })
}

/// Budgets start anew with the processes that count them.
pub(super) fn forget_budgets(cluster: &Cluster<'_>) -> Outcome {
    for host in cluster.lab().headnodes() {
        host.run(&["systemctl", "restart", "master-fc"])?;
        host.run(&["systemctl", "try-restart", "master-ha-service"])?;
    }
    cluster.wait_ready()
}

// B-08, B-36 (active), B-38, K-2: and the others do not notice.
pub(super) fn killed(cluster: &Cluster<'_>) -> Outcome {
    let (active, _) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    for service in SERVICES {
        let since = service_log::now();
        active.kill(&format!("{service}.service"), Signal::KILL)?;
        wait_served(cluster, &active, service, since)?;
        let told = cluster.told(since)?;
        assert!(told.iter().all(|event| event.service == service), "others were touched: {told:?}");
    }
    assert_eq!(cluster.epoch(&active)?, epoch);
    forget_budgets(cluster)
}

// K-2: systemd calls it active for ever.
fn exited(cluster: &Cluster<'_>) -> Outcome {
    let (active, _) = cluster.pair()?;
    let folder = "/run/systemd/system/livy.service.d";
    let text = "[Service]\\nRemainAfterExit=yes\\nRestart=no\\n";
    let write = format!("mkdir -p {folder} && printf '{text}' > {folder}/50-remain.conf");
    active.run(&["sh", "-c", &write])?;
    active.run(&["systemctl", "daemon-reload"])?;
    let since = service_log::now();
    active.kill("livy.service", Signal::TERM)?;
    let served = wait_served(cluster, &active, "livy", since);
    active.run(&["rm", "--recursive", folder])?;
    active.run(&["systemctl", "daemon-reload"])?;
    served?;
    forget_budgets(cluster)
}

// K-2: three times in a row is what the lab's budget allows.
fn killed_thrice(cluster: &Cluster<'_>) -> Outcome {
    let (active, _) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let begun = service_log::now();
    // All at once: a budget is each service's own.
    for _ in 0..3 {
        let since = service_log::now();
        for service in SERVICES {
            active.kill(&format!("{service}.service"), Signal::KILL)?;
        }
        for service in SERVICES {
            wait_served(cluster, &active, service, since)?;
        }
    }
    let told = cluster.told(begun)?;
    for service in SERVICES {
        let starts = told.iter().filter(|one| one.what == What::Start && one.service == service);
        assert_eq!(starts.count(), 3, "starts of {service}");
    }
    assert_eq!(cluster.epoch(&active)?, epoch);
    forget_budgets(cluster)
}

// B-08, B-36 (active).
fn stopped_by_hand(cluster: &Cluster<'_>) -> Outcome {
    let (active, _) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    for service in SERVICES {
        let since = service_log::now();
        active.run(&["systemctl", "stop", service])?;
        wait_served(cluster, &active, service, since)?;
    }
    assert_eq!(cluster.epoch(&active)?, epoch);
    forget_budgets(cluster)
}

// B-31, B-36 (active, unhealthy), K-3.
fn wrong(cluster: &Cluster<'_>) -> Outcome {
    let (active, _) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let since = service_log::now();
    cluster.lab().set_behaviour(active.name(), "livy", "http_status = 503")?;
    cluster.wait("livy is started anew", FAILOVER, || {
        cluster.log().ok()?.first(active.name(), "livy", What::Start, since)
    })?;
    cluster.lab().set_behaviour(active.name(), "livy", "")?;
    wait_served(cluster, &active, "livy", since)?;
    assert_eq!(cluster.epoch(&active)?, epoch);
    forget_budgets(cluster)
}

// K-3: what stands still accepts connections and answers none.
fn hung(cluster: &Cluster<'_>) -> Outcome {
    let (active, _) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let since = service_log::now();
    active.kill("livy.service", Signal::STOP)?;
    cluster.wait("livy is started anew", FAILOVER, || {
        cluster.log().ok()?.first(active.name(), "livy", What::Start, since)
    })?;
    wait_served(cluster, &active, "livy", since)?;
    let said = cluster.journal(&active, "master-ha-service")?;
    assert!(
        said.contains("livy is down: its http probe of 127.0.0.1:8998/ failed: asked"),
        "{said}"
    );
    assert_eq!(cluster.epoch(&active)?, epoch);
    forget_budgets(cluster)
}

/// Lets a service end each time right after its start, until its starter says that it gave it up.
fn exhaust(cluster: &Cluster<'_>, host: &Host, service: &str) -> Outcome {
    cluster.lab().set_behaviour(host.name(), service, "die_after_ms = 50")?;
    cluster.wait(&format!("{service} is given up"), FAILOVER, || {
        let said = cluster.journal(host, "master-ha-service").ok()?;
        said.contains(&format!("{service} is given up for now: given up after 3 restarts"))
            .then_some(())
    })
}

// B-38: a failover is not for a single service's failure.
fn given_up(cluster: &Cluster<'_>) -> Outcome {
    let (active, _) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let since = service_log::now();
    exhaust(cluster, &active, "job-history")?;
    let starts = cluster.told(since)?;
    let starts = starts.iter().filter(|event| event.what == What::Start).count();
    assert_eq!(starts, 3, "restarts within the budget");
    cluster.wait_renewed(&active, std::time::Duration::from_secs(2))?;
    assert_eq!((cluster.role(&active), cluster.epoch(&active)?), ("active".to_owned(), epoch));
    let others = SERVICES.into_iter().filter(|service| *service != "job-history");
    for service in others {
        assert!(
            cluster.first(&active, service, What::Stop, since).is_err(),
            "{service} was stopped"
        );
    }
    cluster.lab().set_behaviour(active.name(), "job-history", "")?;
    forget_budgets(cluster)?;
    wait_served(cluster, &active, "job-history", since).map(drop)
}

// K-2: the node yields only to a peer that is eligible and ready; this one is.
fn yields(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let since = service_log::now();
    exhaust(cluster, &active, "livy")?;
    cluster.wait_active(&standby, epoch)?;
    cluster.assert_started_on(&standby, since)?;
    cluster.lab().set_behaviour(active.name(), "livy", "")?;
    forget_budgets(cluster)
}

// B-33, K-2: never to a node that is worse, and never to none.
fn stays(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let since = service_log::now();
    standby.run(&["systemctl", "stop", "master-fc"])?;
    exhaust(cluster, &active, "livy")?;
    cluster.wait_renewed(&active, std::time::Duration::from_secs(3))?;
    assert_eq!((cluster.role(&active), cluster.epoch(&active)?), ("active".to_owned(), epoch));
    assert!(
        cluster.first(&active, "ambari-server", What::Stop, since).is_err(),
        "the other services were stopped"
    );
    // The peer is there again: now it is better.
    standby.run(&["systemctl", "start", "master-fc"])?;
    cluster.wait_active(&standby, epoch)?;
    cluster.lab().set_behaviour(active.name(), "livy", "")?;
    forget_budgets(cluster)
}
