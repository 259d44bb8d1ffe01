//! The view as a page for people. Colours only repeat what the words say.

use std::fmt::Write;
use std::time::Duration;

use anstyle::Style;
use headship_core::known::Content;
use headship_core::record::{Active, Maintenance, Phase, Role, Verdict};
use headship_core::time::WallTime;

use super::json;
use crate::followers::{self, Summary};
use crate::output::{BAD, GOOD, HEAD, WARN, styled};
use crate::standing::{Conclusion, Condition};
use crate::table::{Cell, Table};
use crate::view::{Headnode, Left, Local, Pulse, Quorum, Records, Server, View, record};
use crate::{history, keep, say};

/// The page.
pub(super) fn page(view: &View, conclusion: &Conclusion) -> String {
    let mut page = String::new();
    let paragraphs = match &view.quorum {
        Quorum::Away { local, .. } => vec![head(view), elected(view), host(view, local)],
        Quorum::InSight(records) => {
            let mut paragraphs =
                vec![head(view), headnodes(records), services(view, records), elected(view)];
            paragraphs.push(past(view, records));
            paragraphs.extend(
                json::corrupt_records(records)
                    .iter()
                    .map(|what| format!("{} {what}\n", styled(BAD, "corrupt record:"))),
            );
            paragraphs
        }
    };
    for paragraph in paragraphs.iter().filter(|paragraph| !paragraph.is_empty()) {
        page.push_str(paragraph);
        page.push('\n');
    }
    let style = match conclusion.condition {
        Condition::Healthy => GOOD,
        Condition::Degraded => WARN,
        Condition::NobodyActive | Condition::Unreadable | Condition::QuorumAway => BAD,
    };
    page.push_str(&styled(style, &conclusion.sentence));
    page.push('\n');
    page
}

fn head(view: &View) -> String {
    let mut text =
        format!("cluster         {}, seen from {}\n", styled(HEAD, &view.cluster), view.node);
    let answering = view.servers.iter().filter(|server| server.answer.is_ok()).count();
    let servers: Vec<String> = view.servers.iter().map(server).collect();
    let all = view.servers.len();
    let count = format!("{answering} of {all} servers answer");
    let style = if answering == all { GOOD } else { WARN };
    line(
        &mut text,
        "failover quorum",
        &format!("{} ({})", styled(style, &count), servers.join(", ")),
    );
    if let Some(leader) = view.stuck_leader() {
        let stuck = format!(
            "most of them answer, {leader} leads, and yet nothing is carried out: if that lasts, restart ZooKeeper there"
        );
        line(&mut text, "", &styled(WARN, &stuck));
    }
    let Quorum::InSight(records) = &view.quorum else { return text };
    let failover = match &records.settings {
        Content::Record(settings) => {
            let how = keep::phrase(records, settings);
            how.map_or_else(|| "automatic".to_owned(), |how| styled(WARN, &how))
        }
        Content::Missing => "never began: no master-fc was here yet".to_owned(),
        Content::Unread | Content::Corrupt(_) => styled(BAD, "unknown: its record cannot be read"),
    };
    line(&mut text, "failover", &failover);
    let active = record(&records.active);
    if let Some(summary) = followers::summary(&view.followers, active) {
        line(&mut text, "followers", &follow(&summary, active));
    }
    if let Some(settings) = record(&records.settings) {
        let Maintenance { nodes, services, .. } = &settings.maintenance;
        let nodes = nodes.iter().map(|(node, by)| (node.as_str(), by));
        for (name, by) in nodes.chain(services.iter().map(|(name, by)| (name.as_str(), by))) {
            line(&mut text, "maintenance", &styled(WARN, &format!("{name}: {by}")));
        }
    }
    if let Some(active) = record(&records.active) {
        line(&mut text, "office", &office(view, records, active));
        if let Some(lease) = lease(records.pulse, active) {
            line(&mut text, "lease", &lease);
        }
        if let Some(claimant) = &active.claimant {
            line(&mut text, "claimant", &styled(WARN, claimant.node.as_str()));
        }
    }
    text
}

/// Who follows the active, and who does not by name.
fn follow(summary: &Summary, active: Option<&Active>) -> String {
    let epoch = active.map_or_else(String::new, |active| format!(" epoch {}", active.epoch));
    let count = format!("{} of {} nodes follow{epoch}", summary.following, summary.all);
    if summary.behind.is_empty() {
        return styled(GOOD, &count);
    }
    format!("{}; {}", styled(WARN, &count), summary.named())
}

