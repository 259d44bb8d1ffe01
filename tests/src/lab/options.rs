//! What kind of lab to bring up, and what has to be known of it afterwards.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ensemble::Preset;
use super::files::Sources;
use super::place::{CACHE_DIR, DEFAULT_DIR, Role};
use super::real::{self, Services};

/// File lists of what is the lab's own on a headnode, and on every node.
const HEADNODE_LIST: &str = "tests/lab/headnode.files";
const NODE_LIST: &str = "tests/lab/node.files";

/// What kind of lab to bring up, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// State directory.
    pub dir: PathBuf,
    /// Number of the lab: labs that are up together need different ones.
    pub number: u8,
    /// Where base systems are kept.
    pub cache: PathBuf,
    /// The ensemble's tick, and which timing the suite is configured with.
    pub preset: Preset,
    /// Another tick than the preset's, in milliseconds.
    pub tick_ms: Option<u32>,
    /// Leaves the suite out.
    pub bare: bool,
    /// What the HA services are.
    pub services: Services,
    /// Fragments of the suite's configuration, by their names in `conf.d`, without the ending; read after `50-timing` and `55-real`.
    pub fragments: Vec<(String, String)>,
    /// Where the repository and the programs are.
    pub sources: Sources,
}

impl Options {
    /// What `lab up` does without options.
    #[must_use]
    pub fn for_people() -> Self {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap_or_else(|| Path::new("/"))
            .to_owned();
        Self {
            dir: PathBuf::from(DEFAULT_DIR),
            number: 0,
            cache: PathBuf::from(CACHE_DIR),
            preset: Preset::default(),
            tick_ms: None,
            bare: false,
            services: Services::default(),
            fragments: Vec::new(),
            sources: Sources { repository, programs: program_dir() },
        }
    }

    /// A lab beside the one that a person may have up.
    #[must_use]
    pub fn for_tests() -> Self {
        Self { dir: PathBuf::from(format!("{DEFAULT_DIR}-test")), number: 1, ..Self::for_people() }
    }

    /// File lists of what is the lab's own on a host, in the order in which they are installed.
    pub(super) fn lists(&self, role: Role) -> Vec<&'static str> {
        match (role, self.services) {
            (Role::Headnode, Services::Light) => vec![HEADNODE_LIST, NODE_LIST],
            (Role::Headnode, Services::Real) => vec![HEADNODE_LIST, real::LIST, NODE_LIST],
            (Role::Quorum | Role::Worker, Services::Light | Services::Real) => vec![NODE_LIST],
        }
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            number: self.number,
            preset: self.preset,
            tick_ms: self.tick_ms.unwrap_or_else(|| self.preset.tick_ms()),
            bare: self.bare,
            services: self.services,
        }
    }
}

/// Where the programs to install are: where `HEADSHIP_PROGRAMS` says, or where the build puts them, which is beside this
/// one, or above it for a test.
fn program_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("HEADSHIP_PROGRAMS") {
        return PathBuf::from(dir);
    }
    let own = std::env::current_exe().unwrap_or_default();
    let dir = own.parent().unwrap_or_else(|| Path::new("/"));
    if dir.ends_with("deps") { dir.parent().unwrap_or(dir).to_owned() } else { dir.to_owned() }
}

/// What `lab` must know when it is called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Number of the lab.
    pub number: u8,
    /// Preset that it was brought up with.
    pub preset: Preset,
    /// The ensemble's tick in milliseconds.
    pub tick_ms: u32,
    /// Whether the suite was left out.
    pub bare: bool,
    /// What its HA services are.
    pub services: Services,
}

impl Settings {
    /// What the suite has to be told of the ensemble that the lab really has.
    pub(super) fn timing_fragment(self) -> String {
        let preset = self.preset.name();
        format!(
            "[failover_quorum]\ntick_ms = {}\n\n[timing]\npreset = \"{preset}\"\n",
            self.tick_ms
        )
    }
}
