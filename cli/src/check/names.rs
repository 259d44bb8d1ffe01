//! Whether the names of servers and headnodes have addresses on this host, and such as others can reach.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};

use headship_core::config::Config;
use headship_daemon::Exit;
use tokio::task::spawn_blocking;

use super::{Area, Finding};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    FailoverServer,
    /// What the configuration gives as a headnode's address.
    HeadnodeAddress,
    ApacheServer,
    /// What the configuration calls a headnode. Nothing here asks for its address; Hadoop's programs do.
    HeadnodeName,
}

/// The addresses of a name on this host, or why it has none.
type Resolved = Result<Vec<IpAddr>, String>;

/// Looks all of them up.
pub(super) async fn findings(config: &Config) -> Vec<Finding> {
    let names = names(config);
    let looked_up = spawn_blocking(move || {
        names.into_iter().map(|(name, of)| (resolve(&name), name, of)).collect::<Vec<_>>()
    });
    judge(&looked_up.await.unwrap_or_default())
}

/// Each name once, by what it is needed for most.
fn names(config: &Config) -> Vec<(String, Of)> {
    let host = |server: &String| server.rsplit_once(':').map(|(host, _)| host.to_owned());
    let apache = config.apache_quorum.iter().flat_map(|quorum| &quorum.servers);
    let all =
        (config.quorum.servers.iter().filter_map(host).map(|name| (name, Of::FailoverServer)))
            .chain(config.headnodes.iter().map(|it| (it.address.clone(), Of::HeadnodeAddress)))
            .chain(apache.filter_map(host).map(|name| (name, Of::ApacheServer)))
            .chain(config.headnodes.iter().map(|it| (it.name.to_string(), Of::HeadnodeName)));
    let mut names: Vec<(String, Of)> = Vec::new();
    for (name, of) in all {
        if !names.iter().any(|(known, _)| *known == name) {
            names.push((name, of));
        }
    }
    names
}

fn bare(name: &str) -> &str {
    name.trim_start_matches('[').trim_end_matches(']')
}

fn resolve(name: &str) -> Resolved {
    let found = (bare(name), 0).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.sort();
    addresses.dedup();
    Ok(addresses)
}

fn judge(names: &[(Resolved, String, Of)]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (resolved, name, of) in names {
        findings.extend(match resolved {
            Err(why) => Some(unresolved(name, *of, why)),
            Ok(addresses) => only_here(name, addresses),
        });
    }
    findings.extend(shared(names));
    let needed = names.iter().filter(|(.., of)| *of != Of::HeadnodeName);
    if findings.is_empty() {
        let total = needed.count();
        let text = format!("all {total} of servers and headnodes have an address here");
        findings.push(Area::Names.ok(text));
    }
    findings
}

fn unresolved(name: &str, of: Of, why: &str) -> Finding {
    const WAY_OUT: &str = "enter it in DNS, or in /etc/hosts of every node";
    let text = format!("`{name}` has no address here ({why}): {WAY_OUT}");
    match of {
        Of::FailoverServer | Of::HeadnodeAddress => Area::Names.fault(Exit::Failed, text),
        Of::ApacheServer => Area::Names.warning(format!("Apache quorum: {text}")),
        Of::HeadnodeName => Area::Names.advice(format!(
            "headnode `{name}` has no address here by that name ({why}): if it is its host name, Hadoop needs it: {WAY_OUT}"
        )),
    }
}

/// A name that leads to this host itself and nowhere else, though it does not say so.
fn only_here(name: &str, addresses: &[IpAddr]) -> Option<Finding> {
    let says_so = bare(name).parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost");
    let address = addresses.iter().find(|address| address.is_loopback())?;
    (!says_so).then(|| {
        Area::Names.warning(format!(
            "`{name}` is {address} here, which no other host reaches: what binds to it is seen by this host alone; give it its address in the network (Debian's installer writes such a line into /etc/hosts)"
        ))
    })
}

