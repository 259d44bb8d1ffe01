//! The lab's own network: a bridge that leads nowhere, a network namespace and a cable for each host, and cuts.
//!
//! Hosts have no default route, so nothing leaves this machine; the bridge carries an address of this machine, so that
//! it can talk to the hosts.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::command::{run, wait_until};
use super::error::{Result, Tried};
use super::place::{HOSTS, HostSpec, Place};

/// How long a healed cable may take to carry again.
const CARRIER_LIMIT: Duration = Duration::from_secs(5);

/// Creates the bridge.
pub(crate) fn create_bridge(place: &Place) -> Result<()> {
    let bridge = place.prefix();
    run("ip", &["link", "add", &bridge, "type", "bridge"])?;
    run(
        "ip",
        &["link", "set", &bridge, "alias", &format!("headship lab in {}", place.dir().display())],
    )?;
    run("ip", &["addr", "add", &format!("{}/24", place.own_address()), "dev", &bridge])?;
    run("ip", &["link", "set", &bridge, "up"])?;
    Ok(())
}

/// Removes the bridge and what hangs on it; what is gone already is no error.
pub(crate) fn remove_all(place: &Place) {
    for host in HOSTS {
        unplug(place, host);
    }
    run("ip", &["link", "del", &place.prefix()]).ok();
}

/// Gives a host a network namespace and a cable to the bridge; the cuts that are in force for it stay in force.
pub(crate) fn plug(place: &Place, host: HostSpec) -> Result<()> {
    let netns = place.netns(host);
    let mac = place.mac(host);
    run("ip", &["netns", "add", &netns])?;
    run(
        "ip",
        &[
            "link", "add", &netns, "type", "veth", "peer", "name", "eth0", "address", &mac,
            "netns", &netns,
        ],
    )?;
    run("ip", &["link", "set", &netns, "master", &place.prefix()])?;
    run(
        "ip",
        &["-n", &netns, "addr", "add", &format!("{}/24", place.address(host)), "dev", "eth0"],
    )?;
    run("ip", &["-n", &netns, "link", "set", "lo", "up"])?;
    run("ip", &["-n", &netns, "link", "set", "eth0", "up"])?;
    apply_deafness(place, host)?;
    apply_pace(place, host)?;
    if !place.cut_file(host).exists() {
        set_link(place, host, true)?;
    }
    Ok(())
}

/// Takes a host's namespace and cable away. A new boot must not send what the old one left in its sockets, so a host
/// that loses power loses its namespace as well.
pub(crate) fn unplug(place: &Place, host: HostSpec) {
    let netns = place.netns(host);
    // Each may be gone already: after a crash half way, or because removing one end removed the other.
    run("ip", &["link", "del", &netns]).ok();
    run("ip", &["netns", "del", &netns]).ok();
}

/// Whether the cable carries anything.
pub(crate) fn link_is_up(place: &Place, host: HostSpec) -> bool {
    let file = format!("/sys/class/net/{}/operstate", place.netns(host));
    fs::read_to_string(file).is_ok_and(|state| state.trim() == "up")
}

/// Raises or cuts the cable at the bridge's end: the host notices a lost carrier, its peers notice nothing.
pub(crate) fn set_link(place: &Place, host: HostSpec, up: bool) -> Result<()> {
    run("ip", &["link", "set", &place.netns(host), if up { "up" } else { "down" }]).map(drop)
}

/// Cuts the whole cable of a host; stays cut over power cycles until [`heal`].
pub(crate) fn cut(place: &Place, host: HostSpec) -> Result<()> {
    remember(place, &place.cut_file(host))?;
    if exists(place, host) { set_link(place, host, false) } else { Ok(()) }
}

/// Lets nothing that `from` sends reach `at`; the other direction is untouched.
pub(crate) fn deafen(place: &Place, at: HostSpec, from: HostSpec) -> Result<()> {
    remember(place, &place.deaf_file(at, from))?;
    if exists(place, at) { apply_deafness(place, at) } else { Ok(()) }
}

/// Ends [`cut`], and no other cut of the host.
pub(crate) fn mend(place: &Place, host: HostSpec) -> Result<()> {
    forget(&place.cut_file(host))?;
    if exists(place, host) { set_link(place, host, true) } else { Ok(()) }
}

/// Ends [`deafen`].
pub(crate) fn hear(place: &Place, at: HostSpec, from: HostSpec) -> Result<()> {
    forget(&place.deaf_file(at, from))?;
    if exists(place, at) { apply_deafness(place, at) } else { Ok(()) }
}

/// Loses this share of what arrives at a host, in percent, at random; 0 loses nothing.
pub(crate) fn lose(place: &Place, at: HostSpec, percent: u8) -> Result<()> {
    set_figure(&place.loss_file(at), u32::from(percent))?;
    if exists(place, at) { apply_deafness(place, at) } else { Ok(()) }
}

