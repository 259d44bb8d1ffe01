//! The fence methods: whether each could be asked on this host, and what the fence agents say of the other headnodes.
//!
//! Nothing is switched: an agent is asked for `monitor`, `status` and `list` only. A command cannot be tried, as that would
//! fence; that its program is there is all that can be seen before it is needed.

use std::collections::BTreeMap;
use std::time::Duration;

use headship_core::config::Config;
use headship_core::config::checked::{FenceKind, FenceMethod, Headnode};
use headship_core::fencing::agent::{Action, Power, power};
use headship_core::fencing::knock::{LIMIT, Reach, judge};
use headship_core::fencing::{End, Run};
use headship_core::node::NodeName;
use headship_daemon::Exit;
use headship_drivers::fence::Fence;
use headship_drivers::host::run::RunDir;
use headship_drivers::knock;

use super::host::where_named;
use super::{Area, Finding};
use crate::args::Place;

/// What was seen of the fence methods.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Why a method cannot be asked, by its place in the list, with the line of the configuration where that is known.
    unfit: BTreeMap<usize, String>,
    /// What agents said.
    asked: Vec<Asked>,
    /// What came back from each other headnode that has a fence agent, when it was knocked at.
    reach: BTreeMap<NodeName, Reach>,
    /// Whether agents were asked: only root reads their secrets, and has them run.
    root: bool,
}

/// What an agent said of one headnode.
#[derive(Debug)]
struct Asked {
    method: usize,
    node: NodeName,
    monitor: Run,
    status: Run,
    list: (Run, String),
}

/// Looks at the methods, and asks the agents.
pub(super) async fn look(config: &Config, place: &Place) -> Seen {
    let mut seen = Seen { root: nix::unistd::geteuid().is_root(), ..Seen::default() };
    if !config.is_headnode() {
        return seen;
    }
    for peer in config.peers().filter(|peer| has_agent(config, peer)) {
        let knocked = knock(&peer.address, LIMIT).await;
        seen.reach.insert(peer.name.clone(), judge(&knocked));
    }
    let fence = Fence::new(config, &RunDir::new(&place.run));
    for (number, method) in config.fencing.methods.iter().enumerate() {
        match fence.unfit(number) {
            Some(_) if !seen.root && matches!(method.kind, FenceKind::Agent { .. }) => {}
            Some(why) => {
                let at = named(method).iter().find_map(|(key, program)| {
                    let file = program.rsplit('/').next().unwrap_or_default();
                    where_named(&place.config, key, program)
                        .or_else(|| where_named(&place.config, key, file))
                });
                let at = at.map_or_else(String::new, |at| format!("{at}: "));
                seen.unfit.insert(number, format!("{at}fence method `{}` {why}", method.name));
            }
            None if seen.root => {
                for peer in config.peers().filter(|peer| method.fences(&peer.name)) {
                    seen.asked.extend(ask(&fence, number, &peer.name, method.limit).await);
                }
            }
            None => {}
        }
    }
    seen
}

/// Whether a fence agent may switch it off before its office is claimed.
pub(super) fn has_agent(config: &Config, headnode: &Headnode) -> bool {
    let mut methods = config.fencing.methods.iter();
    methods.any(|method| method.is_agent() && method.fences(&headnode.name))
}

/// The key and the program of a method, as they may stand in the file.
fn named(method: &FenceMethod) -> Vec<(&'static str, &str)> {
    match &method.kind {
        FenceKind::Agent { program, .. } => vec![("agent", program)],
        FenceKind::Ssh { .. } => Vec::new(),
        FenceKind::Command { command } => {
            command.first().map(|program| ("command", program.as_str())).into_iter().collect()
        }
    }
}

async fn ask(fence: &Fence, method: usize, node: &NodeName, limit: Duration) -> Option<Asked> {
    let (monitor, _) = fence.look(method, node, Action::Monitor, limit).await?;
    let (status, _) = fence.look(method, node, Action::Status, limit).await?;
    let list = fence.look(method, node, Action::List, limit).await?;
    Some(Asked { method, node: node.clone(), monitor, status, list })
}

/// What follows from it.
pub(super) fn findings(config: &Config, seen: &Seen) -> Vec<Finding> {
    if !config.is_headnode() {
        return Vec::new();
    }
    let methods = &config.fencing.methods;
    if methods.is_empty() {
        return vec![Area::Fencing.advice(format!(
            "there is no fence method: a lost active is waited out ({:?}), and a host that is frozen or paused as a whole for longer than that is not covered; a `[[fence]]` with a fence agent covers it",
            config.timing.wait()
        ))];
    }
    let mut findings: Vec<Finding> =
        config.headnodes.iter().map(|headnode| limits(config, headnode)).collect();
    findings.extend(seen.reach.iter().filter_map(|(node, reach)| of_reach(node, reach)));
    for (number, method) in methods.iter().enumerate() {
        match seen.unfit.get(&number) {
            Some(why) => findings.push(Area::Fencing.fault(Exit::Configuration, why.clone())),
            None => findings.extend(of_method(method, seen.root)),
        }
        let asked = seen.asked.iter().filter(|asked| asked.method == number);
        findings.extend(asked.flat_map(|asked| of_agent(method, asked)));
    }
    findings
}

