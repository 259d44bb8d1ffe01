//! What a moving service keeps on one host alone, by Hadoop's own configuration, and what a move would lose.
//!
//! Only where the state lies is looked at, and only as far as the files tell: a folder of this host may be on a disk that
//! moves along, and nobody but the operator knows.

mod files;

use std::path::Path;

use headship_core::config::Config;

use self::files::{NoFile, Settings};
use super::{Area, Finding};

/// The folder that everything is in unless it is written otherwise, as Hadoop's own defaults have it.
const TMP: &str = "/tmp/hadoop-${user.name}";
const STAGING: &str = "/tmp/hadoop-yarn/staging";
const LEVELDB: &str = "org.apache.hadoop.yarn.server.timeline.LeveldbTimelineStore";
const LEVELDB_STATE: &str =
    "org.apache.hadoop.yarn.server.timeline.recovery.LeveldbTimelineStateStore";
const SUMMARY: &str = "org.apache.hadoop.yarn.server.timeline.RollingLevelDBTimelineStore";

/// Looks at the files of this headnode; other nodes run no such service.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    if !config.is_headnode() {
        return Vec::new();
    }
    let conf = Path::new(&config.hadoop.conf);
    let mut findings = Vec::new();
    let mut absent = Vec::new();
    let mut read = |file: &Path, found: Result<Settings, NoFile>| match found {
        Ok(settings) => Some(settings),
        Err(NoFile::Absent) => {
            absent.push(format!("`{}`", file.display()));
            None
        }
        Err(NoFile::Faulty(why)) => {
            let text = format!(
                "`{}` cannot be read: {why}: mend it, so that it can be checked",
                file.display()
            );
            findings.push(Area::State.warning(text));
            None
        }
    };
    let mut xml = |name: &str| {
        let file = conf.join(name);
        read(&file, files::xml(&file))
    };
    let (core, yarn, mapred) = (xml("core-site.xml"), xml("yarn-site.xml"), xml("mapred-site.xml"));
    let livy = Path::new(&config.hadoop.livy_conf).join("livy.conf");
    let livy = read(&livy, files::lines(&livy));
    let core = core.unwrap_or_default();
    findings.extend(yarn.iter().flat_map(|yarn| timeline(&yarn.clone().or(&core))));
    findings.extend(mapred.iter().flat_map(|mapred| job_history(&mapred.clone().or(&core))));
    findings.extend(livy.iter().flat_map(|livy| recovery(livy, &core)));
    if !absent.is_empty() {
        let text = format!(
            "not checked, as there is no {}: write `hadoop.conf` and `hadoop.livy_conf` if they are elsewhere",
            absent.join(", ")
        );
        findings.push(Area::State.advice(text));
    }
    findings
}

/// Application Timeline Server: what its store is.
fn timeline(settings: &Settings) -> Vec<Finding> {
    if !settings.is_true("yarn.timeline-service.enabled") {
        return vec![Area::State.ok("the Application Timeline Server is off")];
    }
    let store = settings.get_or("yarn.timeline-service.store-class", LEVELDB);
    let summary = "yarn.timeline-service.entity-group-fs-store.summary-store";
    let (store, part) = if class(&store) == "EntityGroupFSTimelineStore" {
        (settings.get_or(summary, SUMMARY), "the summary of its timelines")
    } else {
        (store, "its timelines")
    };
    let mut findings = vec![if is_leveldb(&store) {
        let path =
            path(settings, "yarn.timeline-service.leveldb-timeline-store.path", "yarn/timeline");
        Area::State.warning(format!(
            "the Application Timeline Server keeps {part} on this host ({} in `{path}`): on the other headnode it begins without them, and what ran before a move is missing in its answers; write a `yarn.timeline-service.store-class` that both headnodes reach, or have the folder on a disk that moves along",
            class(&store)
        ))
    } else if class(&store) == "MemoryTimelineStore" {
        Area::State.warning(format!(
            "the Application Timeline Server keeps {part} in memory (MemoryTimelineStore): each restart loses them, and so does a move; write a `yarn.timeline-service.store-class` that keeps them"
        ))
    } else {
        Area::State.ok(format!(
            "the Application Timeline Server keeps {part} by {}, which is not known to be local",
            class(&store)
        ))
    }];
    let state = settings.get_or("yarn.timeline-service.state-store-class", LEVELDB_STATE);
    if settings.is_true("yarn.timeline-service.recovery.enabled") && is_leveldb(&state) {
        let path =
            path(settings, "yarn.timeline-service.leveldb-state-store.path", "yarn/timeline");
        findings.push(Area::State.warning(format!(
            "the Application Timeline Server keeps its delegation tokens on this host ({} in `{path}`): after a move applications that run are refused until they have new ones; have the folder on a disk that moves along",
            class(&state)
        )));
    }
    findings
}

