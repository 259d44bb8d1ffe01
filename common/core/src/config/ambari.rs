//! `[ambari]` of the file as code uses it, and the components of services whose driver is `ambari`.

use std::collections::BTreeMap;

use toml::Spanned;

use super::checked::Headnode;
use super::convert::{is_host_and_port, name};
use super::driver::{Key, checked_unit};
use super::reader::Reader;
use super::{file, preset};
use crate::ambari::{Body, Component, Credentials, Server};
use crate::node::NodeName;
use crate::time::millis;

/// What a word has to have at least to be one service's: what shares it is killed.
const WORD: usize = 8;

/// What Ambari is to whoever reads services.
#[derive(Debug)]
pub(super) enum Ambari {
    /// There is no such table.
    Missing,
    /// It has faults, which are told already.
    Faulty,
    /// A server, and its names of this host and of the other headnodes.
    Known { server: Server, host: String, others: Vec<String> },
}

/// The table, if there is one.
pub(super) fn ambari(
    reader: &mut Reader,
    table: Option<Spanned<file::Ambari>>,
    cluster: Option<&NodeName>,
    (node, headnodes): (Option<&NodeName>, &[Headnode]),
) -> Ambari {
    let Some(table) = table else { return Ambari::Missing };
    let mut table = reader.table("ambari", Some(table));
    let before = reader.count();
    let names = hosts(reader, table.hosts.take(), headnodes);
    let limit = reader.millis("ambari.limit_ms", table.limit_ms.take(), preset::AMBARI_LIMIT);
    let settle = reader.millis("ambari.settle_ms", table.settle_ms.take(), preset::AMBARI_SETTLE);
    let given = reader.value("ambari.cluster", table.cluster.take());
    let given = given.and_then(|given| name(reader, "ambari.cluster", given));
    let cluster = given.or_else(|| cluster.cloned());
    let url = url(reader, &mut table);
    let credentials = credentials(reader, &mut table);
    let ca_file = ca_file(reader, url.as_deref(), table.ca_file);
    let (Some(url), Some(credentials), Some(cluster), Some(node)) =
        (url, credentials, cluster, node)
    else {
        return Ambari::Faulty;
    };
    if reader.count() > before {
        return Ambari::Faulty;
    }
    let called = |node: &NodeName| names.get(node).cloned().unwrap_or_else(|| node.to_string());
    let others = headnodes.iter().map(|it| &it.name).filter(|name| *name != node).map(called);
    let server = Server {
        url,
        cluster: cluster.to_string(),
        credentials,
        ca_file,
        limit_ms: millis(limit),
        settle_ms: millis(settle),
    };
    Ambari::Known { server, host: called(node), others: others.collect() }
}

fn url(reader: &mut Reader, table: &mut file::Ambari) -> Option<String> {
    const KEY: &str = "ambari.url";
    let example = r#"url = "http://headnodehost:8080""#;
    let given = reader.required("ambari", KEY, table.url.take(), example)?;
    let trimmed = given.strip_suffix('/').unwrap_or(&given);
    let rest = trimmed.strip_prefix("http://").or_else(|| trimmed.strip_prefix("https://"));
    let why = match rest {
        // Whoever reads the configuration would read them, too: they are not even repeated here.
        Some(rest) if rest.contains('@') => {
            let text = format!(
                "`{KEY}` has credentials in it, where everybody may read them: write them into `credentials_file`"
            );
            reader.fault(&[KEY], text);
            return None;
        }
        Some(rest) if rest.contains(['/', '?', '#']) => "without a path",
        Some(rest) if is_host_and_port(rest) => return Some(trimmed.to_owned()),
        Some(_) => "with host and port",
        None => "that begins with `http://` or `https://`",
    };
    let text =
        format!("`{KEY}` cannot be `{given}`: write one {why}, such as `http://headnodehost:8080`");
    reader.fault(&[KEY], text);
    None
}