/// Who holds office; where nobody does, who held it last. The record alone names a holder long after its death.
fn office(view: &View, records: &Records, active: &Active) -> String {
    let Some(holder) = active.holder.as_ref().map(|by| &by.node) else {
        return styled(BAD, "nobody ever held it");
    };
    let (epoch, since) = (active.epoch, since(view.now, active.since));
    let vacant = |end: &str| format!("{}; {holder} {end}", styled(BAD, "nobody"));
    let gone = active.claimant.is_some() || matches!(records.pulse, Pulse::Still(_));
    match &active.phase {
        Phase::Ceded { to, .. } => {
            let to = to.as_ref().map_or_else(String::new, |to| format!(" to {to}"));
            vacant(&format!("ceded epoch {epoch}{to} at {since}"))
        }
        phase @ (Phase::BecomingActive | Phase::Active | Phase::BecomingStandby) => {
            let word = word(phase);
            if gone {
                vacant(&format!("was {word} last, in epoch {epoch}, from {since}"))
            } else {
                format!("{holder} in epoch {epoch}, {word} since {since}")
            }
        }
    }
}

/// Whether the holder renews its lease, as far as was seen.
fn lease(pulse: Pulse, active: &Active) -> Option<String> {
    let seen = match pulse {
        Pulse::NoHolder => return None,
        Pulse::Lock => "renewed while we looked".to_owned(),
        Pulse::Lease => styled(WARN, "renewed while we looked, though the lock is gone"),
        Pulse::Silent { unrenewed, due } => styled(
            BAD,
            &format!("no renewal seen for {}, due every {}", say::span(unrenewed), say::span(due)),
        ),
        Pulse::Still(unrenewed) => styled(
            BAD,
            &format!("no renewal seen for {}, and the lock is gone", say::span(unrenewed)),
        ),
    };
    Some(format!("{}; {seen}", say::span(Duration::from_millis(active.lease_ms))))
}

fn line(text: &mut String, name: &str, value: &str) {
    writeln!(text, "{name:<15} {value}").expect("writing to a string cannot fail");
}

fn server(server: &Server) -> String {
    let name = server.address.split(':').next().unwrap_or(&server.address);
    match &server.answer {
        Ok(mode) => format!("{} {mode}", unique(name, &server.address)),
        Err(why) => format!("{}: {}", unique(name, &server.address), styled(BAD, why)),
    }
}

/// A server by its host name, or by all of its address where that is a number: several may share one then.
fn unique<'a>(name: &'a str, address: &'a str) -> &'a str {
    if name.starts_with(|first: char| first.is_ascii_digit() || first == '[') {
        address
    } else {
        name
    }
}

fn word(phase: &Phase) -> &'static str {
    match phase {
        Phase::BecomingActive => "becoming active",
        Phase::Active => "active",
        Phase::BecomingStandby => "becoming standby",
        Phase::Ceded { .. } => "ceded",
    }
}

fn since(now: WallTime, at: WallTime) -> String {
    format!("{} ({})", say::utc(at), say::ago(now, at))
}

fn headnodes(records: &Records) -> String {
    let mut table = Table::new(&["HEADNODE", "ROLE", "VERDICT", "WHY"]);
    for headnode in &records.headnodes {
        let (role, why) = role(headnode);
        let (verdict, reasons) = verdict(headnode);
        // Often the reasons are why the headnode is what it is.
        let why = if why.contains(&reasons) { why } else { format!("{why}; {reasons}") };
        table.row(vec![Cell::plain(headnode.name.as_str()), role, verdict, Cell::plain(&why)]);
    }
    table.to_text()
}

fn role(headnode: &Headnode) -> (Cell, String) {
    let state = match &headnode.state {
        Content::Record(state) => state,
        Content::Corrupt(_) => {
            return (Cell::styled(BAD, "unknown"), "its record is corrupt".to_owned());
        }
        Content::Missing | Content::Unread => {
            let why = headnode.past.clone();
            let why = why.unwrap_or_else(|| "its master-fc has no session".to_owned());
            return (Cell::styled(BAD, "absent"), why);
        }
    };
    let style = match state.role {
        Role::Active | Role::Standby => GOOD,
        Role::BecomingActive | Role::BecomingStandby => WARN,
        Role::Neutral | Role::Out => BAD,
    };
    (Cell::styled(style, state.role.as_str()), state.why.clone())
}

