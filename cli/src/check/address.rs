//! Whether the addresses of the headnodes fit this host: its own is one of this host's, and no other one is.

use std::fs;
use std::net::{IpAddr, ToSocketAddrs, UdpSocket};

use headship_core::config::Config;
use headship_daemon::Exit;
use tokio::task::spawn_blocking;

use super::{Area, Finding};

/// Where the kernel lets programs bind to addresses that the host does not have, it cannot be asked in this way.
const FOREIGN: [&str; 2] =
    ["/proc/sys/net/ipv4/ip_nonlocal_bind", "/proc/sys/net/ipv6/ip_nonlocal_bind"];

/// An address, and whether it is one of this host's.
type Seen = (IpAddr, bool);

/// Looks the addresses of the headnodes up, in the order of the configuration. None where this host's own cannot be told.
pub(super) async fn look(config: &Config) -> Option<Vec<Vec<Seen>>> {
    let addresses: Vec<String> = config.headnodes.iter().map(|it| it.address.clone()).collect();
    let seen = spawn_blocking(move || {
        let foreign = |path| fs::read_to_string(path).is_ok_and(|text: String| text.trim() == "1");
        let seen = || addresses.iter().map(|address| resolve(address)).collect();
        (!FOREIGN.iter().any(foreign)).then(seen)
    });
    seen.await.ok().flatten()
}

/// An address that is not found is told among the names.
fn resolve(address: &str) -> Vec<Seen> {
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    let found = (bare, 0).to_socket_addrs().into_iter().flatten();
    found.map(|it| (it.ip(), UdpSocket::bind((it.ip(), 0)).is_ok())).collect()
}

/// What follows from what was seen of each headnode of the configuration.
pub(super) fn findings(config: &Config, seen: &[Vec<Seen>]) -> Vec<Finding> {
    let headnodes = || config.headnodes.iter().zip(seen);
    let here = &config.node;
    if let Some((own, seen)) = headnodes().find(|(headnode, _)| headnode.name == *here) {
        let elsewhere = !seen.is_empty() && seen.iter().all(|(_, own)| !own);
        let alias = config.follow.as_ref().map_or_else(String::new, |follow| {
            format!(", and the alias `{}` of every node would point there", follow.alias)
        });
        let finding = elsewhere.then(|| {
            Area::Names.warning(format!(
                "`{}`, the `address` of {here}, is none of this host's addresses: whoever looks for the active headnode is led elsewhere{alias}; correct `address`, or `node` if this host is another one",
                own.address
            ))
        });
        return finding.into_iter().collect();
    }
    // Of what is on the loopback interface nobody can tell whose it is.
    let is_here = |(address, own): &Seen| *own && !address.is_loopback();
    let taken = headnodes().filter(|(_, seen)| seen.iter().any(is_here));
    let told = taken.map(|(headnode, _)| {
        let name = &headnode.name;
        Area::Names.fault(
            Exit::Configuration,
            format!(
                "the `address` of headnode {name} is this host's, but this host is {here}, which is no headnode: its master-fc would not start; write `node = \"{name}\"` to a file in conf.d here, or call that headnode {here} in the configuration of all nodes"
            ),
        )
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::tests::{config, node};

    fn told(config: &Config, seen: [&[(&str, bool)]; 2]) -> Vec<(Level, Exit, String)> {
        let seen = seen.map(|of| of.iter().map(|(ip, own)| (ip.parse().unwrap(), *own)).collect());
        findings(config, &seen).into_iter().map(|it| (it.level, it.exit, it.text)).collect()
    }

    #[test]
    fn a_headnode_with_an_address_that_is_not_its_own_is_warned() {
        let config = config();
        let other = ("10.0.0.11", false);
        assert_eq!(told(&config, [&[("10.0.0.10", true)], &[other]]), []);
        assert_eq!(told(&config, [&[("fd00::1", false), ("10.0.0.10", true)], &[other]]), []);
        assert_eq!(told(&config, [&[], &[other]]), [], "that it has none is told elsewhere");
        let found = told(&config, [&[("10.0.0.10", false)], &[other]]);
        assert_eq!((found[0].0, found[0].1, found.len()), (Level::Warning, Exit::Degraded, 1));
        let begin = "`10.0.0.10`, the `address` of hn0, is none of this host's addresses: ";
        assert!(found[0].2.starts_with(begin), "{found:?}");
    }

    #[test]
    fn a_host_that_has_the_address_of_a_headnode_and_not_its_name_is_a_fault() {
        let mut config = config();
        config.node = node("hnA");
        let found = told(&config, [&[("10.0.0.10", true)], &[("10.0.0.11", false)]]);
        assert_eq!((found[0].0, found[0].1, found.len()), (Level::Fault, Exit::Configuration, 1));
        assert!(found[0].2.contains("write `node = \"hn0\"` to a file in conf.d"), "{found:?}");
        let loopback: &[(&str, bool)] = &[("127.0.0.1", true)];
        assert_eq!(told(&config, [loopback, loopback]), []);
        assert_eq!(told(&config, [&[("10.0.0.10", false)], &[]]), [], "a node like any other");
    }

    #[tokio::test]
    async fn the_loopback_interface_is_this_hosts_and_an_address_for_documents_is_not() {
        let mut config = config();
        config.headnodes[0].address = "127.0.0.1".to_owned();
        config.headnodes[1].address = "192.0.2.1".to_owned();
        let Some(seen) = look(&config).await else { return };
        let own: Vec<bool> = seen.iter().map(|seen| seen[0].1).collect();
        assert_eq!(own, [true, false]);
    }
}
