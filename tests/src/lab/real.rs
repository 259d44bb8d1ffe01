//! Real programs as HA services: Hadoop's and Livy's own servers, in place of the light ones of the same names.
//!
//! They come from Maven Central, once, and are kept: a layer below the headnodes' disks holds their jars. Versions and
//! checksums stand in `tests/lab/real`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::command::finish;
use super::error::{Result, Tried};
use super::files::Sources;

/// Raised when what is fetched changes, so that an old layer is not taken for a new one.
const RECIPE: u32 = 1;

/// Where the jars are on a host.
const JARS: &str = "usr/lib/headship-lab";

/// Files of the real programs on a headnode.
pub(super) const LIST: &str = "tests/lab/real.files";

/// What the suite is told of them.
const FRAGMENT: &str = "tests/lab/real/headship.toml";

/// What the HA services of a lab are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Services {
    /// Small servers of our own, which start at once and misbehave on request.
    #[default]
    Light,
    /// Hadoop's Application Timeline Server and Job History Server, and Livy; Ambari server stays a light one.
    Real,
}

impl Services {
    /// How many times longer than with light services things may take: a JVM starts in some seconds, and on two busy
    /// cores in some more.
    #[must_use]
    pub const fn slowness(self) -> u32 {
        match self {
            Self::Light => 1,
            Self::Real => 3,
        }
    }
}

/// The layer with the programs, fetched if it is not there. `say` hears one line before that, which takes a minute or two.
///
/// # Errors
/// Maven is missing, Maven Central is out of reach, or what it gave is not what it was.
pub(super) fn provide(
    cache: &Path,
    sources: &Sources,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf> {
    let layer = cache.join(format!("real-{RECIPE}"));
    fs::create_dir_all(cache).tried(|| format!("create `{}`", cache.display()))?;
    // Two labs that come up together fetch once.
    let lock = cache.join("real-lock");
    let held = File::create(&lock).tried(|| format!("create `{}`", lock.display()))?;
    held.lock().tried(|| format!("lock `{}`", lock.display()))?;
    if layer.exists() {
        return Ok(layer);
    }
    say(&format!(
        "fetching Hadoop's and Livy's servers into {}: once, 170 MB, takes a minute or two",
        layer.display()
    ));
    let unfinished = layer.with_extension("unfinished");
    let fetch = sources.repository.join("tests/lab/real/fetch");
    finish(Command::new(fetch).arg(unfinished.join(JARS)))?;
    fs::rename(&unfinished, &layer)
        .tried(|| format!("move `{}` into place", unfinished.display()))?;
    Ok(layer)
}

/// What the suite is told of the programs.
pub(super) fn fragment(sources: &Sources) -> Result<String> {
    let file = sources.repository.join(FRAGMENT);
    fs::read_to_string(&file).tried(|| format!("read `{}`", file.display()))
}