/// How long fencing of a headnode may take.
fn limits(config: &Config, headnode: &Headnode) -> Finding {
    let Headnode { name, .. } = headnode;
    let methods = config.fencing.methods.iter().filter(|method| method.fences(name));
    let each: Vec<String> =
        methods.clone().map(|method| format!("{} {:?}", method.name, method.limit)).collect();
    if each.is_empty() {
        return Area::Fencing
            .warning(format!("no fence method fences {name}: name it in the `node` of one"));
    }
    let sum = methods.fold(Duration::ZERO, |sum, method| sum.saturating_add(method.limit));
    Area::Fencing.ok(format!(
        "fencing {name} takes {sum:?} at most ({}), of {:?} that all methods are given",
        each.join(", "),
        config.fencing.budget
    ))
}

/// A host that answers nothing while it lives is not fenced before its office is claimed: its silence says nothing.
fn of_reach(node: &NodeName, reach: &Reach) -> Option<Finding> {
    let why = match reach {
        Reach::Answers { .. } => return None,
        Reach::Silent => "answers neither a connection to port 22 nor an echo".to_owned(),
        Reach::Unknown { why } => format!("cannot be asked whether it lives ({why})"),
    };
    Some(Area::Fencing.warning(format!(
        "{node} {why}: if it is up, its fence agent is asked only when its session is over; let one of the two through its firewall"
    )))
}

fn of_method(method: &FenceMethod, root: bool) -> Option<Finding> {
    let name = &method.name;
    Some(match &method.kind {
        FenceKind::Agent { program, .. } if program.ends_with("/fence_dummy") => {
            Area::Fencing.warning(format!(
                "fence method `{name}`: fence_dummy switches nothing off, and says that it did: use it in tests only"
            ))
        }
        FenceKind::Agent { .. } if root => return None,
        FenceKind::Agent { .. } => Area::Fencing.advice(format!(
            "fence method `{name}`: only root can ask its agent: run `headship check` as root"
        )),
        FenceKind::Ssh { .. } => Area::Fencing.ok(format!(
            "fence method `{name}`: ssh takes down a host that hangs; a silent host stays unknown to it"
        )),
        FenceKind::Command { .. } => Area::Fencing.ok(format!(
            "fence method `{name}`: its program is there; what it does shows only when it fences"
        )),
    })
}

fn of_agent(method: &FenceMethod, asked: &Asked) -> Vec<Finding> {
    let (name, node) = (&method.name, &asked.node);
    let told = |what: &str| format!("fence method `{name}`: {what}");
    if asked.monitor.end != End::Exited(0) {
        let what = format!(
            "its device does not answer (`monitor` {}), so {node} could not be fenced: see the agent's manual",
            asked.monitor
        );
        return vec![Area::Fencing.warning(told(&what))];
    }
    let status = match power(&asked.status) {
        Some(Power::On) => {
            Area::Fencing.ok(told(&format!("its agent answers, and says that {node} is on")))
        }
        Some(Power::Off) => Area::Fencing.warning(told(&format!(
            "its agent says that {node} is off: if it is not, the agent is told of another plug"
        ))),
        None => Area::Fencing.warning(told(&format!(
            "`status` of {node} {}: a Yes needs an answer to that",
            asked.status
        ))),
    };
    let missing = plug_of(method, node).and_then(|plug| missing_in(plug, &asked.list));
    let missing = missing.map(|it| Area::Fencing.warning(told(&format!("{it} ({node})"))));
    [status].into_iter().chain(missing).collect()
}

/// What the agent knows a headnode by, if it is a plug.
fn plug_of<'a>(method: &'a FenceMethod, node: &NodeName) -> Option<&'a str> {
    match &method.kind {
        FenceKind::Agent { nodes, .. } => {
            let told = nodes.get(node)?;
            told.get("port").or_else(|| told.get("plug")).map(String::as_str)
        }
        FenceKind::Ssh { .. } | FenceKind::Command { .. } => None,
    }
}