/// Job History Server: where the histories of jobs lie.
fn job_history(settings: &Settings) -> Vec<Finding> {
    let staging = settings.get_or("yarn.app.mapreduce.am.staging-dir", STAGING);
    let folders = [
        ("mapreduce.jobhistory.done-dir", "history/done", "the histories of finished jobs"),
        (
            "mapreduce.jobhistory.intermediate-done-dir",
            "history/done_intermediate",
            "the histories of jobs that just finished",
        ),
    ];
    let folders = folders.map(|(key, default, what)| {
        let folder = settings.get_or(key, &format!("{staging}/{default}"));
        match locality(&folder, settings) {
            Locality::Local(shown) => Area::State.warning(format!(
                "the Job History Server keeps {what} on this host (`{key}` is {shown}): after a move they are missing until it moves back; write a folder of the cluster's file system, such as `hdfs:///mr-history`"
            )),
            Locality::Shared(shown) => {
                Area::State.ok(format!("the Job History Server keeps {what} in {shown}"))
            }
        }
    });
    folders.into()
}

/// Livy: whether sessions outlive its process, and where they are written.
fn recovery(livy: &Settings, core: &Settings) -> Vec<Finding> {
    const MODE: &str = "livy.server.recovery.mode";
    const STORE: &str = "livy.server.recovery.state-store";
    const URL: &str = "livy.server.recovery.state-store.url";
    let mode = livy.get_or(MODE, "off");
    if !mode.eq_ignore_ascii_case("recovery") {
        return vec![Area::State.warning(format!(
            "Livy does not recover (`{MODE}` is `{mode}`): a move ends all sessions and batches that it runs, or leaves them without anybody who knows them; write `{MODE} = recovery`, and a `{STORE}` that both headnodes reach"
        ))];
    }
    let store = livy.get_or(STORE, "");
    let url = livy.get_or(URL, "");
    vec![match (store.as_str(), locality(&url, core)) {
        ("filesystem", Locality::Local(shown)) => Area::State.warning(format!(
            "Livy writes its sessions on this host (`{URL}` is {shown}): on the other headnode it begins without them; write a folder of the cluster's file system, or use the store `zookeeper`"
        )),
        ("", _) => Area::State.warning(format!(
            "Livy recovers, and `{STORE}` is not written: it keeps its sessions nowhere; write `filesystem` or `zookeeper`"
        )),
        (store, Locality::Local(_) | Locality::Shared(_)) => {
            Area::State.ok(format!("Livy keeps its sessions by the store `{store}` (`{url}`)"))
        }
    }]
}

/// Where a folder lies; the folder with its file system before it, for people.
enum Locality {
    Local(String),
    Shared(String),
}

/// A folder without a file system is in the default one; and that is this host's own, where none is written.
fn locality(folder: &str, settings: &Settings) -> Locality {
    let local = |scheme: &str| scheme.eq_ignore_ascii_case("file");
    match folder.split_once(':') {
        Some((scheme, _)) if local(scheme) => Locality::Local(format!("`{folder}`")),
        Some((scheme, _)) if !scheme.contains('/') => Locality::Shared(format!("`{folder}`")),
        Some(_) | None => {
            let default = settings.get("fs.defaultFS").or_else(|| settings.get("fs.default.name"));
            match default {
                Some(default) if !default.split(':').next().is_some_and(local) => {
                    Locality::Shared(format!("`{}{folder}`", default.trim_end_matches('/')))
                }
                Some(_) => Locality::Local(format!("`file:{folder}`")),
                None => {
                    Locality::Local(format!("`file:{folder}`, as `fs.defaultFS` is not written"))
                }
            }
        }
    }
}

