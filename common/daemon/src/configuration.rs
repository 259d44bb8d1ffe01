//! Reads the configuration from its folder; what it means is decided in the core.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use headship_core::config::{self, Config, Effective, Faults};
use headship_core::node::{BadName, NodeName};

use crate::Exit;

/// Where the configuration lies unless a program is told otherwise.
pub const FOLDER: &str = "/etc/headship";

/// The main file.
const MAIN: &str = "headship.toml";

/// The folder of fragments, read in the order of their names.
const FRAGMENTS: &str = "conf.d";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The main file is not there.
    #[error(
        "there is no configuration: copy `{path}.sample` to `{path}`, adapt it, and ask `headship check`", path = path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A file or folder is there, but cannot be read.
    #[error("cannot read `{}`{}", path.display(), way_out(source))]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The host's name can be no node's name, and no `node` is written.
    #[error("this host's name can be no node's name: write `node = \"…\"` to a file in conf.d")]
    HostName(#[source] BadName),
    /// It has faults.
    #[error("{0}")]
    Faults(Faults),
}

impl ConfigurationError {
    /// The exit code that tells it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Missing { .. } | Self::HostName(_) | Self::Faults(_) => Exit::Configuration,
            // Bytes that are no text stay none; a disk that fails may recover.
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
                Exit::Configuration
            }
            Self::Unreadable { .. } => Exit::Failed,
        }
    }
}

/// What helps where a file may not be read, as the end of a sentence.
fn way_out(source: &io::Error) -> &'static str {
    if source.kind() == io::ErrorKind::PermissionDenied {
        " (say it as root, or give everybody who shall look the right to read it)"
    } else {
        ""
    }
}

/// The configuration in `folder`, as this host uses it.
///
/// # Errors
///
/// There is none, it cannot be read, or it has faults (all of them at once).
pub fn load(folder: &Path) -> Result<Config, ConfigurationError> {
    Ok(effective(folder)?.config)
}

/// The same, and where each of its values comes from.
///
/// # Errors
///
/// As for [`load`].
pub fn effective(folder: &Path) -> Result<Effective, ConfigurationError> {
    let host = nix::unistd::gethostname().map_err(|errno| ConfigurationError::Unreadable {
        path: PathBuf::from("/proc/sys/kernel/hostname"),
        source: errno.into(),
    })?;
    effective_as(folder, &host.to_string_lossy())
}

/// The configuration in `folder`, as a host of this name uses it.
fn effective_as(folder: &Path, host: &str) -> Result<Effective, ConfigurationError> {
    let fragments = fragments(folder)?;
    let full = NodeName::try_from(host).map_err(ConfigurationError::HostName)?;
    let Effective { mut config, origins } =
        config::effective(&fragments, full.clone()).map_err(ConfigurationError::Faults)?;
    if config.node == full && !config.is_headnode() {
        // A host may call itself `hn0.example` where the file says `hn0`.
        let short = host.split('.').next().and_then(|short| NodeName::try_from(short).ok());
        let is_headnode =
            |node: &NodeName| config.headnodes.iter().any(|headnode| headnode.name == *node);
        if let Some(node) = short.filter(is_headnode) {
            config.node = node;
        }
    }
    Ok(Effective { config, origins })
}

/// The main file and its fragments, as (file name, text).
fn fragments(folder: &Path) -> Result<Vec<(String, String)>, ConfigurationError> {
    let main = folder.join(MAIN);
    let text = match fs::read_to_string(&main) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ConfigurationError::Missing { path: main });
        }
        Err(source) => return Err(ConfigurationError::Unreadable { path: main, source }),
    };
    let mut fragments = vec![(main.display().to_string(), text)];
    for path in fragment_paths(&folder.join(FRAGMENTS))? {
        let text = fs::read_to_string(&path)
            .map_err(|source| ConfigurationError::Unreadable { path: path.clone(), source })?;
        fragments.push((path.display().to_string(), text));
    }
    Ok(fragments)
}

/// The texts of the main file and its fragments, as far as they can be read, whatever faults they have: for those who must
/// know what they name all the same. Bytes that are no text stand in for themselves as a mark.
pub fn texts(folder: &Path) -> Vec<String> {
    let fragments = fs::read_dir(folder.join(FRAGMENTS)).into_iter().flatten().flatten();
    let fragments = fragments.map(|entry| entry.path());
    let toml = fragments.filter(|path| path.extension() == Some(OsStr::new("toml")));
    let files = toml.chain([folder.join(MAIN)]);
    files
        .filter_map(|path| fs::read(path).ok())
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .collect()
}

/// Whether any of these texts pins a service, be it those of a profile. Which one cannot be known of a text with faults.
pub fn pins(texts: &[String]) -> bool {
    let lines = texts.iter().flat_map(|text| text.lines());
    let mut lines = lines.filter(|line| !line.trim_start().starts_with('#'));
    lines.any(|line| {
        let mut pinned = line.split("pinned").skip(1);
        let esp = line.trim_start().strip_prefix("esp").and_then(value);
        pinned.any(|rest| value(rest).is_some()) || esp.is_some_and(|it| !it.starts_with("false"))
    })
}

/// What stands behind a key and an equals sign.
fn value(rest: &str) -> Option<&str> {
    Some(rest.trim_start().strip_prefix('=')?.trim_start())
}

