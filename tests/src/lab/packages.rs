//! The suite's Debian packages: built from the programs at hand, and installed by dpkg once a role, into a layer below the
//! disks of all hosts of that role. There is no other way by which the suite comes onto a host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{UnmountFlags, unmount};

use super::command::finish;
use super::error::{Result, Tried};
use super::files::Sources;
use super::host::mount_overlay;
use super::place::{Place, Role};

/// What each node of the cluster gets, in the order in which they need each other.
const OF_NODES: [&str; 2] = ["headship-cli", "headship-node"];

/// What a headnode gets beside these.
const OF_HEADNODES: [&str; 1] = ["headship-headnode"];

/// Whose packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Of Debian.
    Deb,
    /// Of Fedora and its like.
    Rpm,
}

/// Whether this machine can build and install the packages of rpm.
///
/// # Errors
/// Why not, in one sentence.
pub fn can_rpm() -> std::result::Result<(), String> {
    let tried = finish(Command::new("rpmbuild").arg("--version"));
    tried.map(drop).map_err(|error| format!("it has no rpmbuild: {error}"))
}

/// The packages of one version.
#[derive(Clone, Debug)]
pub struct Packages {
    files: Vec<PathBuf>,
}

impl Packages {
    /// Builds the packages, or finds that they are built already. As another `version` than that of the programs they
    /// belong into a folder `out` of their own.
    ///
    /// # Errors
    /// Programs are missing, or the build fails and says why.
    pub fn build(sources: &Sources, format: Format, other: Option<(&str, &Path)>) -> Result<Self> {
        let mut command = Command::new(sources.repository.join("packaging/build"));
        command.arg("--programs").arg(&sources.programs);
        if let Some((version, out)) = other {
            command.arg("--version").arg(version).arg("--out").arg(out);
        }
        let printed = finish(command.arg(match format {
            Format::Deb => "deb",
            Format::Rpm => "rpm",
        }))?;
        Ok(Self { files: printed.lines().map(PathBuf::from).collect() })
    }

    /// The files of the packages that a host of this role gets.
    #[must_use]
    pub fn of(&self, role: Role) -> Vec<&Path> {
        let more = match role {
            Role::Headnode => &OF_HEADNODES[..],
            Role::Quorum | Role::Worker => &[],
        };
        self.named(&[&OF_NODES[..], more].concat())
    }

    fn named(&self, packages: &[&str]) -> Vec<&Path> {
        let is_of = |file: &&Path, package: &str| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            // Its version follows, after another mark in each format.
            let version = name.strip_prefix(package).and_then(|rest| rest.get(1..));
            version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
        };
        let found = |package: &&str| {
            self.files.iter().map(PathBuf::as_path).find(|file| is_of(file, package))
        };
        packages.iter().filter_map(found).collect()
    }
}

/// What is there before any package is installed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Below<'a> {
    /// The base system.
    pub(crate) base: &'a Path,
    /// The real programs, for headnodes, if there shall be any.
    pub(crate) real: Option<&'a Path>,
}

/// What lies below the disks of hosts, the topmost first.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    nodes: Vec<PathBuf>,
    headnodes: Vec<PathBuf>,
}

impl Layers {
    /// Installs the packages over `base`, if there shall be any.
    pub(crate) fn install(
        place: &Place,
        below: &Below<'_>,
        packages: Option<&Packages>,
    ) -> Result<Self> {
        let mut nodes = vec![below.base.to_owned()];
        let mut headnodes = nodes.clone();
        if let Some(packages) = packages {
            nodes = install(place, "node", &nodes, &packages.named(&OF_NODES))?;
            headnodes = install(place, "headnode", &nodes, &packages.named(&OF_HEADNODES))?;
        }
        // Below the base system, whose folders they share.
        headnodes.extend(below.real.map(Path::to_owned));
        Ok(Self { nodes, headnodes })
    }

    pub(crate) fn below(&self, role: Role) -> &[PathBuf] {
        match role {
            Role::Headnode => &self.headnodes,
            Role::Quorum | Role::Worker => &self.nodes,
        }
    }
}

/// Installs packages into a layer over those that are given, and puts it on top of them.
fn install(
    place: &Place,
    name: &str,
    below: &[PathBuf],
    packages: &[&Path],
) -> Result<Vec<PathBuf>> {
    let [upper, work, root] = ["upper", "work", "root"].map(|part| place.layer(name, part));
    for dir in [&upper, &work, &root] {
        fs::create_dir_all(dir).tried(|| format!("create `{}`", dir.display()))?;
    }
    mount_overlay(below, &upper, &work, &root)?;
    let installed = dpkg(&root, packages);
    unmount(&root, UnmountFlags::empty()).tried(|| format!("unmount `{}`", root.display()))?;
    installed?;
    Ok([&[upper], below].concat())
}

/// As `dpkg --install` on a machine that has not booted yet: no daemon is there to be started or asked.
fn dpkg(root: &Path, packages: &[&Path]) -> Result<()> {
    let mut names = Vec::new();
    for package in packages {
        let name = package.file_name().unwrap_or_default();
        fs::copy(package, root.join(name))
            .tried(|| format!("copy `{}` into a layer", package.display()))?;
        names.push(name.to_owned());
    }
    let mut line = Command::new("chroot");
    line.arg(root).args(["dpkg", "--install"]).args(&names);
    // What they say to people is of no interest here; what fails is.
    let installed = finish(line.current_dir("/").env("DEBIAN_FRONTEND", "noninteractive"));
    for name in names {
        let file = root.join(name);
        fs::remove_file(&file).tried(|| format!("remove `{}`", file.display()))?;
    }
    installed.map(drop)
}
