//! The lab's own fence device: that it does what the tests of fencing rely on, and lies, hangs and fails on request.

use headship_tests::lab::Host;
use headship_tests::lab::power::{Manner, fence_fragment};

use super::cluster::{Cluster, SOON};
use super::{Answer, Test};
use crate::Outcome;

pub(super) const MORE: [Test; 3] = [
    ("a_check_likes_the_fence_agent_of_the_lab", checked),
    ("the_fence_agent_of_the_lab_takes_a_headnodes_power_for_real", switches),
    ("the_fence_device_of_the_lab_lies_hangs_and_fails_on_request", misbehaves),
];

const FRAGMENT: &str = "/etc/headship/conf.d/70-fence.toml";

/// Asks the agent on a host about another one; returns its exit status and what it said.
fn agent(at: &Host, about: &Host, action: &str) -> Answer<(Option<i32>, String)> {
    let address = at.address();
    let (network, _) = address.rsplit_once('.').ok_or("no address")?;
    let told = format!("ip={network}.1\\nplug={}\\naction={action}\\n", about.name());
    let line = format!("printf '{told}' | timeout 5 fence_lab");
    let output = at.output(&["sh", "-c", &line])?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ok((output.status.code(), said))
}

fn checked(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    standby.write_file(FRAGMENT, &fence_fragment(cluster.lab().place()))?;
    let output = standby.output(&["headship", "check", "--json"])?;
    standby.run(&["rm", FRAGMENT])?;
    let page: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let findings = page.get("findings").and_then(|it| it.as_array()).ok_or("no findings")?;
    let fencing: Vec<(&str, &str)> = findings
        .iter()
        .filter(|finding| finding.get("area").is_some_and(|area| area == "fencing"))
        .filter_map(|finding| {
            Some((finding.get("level")?.as_str()?, finding.get("text")?.as_str()?))
        })
        .collect();
    assert!(fencing.iter().all(|(level, _)| *level == "ok"), "{fencing:#?}");
    let answers = format!("its agent answers, and says that {} is on", active.name());
    assert!(fencing.iter().any(|(_, text)| text.ends_with(&answers)), "{fencing:#?}");
    Ok(())
}

fn switches(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    assert_eq!(agent(&active, &standby, "status")?.0, Some(0));
    assert_eq!(agent(&active, &standby, "off")?.0, Some(0));
    assert!(!standby.has_power());
    assert_eq!(agent(&active, &standby, "status")?.0, Some(2));
    // What is off already is off.
    assert_eq!(agent(&active, &standby, "off")?.0, Some(0));
    assert_eq!(agent(&active, &standby, "on")?.0, Some(0));
    standby.wait_booted()?;
    cluster.wait_role(&standby, "standby")?;
    let list = agent(&active, &standby, "list")?.1;
    assert!(list.lines().any(|line| line == format!("{0},{0}", standby.name())), "{list}");
    assert_eq!(agent(&active, &standby, "monitor")?.0, Some(0));
    assert!(agent(&active, &standby, "metadata")?.1.contains("name=\"fence_lab\""));
    Ok(())
}

fn misbehaves(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let (active, standby) = cluster.pair()?;
    let lab = cluster.lab();
    let boot = active.boot_id()?;
    lab.set_power_manner(&Manner { lies: true, ..Manner::default() })?;
    assert_eq!(agent(&standby, &active, "status")?.0, Some(0));
    assert_eq!(agent(&standby, &active, "off")?.0, Some(0));
    assert_eq!(agent(&standby, &active, "status")?.0, Some(2));
    lab.set_power_manner(&Manner { fails: true, ..Manner::default() })?;
    let (status, said) = agent(&standby, &active, "off")?;
    assert!(status == Some(1) && said.contains("it fails, as it was told to"), "{said}");
    lab.set_power_manner(&Manner { hangs: true, ..Manner::default() })?;
    // As `timeout` tells that it had to end it.
    assert_eq!(agent(&standby, &active, "off")?.0, Some(124));
    lab.set_power_manner(&Manner::default())?;
    assert_eq!(agent(&standby, &active, "status")?.0, Some(0));
    assert_eq!(active.boot_id()?, boot, "it was switched off all the same");
    cluster.wait("the active is left alone", SOON, || {
        (cluster.role(&active) == "active").then_some(())
    })?;
    cluster.assert_untouched(&before)
}