/// Names of one kind that lead to one host: what looks like two is one, and is lost as one.
fn shared(names: &[(Resolved, String, Of)]) -> Vec<Finding> {
    let mut of_address: BTreeMap<(Of, IpAddr), Vec<&str>> = BTreeMap::new();
    for (resolved, name, of) in names {
        for address in resolved.iter().flatten().filter(|address| !address.is_loopback()) {
            of_address.entry((*of, *address)).or_default().push(name);
        }
    }
    let shared = of_address.into_iter().filter(|(_, names)| names.len() > 1);
    let told = shared.map(|((_, address), names)| {
        Area::Names.warning(format!(
            "{} have one address here, {address}: they are one host, and lost together; see DNS and /etc/hosts",
            names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ")
        ))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::tests::config;

    /// A name, what it stands for, and its addresses or why it has none.
    type Case<'a> = (&'a str, Of, Result<&'a [&'a str], &'a str>);

    fn told(names: &[Case<'_>]) -> Vec<(Level, String)> {
        let names: Vec<(Resolved, String, Of)> = names
            .iter()
            .map(|(name, of, found)| {
                let addresses =
                    |found: &[&str]| found.iter().map(|it| it.parse().unwrap()).collect();
                (found.map(addresses).map_err(str::to_owned), (*name).to_owned(), *of)
            })
            .collect();
        judge(&names).into_iter().map(|it| (it.level, it.text)).collect()
    }

    #[test]
    fn each_name_is_looked_up_once_and_those_of_the_apache_quorum_too() {
        let mut config = config();
        config.apache_quorum = Some(headship_core::config::checked::ApacheQuorum {
            servers: vec!["zk0:2182".to_owned(), "[fd00::1]:2182".to_owned()],
            hdfs: String::new(),
            yarn: String::new(),
            hbase: String::new(),
        });
        let names: Vec<String> = names(&config).into_iter().map(|(name, _)| name).collect();
        let expected = ["zk0", "zk1", "zk2", "10.0.0.10", "10.0.0.11", "[fd00::1]", "hn0", "hn1"];
        assert_eq!(names, expected);
    }

    #[test]
    fn names_that_all_lead_somewhere_are_one_line() {
        let told = told(&[
            ("zk0", Of::FailoverServer, Ok(&["10.0.0.1", "fd00::1"])),
            ("localhost", Of::HeadnodeAddress, Ok(&["127.0.0.1"])),
            ("127.0.0.1", Of::HeadnodeAddress, Ok(&["127.0.0.1"])),
            ("hn0", Of::HeadnodeName, Ok(&["10.0.0.1"])),
        ]);
        let text = "all 3 of servers and headnodes have an address here".to_owned();
        assert_eq!(told, [(Level::Ok, text)]);
    }

    #[test]
    fn a_name_without_an_address_weighs_by_what_it_is_needed_for() {
        let levels = [
            (Of::FailoverServer, Level::Fault),
            (Of::HeadnodeAddress, Level::Fault),
            (Of::ApacheServer, Level::Warning),
            (Of::HeadnodeName, Level::Advice),
        ];
        for (of, level) in levels {
            let told = told(&[("zk7", of, Err("no such name"))]);
            assert_eq!((told.len(), told[0].0), (1, level), "{told:?}");
            assert!(told[0].1.contains("`zk7` has no address here"), "{told:?}");
        }
    }

    #[test]
    fn a_host_name_on_the_loopback_interface_is_named_as_debian_writes_it() {
        let told = told(&[("hn0", Of::HeadnodeName, Ok(&["127.0.1.1"]))]);
        assert_eq!((told.len(), told[0].0), (1, Level::Warning));
        assert!(told[0].1.starts_with("`hn0` is 127.0.1.1 here, which no other host reaches"));
    }

    #[test]
    fn two_names_of_one_host_are_named_where_they_should_be_two() {
        let same: &[&str] = &["10.0.0.1"];
        let two = [("zk0", Of::FailoverServer, Ok(same)), ("zk1", Of::FailoverServer, Ok(same))];
        let text = "`zk0` and `zk1` have one address here, 10.0.0.1: they are one host, and lost together; see DNS and /etc/hosts";
        assert_eq!(told(&two), [(Level::Warning, text.to_owned())]);
        // A headnode that is a server, too, is one host by intention.
        let other = [two[0], ("10.0.0.1", Of::HeadnodeAddress, Ok(same))];
        assert_eq!(told(&other)[0].0, Level::Ok);
    }

    #[tokio::test]
    async fn names_without_an_address_are_all_told() {
        let mut config = config();
        config.quorum.servers = vec!["127.0.0.1:2181".to_owned(), "no-such.invalid:1".to_owned()];
        config.headnodes[1].address = "neither.invalid".to_owned();
        config.headnodes[0].address = "127.0.0.1".to_owned();
        let found = findings(&config).await;
        let named =
            |name: &str| found.iter().any(|it| it.text.contains(name) && it.level == Level::Fault);
        assert!(named("no-such.invalid") && named("neither.invalid"), "{found:?}");
    }
}