/// Whether a list of plugs (`plug,alias` a line) lacks this one. An agent that has no list says nothing of the kind.
fn missing_in(plug: &str, (run, output): &(Run, String)) -> Option<String> {
    let pairs: Vec<(&str, &str)> =
        output.lines().filter_map(|line| line.trim().split_once(',')).collect();
    let known = pairs.iter().any(|(name, alias)| *name == plug || *alias == plug);
    if run.end != End::Exited(0) || pairs.is_empty() || known {
        return None;
    }
    Some(format!("its device has no plug `{plug}`: `list` shows the plugs that it has"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::tests::{config, node};

    fn run(status: i32) -> Run {
        Run { end: End::Exited(status), said: String::new() }
    }

    fn with(kind: FenceKind) -> Config {
        let mut config = config();
        let limit = Duration::from_secs(20);
        config.fencing.methods = vec![FenceMethod { name: "ipmi".to_owned(), limit, kind }];
        config
    }

    fn agent() -> Config {
        let told = |plug: &str| BTreeMap::from([("plug".to_owned(), plug.to_owned())]);
        let nodes = [(node("hn0"), told("1")), (node("hn1"), told("2"))].into();
        with(FenceKind::Agent {
            program: "/usr/sbin/fence_x".to_owned(),
            secrets_file: None,
            nodes,
        })
    }

    fn told(monitor: i32, status: i32, list: &str) -> Vec<(Level, String)> {
        let list = (run(0), list.to_owned());
        let asked = Asked {
            method: 0,
            node: node("hn1"),
            monitor: run(monitor),
            status: run(status),
            list,
        };
        let seen = Seen { asked: vec![asked], root: true, ..Seen::default() };
        let findings = findings(&agent(), &seen);
        // Behind one line of limits for each headnode.
        findings.into_iter().skip(2).map(|it| (it.level, it.text)).collect()
    }

    #[test]
    fn an_agent_that_answers_of_the_right_plug_is_well() {
        let well = told(0, 0, "1,hn0\n2,hn1\n");
        assert_eq!(well.len(), 1, "{well:#?}");
        assert_eq!(well[0].0, Level::Ok);
        assert_eq!(told(0, 0, "N/A\n").len(), 1);
        let wrong = told(0, 0, "1,hn0\n3,hn1\n");
        assert_eq!(wrong[1].0, Level::Warning);
        assert!(wrong[1].1.contains("its device has no plug `2`"), "{wrong:#?}");
    }

    #[test]
    fn a_headnode_that_answers_nothing_is_a_warning() {
        let found = |reach| {
            let seen = Seen { reach: [(node("hn1"), reach)].into(), root: true, ..Seen::default() };
            let mut found = findings(&agent(), &seen).into_iter().skip(2);
            found.next().map(|it| (it.level, it.text))
        };
        assert_eq!(found(Reach::Answers { how: "it answers an echo" }), None);
        let (level, text) = found(Reach::Silent).unwrap();
        assert_eq!(level, Level::Warning);
        assert!(text.starts_with("hn1 answers neither a connection to port 22 nor an echo: "));
        let (_, text) = found(Reach::Unknown { why: "no route".to_owned() }).unwrap();
        assert!(text.starts_with("hn1 cannot be asked whether it lives (no route): "), "{text}");
    }

    #[test]
    fn an_agent_that_could_not_fence_is_a_warning() {
        for (monitor, status) in [(1, 0), (5, 0), (0, 1), (0, 2)] {
            let told = told(monitor, status, "");
            assert_eq!((told.len(), told[0].0), (1, Level::Warning), "{told:#?}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_a_fault_of_the_configuration() {
        let why = "headship.toml:9: fence method `ipmi` cannot be run".to_owned();
        let seen = Seen { unfit: [(0, why.clone())].into(), root: true, ..Seen::default() };
        let found = findings(&agent(), &seen);
        let fault = found.iter().find(|it| it.level == Level::Fault).unwrap();
        assert_eq!((fault.exit, &fault.text), (Exit::Configuration, &why));
    }

    #[test]
    fn limits_are_told_for_each_headnode_and_one_without_a_method_is_a_warning() {
        let found = findings(&agent(), &Seen::default());
        let limit = "fencing hn0 takes 20s at most (ipmi 20s), of 60s that all methods are given";
        assert_eq!((found[0].level, found[0].text.as_str()), (Level::Ok, limit));
        let mut config = agent();
        if let FenceKind::Agent { nodes, .. } = &mut config.fencing.methods[0].kind {
            nodes.remove(&node("hn1"));
        }
        assert_eq!(findings(&config, &Seen::default())[1].level, Level::Warning);
    }

    #[test]
    fn without_a_method_the_wait_is_told_as_advice_and_a_worker_needs_none() {
        let mut config = config();
        let found = findings(&config, &Seen::default());
        assert_eq!((found.len(), found[0].level), (1, Level::Advice));
        config.node = node("worker7");
        assert_eq!(findings(&config, &Seen::default()), []);
    }
}