/// Files that end in `.toml`, without those that editors and package tools leave behind.
fn fragment_paths(folder: &Path) -> Result<Vec<PathBuf>, ConfigurationError> {
    let unreadable = |source| ConfigurationError::Unreadable { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension() == Some(OsStr::new("toml")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"cluster = "main"
failover_quorum.servers = ["zk0:2181"]
headnode = [{ name = "hn0", address = "a" }, { name = "hn1", address = "b" }]
service = [{ name = "a", unit = "a.service", announce = true }]
"#;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(files: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join(FRAGMENTS)).unwrap();
            for (name, text) in files {
                fs::write(folder.path().join(name), text).unwrap();
            }
            Self(folder)
        }

        fn load(&self) -> Result<Config, ConfigurationError> {
            Ok(effective_as(self.0.path(), "hn1.example")?.config)
        }

        /// What is said of it, without the name of the temporary folder.
        fn said(&self) -> String {
            let said = self.load().unwrap_err().to_string();
            said.replace(self.0.path().to_str().unwrap(), "/etc/headship")
        }
    }

    #[test]
    fn a_missing_file_is_told_with_the_way_to_one() {
        let folder = Folder::with(&[]);
        assert_eq!(
            folder.said(),
            "there is no configuration: copy `/etc/headship/headship.toml.sample` to `/etc/headship/headship.toml`, adapt it, and ask `headship check`"
        );
        assert_eq!(folder.load().unwrap_err().exit(), Exit::Configuration);
    }

    #[test]
    fn faults_name_the_files_as_they_lie_there() {
        let folder = Folder::with(&[
            (MAIN, GOOD),
            ("conf.d/20-second.toml", "[timing]\nlease = 1"),
            ("conf.d/10-first.toml", "\nkluster = 1"),
            ("conf.d/.hidden.toml", "nonsense"),
            ("conf.d/30-old.toml.dpkg-old", "nonsense"),
        ]);
        assert_eq!(
            folder.said(),
            "/etc/headship/conf.d/10-first.toml:2: unknown key `kluster`: remove it, or write one of `cluster`, `node`, `cluster_type`, `esp`, `failover_quorum`, `apache_quorum`, `hadoop`, `headnode`, `timing`, `health`, `follow`, `fence`, `service`\n\
             /etc/headship/conf.d/20-second.toml:2: unknown key `lease`: remove it, or write one of `preset`, `lease_ms`, `session_ms`, `renew_ms`, `kill_ms`, `grace_ms`, `period_ms`, `lonely_after_ms`, `stay_out_ms`, `fence_budget_ms`, `dead_after_ms`"
        );
        assert_eq!(folder.load().unwrap_err().exit(), Exit::Configuration);
    }

    /// Root may read everything, so the error is made up.
    #[test]
    fn a_file_that_may_not_be_read_is_told_with_the_way_out() {
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        let path = PathBuf::from("/etc/headship/headship.toml");
        let said = ConfigurationError::Unreadable { path, source }.to_string();
        assert_eq!(
            said,
            "cannot read `/etc/headship/headship.toml` (say it as root, or give everybody who shall look the right to read it)"
        );
    }

    #[test]
    fn a_file_that_is_no_text_is_named() {
        let folder = Folder::with(&[(MAIN, GOOD)]);
        fs::write(folder.0.path().join("conf.d/10.toml"), [0xff, 0xfe]).unwrap();
        assert_eq!(folder.said(), "cannot read `/etc/headship/conf.d/10.toml`");
        assert_eq!(folder.load().unwrap_err().exit(), Exit::Configuration);
    }

    #[test]
    fn a_folder_without_fragments_is_enough() {
        let folder = Folder::with(&[(MAIN, GOOD)]);
        fs::remove_dir(folder.0.path().join(FRAGMENTS)).unwrap();
        assert_eq!(folder.load().unwrap().cluster, "main");
    }

    #[test]
    fn a_host_is_the_headnode_of_its_full_or_short_name_unless_the_file_says_otherwise() {
        let node = |files: &[(&str, &str)], host: &str| {
            effective_as(Folder::with(files).0.path(), host).unwrap().config.node.to_string()
        };
        assert_eq!(node(&[(MAIN, GOOD)], "hn1.example"), "hn1");
        assert_eq!(
            node(&[(MAIN, &GOOD.replace("hn1", "hn1.example"))], "hn1.example"),
            "hn1.example"
        );
        assert_eq!(node(&[(MAIN, GOOD)], "worker7.example"), "worker7.example");
        let named = [(MAIN, GOOD), ("conf.d/90-node.toml", "node = \"hn0\"")];
        assert_eq!(node(&named, "hn1.example"), "hn0");
    }

    #[test]
    fn a_text_with_faults_pins_services_by_itself_or_by_its_profile() {
        let pins = |text: &str| pins(&[text.to_owned()]);
        for text in ["oops\npinned= 'hn0'", "oops\nesp = true", " esp=tru", "esp = "] {
            assert!(pins(text), "{text}");
        }
        for text in ["# pinned = 'hn0'", "esp = false", "# esp = true", "name = \"esp\"\nresp = 1"]
        {
            assert!(!pins(text), "{text}");
        }
    }

    #[test]
    fn a_name_that_no_node_can_have_asks_for_one() {
        let folder = Folder::with(&[(MAIN, GOOD)]);
        let error = effective_as(folder.0.path(), "a b").unwrap_err();
        assert!(error.to_string().contains("write `node"), "{error}");
        assert_eq!(error.exit(), Exit::Configuration);
    }
}