fn credentials(reader: &mut Reader, table: &mut file::Ambari) -> Option<Credentials> {
    const FILE: &str = "ambari.credentials_file";
    const CREDENTIAL: &str = "ambari.credential";
    let (is_missing, is_double) = (
        table.credentials_file.is_none() && table.credential.is_none(),
        table.credentials_file.is_some() && table.credential.is_some(),
    );
    let path = reader.value(FILE, table.credentials_file.take());
    let credential = reader.value(CREDENTIAL, table.credential.take());
    if is_missing {
        let text = "Ambari lets nobody in without a user and a password: add `credentials_file = \"/etc/headship/ambari.credentials\"`, a file of root's only with the lines `user=…` and `password=…`, or the name of a `credential` of systemd";
        reader.fault(&["ambari"], text.to_owned());
    } else if is_double {
        let text = format!("`{FILE}` and `{CREDENTIAL}` both say where they are: remove one");
        reader.fault(&[CREDENTIAL], text);
    }
    if let Some(path) = path {
        check_path(reader, FILE, &path, "/etc/headship/ambari.credentials");
        return Some(Credentials::File(path));
    }
    let credential = name(reader, CREDENTIAL, credential?)?;
    Some(Credentials::Credential(credential.to_string()))
}

fn ca_file(
    reader: &mut Reader,
    url: Option<&str>,
    given: Option<file::Given<String>>,
) -> Option<String> {
    const KEY: &str = "ambari.ca_file";
    let is_given = given.is_some();
    let path = reader.value(KEY, given);
    if let Some(path) = &path {
        check_path(reader, KEY, path, "/etc/headship/ambari-ca.pem");
    }
    match url.map(|url| url.starts_with("https://")) {
        Some(true) if !is_given => {
            let text = "`ambari.ca_file` is missing, so nobody could tell the server from somebody else: add the file with the certificates that vouch for it, `ca_file = \"/etc/headship/ambari-ca.pem\"`";
            reader.fault(&["ambari.url"], text.to_owned());
        }
        Some(false) if is_given => {
            let text = format!("`{KEY}` is for `https://`: remove it, or change `ambari.url`");
            reader.fault(&[KEY], text);
        }
        Some(true | false) | None => {}
    }
    path
}

fn check_path(reader: &mut Reader, key: &str, path: &str, example: &str) {
    if !path.starts_with('/') || path.ends_with('/') {
        let text = format!(
            "`{key}` cannot be `{path}`: write the absolute path of a file, such as `{example}`"
        );
        reader.fault(&[key], text);
    }
}

/// Ambari's names of headnodes that have another name there.
fn hosts(
    reader: &mut Reader,
    given: Option<file::Given<BTreeMap<String, String>>>,
    headnodes: &[Headnode],
) -> BTreeMap<NodeName, String> {
    const KEY: &str = "ambari.hosts";
    let mut names: BTreeMap<NodeName, String> = BTreeMap::new();
    for (node, host) in reader.value(KEY, given).unwrap_or_default() {
        let headnode = headnodes.iter().map(|it| &it.name).find(|name| name.as_str() == node);
        let Some(headnode) = headnode else {
            reader.fault(&[KEY, "ambari"], format!(
                "`{KEY}` names `{node}`, which is no headnode: write the `name` of one, or remove it"
            ));
            continue;
        };
        let is_host = !host.is_empty()
            && host.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !is_host {
            reader.fault(&[KEY, "ambari"], format!(
                "`{KEY}` cannot give `{node}` the host `{}`: write its name as Ambari's list of hosts has it", host.escape_debug()
            ));
        } else if names.values().any(|other| *other == host) {
            reader.fault(&[KEY, "ambari"], format!(
                "`{KEY}` gives two headnodes the host `{host}`: write the name of each as Ambari's list of hosts has it"
            ));
        }
        names.insert(headnode.clone(), host);
    }
    names
}