fn verdict(headnode: &Headnode) -> (Cell, String) {
    let health = match &headnode.health {
        Content::Record(health) => health,
        Content::Corrupt(_) => return (Cell::styled(BAD, "unknown"), String::new()),
        Content::Missing | Content::Unread if headnode.past.is_some() => {
            return (Cell::plain("unknown"), String::new());
        }
        Content::Missing | Content::Unread => {
            return (
                Cell::styled(WARN, "no heartbeat"),
                "its health-monitor has no session".to_owned(),
            );
        }
    };
    let style = match health.verdict {
        Verdict::Eligible => GOOD,
        Verdict::Reluctant => WARN,
        Verdict::Ineligible => BAD,
    };
    (Cell::styled(style, json::verdict(health.verdict)), health.reasons.join("; "))
}

fn services(view: &View, records: &Records) -> String {
    let mut names = vec!["SERVICE"];
    names.extend(records.headnodes.iter().map(|headnode| headnode.name.as_str()));
    let mut table = Table::new(&names);
    let (settings, active) = (record(&records.settings), record(&records.active));
    let alone =
        |name: &String| settings.is_some_and(|it| it.maintenance.services.contains_key(name));
    for name in &view.services {
        let mut row = vec![Cell::plain(name)];
        let alone = alone(name);
        row.extend(records.headnodes.iter().map(|headnode| {
            if outlives(headnode, name, active) {
                Cell::styled(WARN, "last seen running")
            } else {
                service(headnode, name, alone)
            }
        }));
        table.row(row);
    }
    for (name, node) in &view.pinned {
        let alone = alone(name);
        let mut row = vec![Cell::plain(&format!("{name}, pinned to {node}"))];
        row.extend(records.headnodes.iter().map(|headnode| {
            // What a headnode shows that is gone is gone with it.
            let own = headnode.name == *node;
            let lost = own && headnode.service(name).is_none();
            if lost { Cell::styled(BAD, "down") } else { service(headnode, name, alone && own) }
        }));
        table.row(row);
    }
    table.to_text()
}

/// Whether a moving service is said to run where nobody is in office and no master-fc has a session: the sessions of a host that
/// lost its power do not end all at once.
fn outlives(headnode: &Headnode, name: &str, active: Option<&Active>) -> bool {
    let absent = matches!(headnode.state, Content::Missing);
    let elsewhere = active.and_then(|active| active.holder.as_ref());
    let elsewhere = elsewhere.is_some_and(|holder| holder.node != headnode.name);
    absent && elsewhere && headnode.service(name).is_some_and(|seen| seen.is_running())
}

fn service(headnode: &Headnode, name: &str, alone: bool) -> Cell {
    let Some(seen) = headnode.service(name) else {
        return Cell::plain(if headnode.past.is_some() { "unknown" } else { "-" });
    };
    let mut text = seen.observed.clone();
    match seen.restarts {
        0 => {}
        1 => text.push_str(", 1 restart"),
        more => text.push_str(&format!(", {more} restarts")),
    }
    if seen.given_up {
        text.push_str(", GIVEN UP");
    }
    if alone {
        let style = if seen.observed == "failed" { WARN } else { Style::new() };
        return Cell::styled(style, &format!("{text} (in maintenance)"));
    }
    // Of what runs, or is on its way, the reason is an old one.
    let told = seen.given_up || matches!(seen.observed.as_str(), "stopped" | "failed");
    if let Some(why) = seen.why.as_ref().filter(|_| told) {
        text.push_str(&format!(" ({why})"));
    }
    let style = match seen.observed.as_str() {
        _ if seen.given_up => BAD,
        "failed" => BAD,
        "running" => GOOD,
        _ => Style::new(),
    };
    Cell::styled(style, &text)
}