/// Lets what arrives at a host through at this pace only, in kilobits a second, so that it comes late; 0 is no limit.
pub(crate) fn slow(place: &Place, at: HostSpec, kbit: u32) -> Result<()> {
    set_figure(&place.pace_file(at), kbit)?;
    if exists(place, at) { apply_pace(place, at) } else { Ok(()) }
}

/// Ends every cut in which `host` has a part.
pub(crate) fn heal(place: &Place, host: HostSpec) -> Result<()> {
    forget(&place.cut_file(host))?;
    forget(&place.loss_file(host))?;
    slow(place, host, 0)?;
    for other in HOSTS {
        forget(&place.deaf_file(host, other))?;
        forget(&place.deaf_file(other, host))?;
    }
    for other in HOSTS {
        if exists(place, other) {
            apply_deafness(place, other)?;
        }
    }
    if !exists(place, host) {
        return Ok(());
    }
    set_link(place, host, true)?;
    // The kernel looks at changed links once a second, and sends nothing over this one before.
    wait_until(&format!("the cable of {} carries", host.name), CARRIER_LIMIT, || {
        link_is_up(place, host)
    })
}

/// What is cut at a host, for people.
pub(crate) fn cuts_text(place: &Place, host: HostSpec) -> String {
    if place.cut_file(host).exists() {
        return "cut".to_owned();
    }
    let deaf_to: Vec<_> = deaf_to(place, host).map(|from| from.name).collect();
    let deaf = (!deaf_to.is_empty()).then(|| format!("hears nothing from {}", deaf_to.join(", ")));
    let lossy = figure(&place.loss_file(host)).map(|percent| format!("loses {percent} %"));
    let slow = figure(&place.pace_file(host)).map(|kbit| format!("{kbit} kbit/s"));
    let all: Vec<String> = [deaf, lossy, slow].into_iter().flatten().collect();
    if all.is_empty() { "up".to_owned() } else { all.join(", ") }
}

fn deaf_to(place: &Place, at: HostSpec) -> impl Iterator<Item = HostSpec> + '_ {
    HOSTS.into_iter().filter(move |from| place.deaf_file(at, *from).exists())
}

fn exists(place: &Place, host: HostSpec) -> bool {
    fs::exists(format!("/run/netns/{}", place.netns(host))).unwrap_or(false)
}

/// Packets are dropped where they arrive, before connection tracking: the sender sees no error, only silence.
fn apply_deafness(place: &Place, at: HostSpec) -> Result<()> {
    let mut rules = String::from("table ip lab\ndelete table ip lab\n");
    rules.push_str("table ip lab { chain deaf { type filter hook prerouting priority -300;\n");
    for from in deaf_to(place, at) {
        rules.push_str(&format!("ip saddr {} drop;\n", place.address(from)));
    }
    if let Some(percent) = figure(&place.loss_file(at)) {
        let network = place.network();
        rules
            .push_str(&format!("ip saddr {network}0/24 numgen random mod 100 < {percent} drop;\n"));
    }
    rules.push_str("}\n}\n");
    run("ip", &["netns", "exec", &place.netns(at), "nft", &rules]).map(drop)
}

/// At the bridge's end of the cable, which outlives no boot of the host.
fn apply_pace(place: &Place, at: HostSpec) -> Result<()> {
    let cable = place.netns(at);
    // There is none to be removed is what is wanted, too.
    run("tc", &["qdisc", "del", "dev", &cable, "root"]).ok();
    let Some(kbit) = figure(&place.pace_file(at)) else { return Ok(()) };
    run("tc", &["qdisc", "add", "dev", &cable, "root", "handle", "1:", "htb", "default", "1"])?;
    let rate = format!("{kbit}kbit");
    let class = ["class", "add", "dev", &cable, "parent", "1:", "classid", "1:1", "htb"];
    run("tc", &[&class[..], &["rate", &rate, "quantum", "1600"]].concat()).map(drop)
}

/// Writes a figure that stays in force over power cycles; 0 is none.
fn set_figure(file: &Path, figure: u32) -> Result<()> {
    if figure == 0 {
        return forget(file);
    }
    fs::write(file, figure.to_string()).tried(|| format!("write `{}`", file.display()))
}

fn figure(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.parse().ok()
}

fn remember(place: &Place, file: &Path) -> Result<()> {
    fs::create_dir_all(place.cuts_dir())
        .tried(|| format!("create `{}`", place.cuts_dir().display()))?;
    fs::write(file, "").tried(|| format!("write `{}`", file.display()))
}

fn forget(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).tried(|| format!("remove `{}`", file.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