fn path(settings: &Settings, key: &str, default: &str) -> String {
    let tmp = settings.get_or("hadoop.tmp.dir", TMP);
    settings.get_or(key, &format!("{tmp}/{default}"))
}

/// A class without its package.
fn class(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn is_leveldb(class: &str) -> bool {
    class.to_ascii_lowercase().contains("leveldb")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tests::config;

    /// What is found in a folder with these files, a line each; `FOLDER` stands for it.
    fn told(files: &[(&str, &str)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let mut config = config();
        let path = folder.path().to_str().unwrap().to_owned();
        config.hadoop.conf.clone_from(&path);
        config.hadoop.livy_conf.clone_from(&path);
        let lines = findings(&config).into_iter();
        let lines = lines.map(|it| format!("{:<8} {}\n", it.level.word().0, it.text));
        lines.collect::<String>().replace(&path, "FOLDER")
    }

    /// Compares with a file that a person reviews.
    fn golden(name: &str, files: &[(&str, &str)]) {
        let said = told(files);
        let file = format!("{}/src/check/hadoop/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if said != expected && std::env::var_os("HEADSHIP_REWRITE").is_some() {
            fs::write(&file, &said).unwrap();
        }
        assert_eq!(said, expected, "HEADSHIP_REWRITE=1 accepts it");
    }

    fn site(properties: &[(&str, &str)]) -> String {
        let property = |(name, value): &(&str, &str)| {
            format!("<property><name>{name}</name><value>{value}</value></property>\n")
        };
        let properties: String = properties.iter().map(property).collect();
        format!("<?xml version=\"1.0\"?>\n<configuration>\n{properties}</configuration>\n")
    }

    #[test]
    fn a_cluster_as_it_is_installed_loses_much_by_a_move() {
        let core = site(&[("fs.defaultFS", "hdfs://mycluster"), ("hadoop.tmp.dir", "/data/tmp")]);
        let yarn = site(&[
            ("yarn.timeline-service.enabled", "true"),
            ("yarn.timeline-service.recovery.enabled", "true"),
        ]);
        let mapred = site(&[("mapreduce.jobhistory.done-dir", "file:///mr-history/done")]);
        golden(
            "installed",
            &[
                ("core-site.xml", &core),
                ("yarn-site.xml", &yarn),
                ("mapred-site.xml", &mapred),
                ("livy.conf", "# nothing is written\n"),
            ],
        );
    }

    #[test]
    fn what_both_headnodes_reach_is_well() {
        let core = site(&[("fs.defaultFS", "hdfs://mycluster")]);
        let yarn = site(&[
            ("yarn.timeline-service.enabled", "true"),
            ("yarn.timeline-service.store-class", "org.example.SqlTimelineStore"),
        ]);
        let livy = "livy.server.recovery.mode = recovery\nlivy.server.recovery.state-store = zookeeper\nlivy.server.recovery.state-store.url = zk0:2181\n";
        golden(
            "shared",
            &[
                ("core-site.xml", &core),
                ("yarn-site.xml", &yarn),
                ("mapred-site.xml", &site(&[])),
                ("livy.conf", livy),
            ],
        );
    }

    #[test]
    fn other_forms_of_local_state_are_named_too() {
        let yarn = site(&[
            ("yarn.timeline-service.enabled", "true"),
            (
                "yarn.timeline-service.store-class",
                "org.apache.hadoop.yarn.server.timeline.EntityGroupFSTimelineStore",
            ),
            ("yarn.timeline-service.leveldb-timeline-store.path", "/hadoop/yarn/timeline"),
        ]);
        let livy = "livy.server.recovery.mode = recovery\nlivy.server.recovery.state-store = filesystem\nlivy.server.recovery.state-store.url = file:///tmp/livy\n";
        golden(
            "other",
            &[("yarn-site.xml", &yarn), ("mapred-site.xml", &site(&[])), ("livy.conf", livy)],
        );
    }

    #[test]
    fn what_is_absent_is_said_in_one_line_and_what_is_garbled_by_its_name() {
        golden("absent", &[]);
        golden(
            "garbled",
            &[
                ("core-site.xml", "<configuration><property>"),
                (
                    "yarn-site.xml",
                    "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><configuration>&x;</configuration>",
                ),
            ],
        );
    }
}