/// What is elected in the Apache quorum. It is no warning that it differs from the active headnode.
fn elected(view: &View) -> String {
    let Some(seen) = &view.apache else { return String::new() };
    let components = match seen {
        Ok(components) if components.is_empty() => Err("nothing is elected there".to_owned()),
        Ok(components) => Ok(components),
        Err(why) => Err(styled(WARN, why)),
    };
    let components = match components {
        Ok(components) => components,
        Err(why) => {
            let mut text = String::new();
            line(&mut text, "Apache quorum", &why);
            return text;
        }
    };
    let mut table = Table::new(&["APACHE QUORUM", "ACTIVE", "ALSO"]);
    for component in components {
        let title = component.kind.title();
        let name =
            component.of.as_ref().map_or_else(|| title.to_owned(), |of| format!("{title} {of}"));
        let active = match (&component.active, &component.fault) {
            (Some(active), _) => Cell::plain(&active.to_string()),
            (None, Some(_)) => Cell::styled(WARN, "unknown"),
            (None, None) => Cell::styled(WARN, "nobody"),
        };
        let mut also: Vec<String> =
            component.standbys.iter().map(|standby| format!("{standby} (standby)")).collect();
        also.extend(component.last.iter().map(|last| format!("{last} was last")));
        also.extend(component.fault.clone());
        if !component.kind.tells_standbys() {
            also.push("its records tell of no standby".to_owned());
        }
        table.row(vec![Cell::plain(&name), active, Cell::plain(&also.join(", "))]);
    }
    table.to_text()
}

fn past(view: &View, records: &Records) -> String {
    let Some(last) = history::last(records) else { return String::new() };
    let mut text = String::new();
    let from = last.from.as_ref().map_or("nobody", |from| from.as_str());
    let value =
        format!("{from} -> {} in epoch {}, {}", last.to, last.epoch, since(view.now, last.at));
    line(&mut text, "last transition", &value);
    line(&mut text, "  because", &last.cause);
    let (phases, total) = (history::phases(&last.phases), history::total(&last.phases));
    line(&mut text, "  phases", &format!("{phases}; {total} ms in all"));
    text
}

fn host(view: &View, local: &Local) -> String {
    let mut text = format!("what {} knows by itself, from {}:\n", view.node, local.folder);
    line(&mut text, "  permit", &permit(local));
    let closed = match &local.closed {
        Err(why) => styled(BAD, why),
        Ok(None) => "no epoch in this boot".to_owned(),
        Ok(Some((epoch, age))) => {
            format!("epoch {epoch} and lower (written {} ago)", say::span(*age))
        }
    };
    line(&mut text, "  closed", &closed);
    match &local.daemons {
        Err(why) => line(&mut text, "  daemons", &styled(BAD, why)),
        Ok(daemons) if daemons.is_empty() => {
            line(&mut text, "  daemons", &styled(WARN, "none has said anything in this boot"));
        }
        Ok(daemons) => {
            let mut table = Table::new(&["  DAEMON", "AGE", "SAYS"]);
            for daemon in daemons {
                let age = say::span(daemon.age);
                let style = if daemon.age > STALE { WARN } else { Style::new() };
                let name = format!("  {}", daemon.name);
                table.row(vec![
                    Cell::plain(&name),
                    Cell::styled(style, &age),
                    Cell::plain(&daemon.line),
                ]);
            }
            text.push('\n');
            text.push_str(&table.to_text());
        }
    }
    text
}

/// A daemon that lives writes its line at least every 5 s.
const STALE: Duration = Duration::from_secs(15);

fn permit(local: &Local) -> String {
    let permit = match &local.permit {
        Err(why) => return styled(BAD, why),
        Ok(None) => return "none: HA services may not run here".to_owned(),
        Ok(Some(permit)) => permit,
    };
    let age = say::span(permit.age);
    if !permit.this_boot {
        return format!("of an earlier boot: it is none (written {age} ago)");
    }
    let left = match permit.left {
        Left::Until(left) => styled(GOOD, &format!("ends in {}", say::span(left))),
        Left::Kept => styled(WARN, "does not end before `headship resume`"),
        Left::Since(since) if since < permit.kill => styled(
            BAD,
            &format!(
                "ended {} ago; all is gone within {}",
                say::span(since),
                say::span(permit.kill.saturating_sub(since))
            ),
        ),
        Left::Since(since) => {
            styled(BAD, &format!("ended {} ago; nothing may run here any more", say::span(since)))
        }
    };
    format!("epoch {}, {left} (written {age} ago)", permit.epoch)
}