/// The component of a service; `None` with a fault in `reader`.
pub(super) fn component(
    reader: &mut Reader,
    key: &Key<'_>,
    table: &mut file::Service,
    ambari: &Ambari,
) -> Option<Component> {
    let component_key = key.of("component");
    let example = r#"component = "HISTORYSERVER""#;
    let given = reader.required(key.place, &component_key, table.component.take(), example);
    if let Some(why) = given.as_deref().and_then(refused) {
        let given = given.as_deref().unwrap_or_default();
        reader.fault(&[&component_key], format!("`{component_key}` cannot be `{given}`{why}"));
    }
    let body = body(reader, key, table);
    match ambari {
        Ambari::Known { server, host, others } => Some(Component {
            server: server.clone(),
            name: given?,
            host: host.clone(),
            others: others.clone(),
            body: body?,
        }),
        Ambari::Faulty => None,
        Ambari::Missing => {
            let text = format!(
                "service `{}` is a component of Ambari, and nothing says where that is: add `[ambari]` with `url` and `credentials_file`",
                key.name
            );
            reader.fault(&[&key.of("driver"), key.place], text);
            None
        }
    }
}

/// Why a component cannot have this name, if so, with the way out. Whether a server has one of it is seen there.
fn refused(component: &str) -> Option<String> {
    let is_plain = component.starts_with(|c: char| c.is_ascii_uppercase())
        && component.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let meant = match component {
        "JHS" | "JOBHISTORYSERVER" | "JOB_HISTORY_SERVER" | "MAPREDUCE2" => "HISTORYSERVER",
        "ATS" | "TIMELINESERVER" | "TIMELINE_SERVER" | "YARN" => "APP_TIMELINE_SERVER",
        "LIVY" | "LIVYSERVER" => "LIVY_SERVER",
        "LIVY2" | "LIVY2SERVER" => "LIVY2_SERVER",
        "NAMENODE" | "SECONDARY_NAMENODE" | "RESOURCEMANAGER" | "HBASE_MASTER" | "ZKFC" => {
            return Some(", which is elected in the Apache quorum or goes by what is: leave it to that, and remove this service".to_owned());
        }
        "AMBARI_SERVER" => {
            return Some(
                ", which Ambari has no component for: write its unit, with `driver = \"systemd\"`"
                    .to_owned(),
            );
        }
        _ if is_plain => return None,
        _ => "HISTORYSERVER",
    };
    Some(format!(", which is no component of Ambari: write its name as in `{meant}`"))
}

/// What runs on the host while the component does.
fn body(reader: &mut Reader, key: &Key<'_>, table: &mut file::Service) -> Option<Body> {
    let (unit, process) = (table.unit.take(), table.process.take());
    let process_key = key.of("process");
    let is_given = process.is_some();
    let word = reader.value(&process_key, process);
    if unit.is_none() && !is_given {
        let text = format!(
            "service `{}` has neither `unit` nor `process`, so nobody could see on this host whether it runs, nor end it: add the unit that its component starts, or else `process`, the word in its command line by which it is known",
            key.name
        );
        reader.fault(&[key.place], text);
    } else if unit.is_some() && is_given {
        let text = format!(
            "`{}` and `{process_key}` both say what runs: keep `unit`, which is stronger",
            key.of("unit")
        );
        reader.fault(&[&process_key], text);
    }
    if unit.is_some() {
        return checked_unit(reader, key, unit).map(Body::Unit);
    }
    let word = word?;
    let is_word = word.chars().count() >= WORD
        && !word.starts_with('-')
        && !word.contains(|c: char| c.is_control());
    if !is_word {
        let text = format!(
            "`{process_key}` cannot be `{}`, as every process with this argument is killed: write the argument that it alone has, such as `org.apache.hadoop.mapreduce.v2.hs.JobHistoryServer`",
            word.escape_debug()
        );
        reader.fault(&[&process_key], text);
    }
    Some(Body::Process(word))
}
