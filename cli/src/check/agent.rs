//! The unit of this node's agent: whether slave-fc can restart it without harm, and see that it has ended.

use headship_core::config::Config;
use headship_core::config::checked::Driver;
use headship_drivers::host::reboot::booted_by_systemd;

use super::host::{Unit, property, show};
use super::{Area, Finding};

/// Looks at it, where there is one.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let agent = config.follow.as_ref().and_then(|follow| follow.agent.as_ref());
    let Some(Driver::Systemd { unit: name }) = agent.filter(|_| booted_by_systemd()) else {
        return Vec::new();
    };
    match show(&[name]) {
        Ok(units) => units.get(name).map_or_else(Vec::new, |unit| judge(name, unit)),
        Err(why) => {
            vec![Area::Host.warning(format!("nothing is known of the agent's unit: {why}"))]
        }
    }
}

/// What follows from what systemd says of it.
fn judge(name: &str, unit: &Unit) -> Vec<Finding> {
    let load = property(unit, "LoadState");
    if load != "loaded" {
        return vec![Area::Host.warning(format!(
            "the agent's unit `{name}` cannot be used here ({load}), so this node counts as not following: install the agent, or correct `agent_unit`"
        ))];
    }
    let mut findings = Vec::new();
    if let kill @ ("control-group" | "mixed") = property(unit, "KillMode") {
        findings.push(Area::Host.warning(format!(
            "the agent's unit `{name}` has KillMode={kill}, so each restart of the agent ends what it started, such as the node's daemons: set KillMode=process in a drop-in (`systemctl edit {name}`)"
        )));
    }
    // A process that fails takes its unit down with it; one that ends well cannot be told from a wrapper that did its work.
    if property(unit, "RemainAfterExit") == "yes" {
        findings.push(Area::Host.warning(format!(
            "the agent's unit `{name}` stays active after its process has ended well (RemainAfterExit=yes), so nobody would start an agent again that ended by itself: set RemainAfterExit=no in a drop-in (`systemctl edit {name}`)"
        )));
    }
    if findings.is_empty() {
        findings.push(Area::Host.ok(format!("the agent's unit `{name}` can be restarted alone")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use headship_daemon::Exit;

    use super::*;

    fn told(properties: &[(&str, &str)]) -> Vec<(Exit, String)> {
        let sound = [("LoadState", "loaded"), ("KillMode", "process"), ("RemainAfterExit", "no")];
        let all = sound.iter().chain(properties);
        let unit = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        judge("a.service", &unit).into_iter().map(|it| (it.exit, it.text)).collect()
    }

    #[test]
    fn an_agent_that_would_take_what_it_started_with_it_is_warned_of() {
        let text = "the agent's unit `a.service` can be restarted alone".to_owned();
        assert_eq!(told(&[]), [(Exit::Ok, text)]);
        for kill in ["control-group", "mixed"] {
            let found = told(&[("KillMode", kill)]);
            let [(Exit::Degraded, text)] = found.as_slice() else { panic!("{found:?}") };
            assert!(text.contains("ends what it started"), "{text}");
        }
        assert_eq!(told(&[("KillMode", "none")]).len(), 1);
    }

    #[test]
    fn an_agent_whose_end_nobody_would_see_is_warned_of() {
        let both = told(&[("KillMode", "mixed"), ("RemainAfterExit", "yes")]);
        assert_eq!(both.iter().map(|(exit, _)| *exit).collect::<Vec<_>>(), [Exit::Degraded; 2]);
        assert!(both[1].1.contains("stays active after its process has ended"), "{both:?}");
    }

    #[test]
    fn an_agent_that_is_not_there_is_told_of_and_nothing_else_of_it() {
        let found = told(&[("LoadState", "not-found"), ("KillMode", "control-group")]);
        let [(Exit::Degraded, text)] = found.as_slice() else { panic!("{found:?}") };
        assert!(text.contains("cannot be used here (not-found)"), "{text}");
    }
}
