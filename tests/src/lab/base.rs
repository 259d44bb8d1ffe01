//! The base system under all hosts: a small Debian with systemd and ZooKeeper, built once and kept.
//!
//! It comes from the Debian archive that this machine's own apt uses, and from nothing else of this machine, so that the
//! hosts are the same wherever the lab runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command::{finish, run};
use super::error::{LabError, Result, Tried};

/// What the hosts need beside Debian's essential packages. ZooKeeper's own package would start it in Debian's way, with
/// one server; the library holds the server as well.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,iputils-ping,procps,curl,default-jre-headless,libzookeeper-java";

/// What real resource agents need: to send what tells a network of an address, and to mount.
const FOR_AGENTS: &str = "gawk,kmod,libnet1,libplumb2,psmisc";

/// The agents themselves. Their package depends on cluster-glue, and with it on IPMI, SNMP and Perl, of which they use nothing.
const UNPACK_AGENTS: &str = r#"cd "$1/tmp" && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get download resource-agents && dpkg-deb --fsys-tarfile resource-agents_*.deb | tar --extract --directory "$1" --keep-directory-symlink && rm resource-agents_*.deb"#;

/// Raised when the recipe changes, so that an old base is not taken for a new one.
const RECIPE: u32 = 2;

/// What mmdebstrap is told about the machine's apt: how to reach the archive, not what to install.
const APT_SETTINGS: [&str; 4] =
    ["Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries"];

/// Where the base for this machine's Debian release is, or would be.
fn location(cache: &Path, suite: &str) -> PathBuf {
    cache.join(format!("base-{suite}-{RECIPE}"))
}

/// The base system, built if it is not there. `say` hears one line before a build, which takes about a minute.
///
/// # Errors
/// The archive is out of reach, or this machine's apt knows none.
pub(crate) fn provide(cache: &Path, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let suite = suite()?;
    let base = location(cache, &suite);
    fs::create_dir_all(cache).tried(|| format!("create `{}`", cache.display()))?;
    // Two labs that come up together build one base.
    let lock =
        File::create(cache.join("lock")).tried(|| format!("create `{}/lock`", cache.display()))?;
    lock.lock().tried(|| format!("lock `{}/lock`", cache.display()))?;
    if base.exists() {
        return Ok(base);
    }
    say(&format!(
        "building the hosts' base system ({suite}) in {}: once, takes about a minute",
        base.display()
    ));
    let unfinished = base.with_extension("unfinished");
    remove_tree(&unfinished)?;
    finish(&mut mmdebstrap(&suite, &unfinished)?)?;
    trim(&unfinished)?;
    fs::rename(&unfinished, &base)
        .tried(|| format!("move `{}` into place", unfinished.display()))?;
    Ok(base)
}

fn suite() -> Result<String> {
    let release =
        fs::read_to_string("/etc/os-release").tried(|| "read `/etc/os-release`".to_owned())?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    match codename {
        Some(name) if release.lines().any(|line| line == "ID=debian") => {
            Ok(name.trim_matches('"').to_owned())
        }
        Some(_) | None => Err(LabError::Unavailable(
            "its hosts are built from the machine's own Debian release, and this is no Debian"
                .to_owned(),
        )),
    }
}

fn mmdebstrap(suite: &str, target: &Path) -> Result<Command> {
    let mut command = Command::new("mmdebstrap");
    command.args([
        "--mode=root",
        "--variant=minbase",
        &format!("--include={PACKAGES},{FOR_AGENTS}"),
    ]);
    for excluded in ["man", "doc", "locale"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{excluded}/*"));
    }
    command.arg("--dpkgopt=force-unsafe-io");
    // The JRE's maintainer script puts links into the excluded directory and fails where it is missing.
    command.arg("--setup-hook=mkdir -p \"$1/usr/share/man/man1\"");
    command.arg(format!("--customize-hook={UNPACK_AGENTS}"));
    command.args([
        "--aptopt=Acquire::Languages \"none\"",
        "--aptopt=APT::Install-Recommends \"false\"",
    ]);
    for setting in run("apt-config", &["dump"])?
        .lines()
        .filter(|line| APT_SETTINGS.iter().any(|name| line.starts_with(name)))
    {
        command.arg(format!("--aptopt={setting}"));
    }
    command.arg(suite).arg(target);
    command.args(debian_sources(suite)?);
    Ok(command)
}

/// The lines of a sources.list that name Debian's own archive, as this machine's apt reaches it.
fn debian_sources(suite: &str) -> Result<Vec<String>> {
    let architecture = run("dpkg", &["--print-architecture"])?;
    let format = "$(ORIGIN)|$(ARCHITECTURE)|$(REPO_URI)|$(CODENAME)|$(RELEASE)|$(COMPONENT)";
    let targets = run("apt-get", &["indextargets", "--format", format, "Created-By: Packages"])?;
    let sources = parse_targets(&targets, architecture.trim(), suite);
    if sources.is_empty() {
        return Err(LabError::Unavailable(format!(
            "its apt knows no Debian archive for {suite}: run `apt-get update`"
        )));
    }
    Ok(sources)
}

fn parse_targets(targets: &str, architecture: &str, suite: &str) -> Vec<String> {
    let mut sources = Vec::new();
    for line in targets.lines() {
        let words: Vec<&str> = line.split('|').collect();
        let [origin, arch, uri, codename, release, component] = words.as_slice() else { continue };
        let of_suite = *codename == suite || codename.starts_with(&format!("{suite}-"));
        if *origin == "Debian" && *arch == architecture && of_suite && *component == "main" {
            sources.push(format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {uri} {release} {component}"));
        }
    }
    sources
}

/// Takes out what would only cost the hosts time: each boots in a fraction of a second without it.
fn trim(root: &Path) -> Result<()> {
    let masked = [
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
        "dpkg-db-backup.timer",
        "e2scrub_all.timer",
        "e2scrub_reap.service",
        "fstrim.timer",
        "systemd-tmpfiles-clean.timer",
        "console-getty.service",
        "getty.target",
        "systemd-timesyncd.service",
        "systemd-update-utmp.service",
        "systemd-update-utmp-runlevel.service",
        "dev-hugepages.mount",
        "dev-mqueue.mount",
        "sys-fs-fuse-connections.mount",
    ];
    for unit in masked {
        let link = root.join("etc/systemd/system").join(unit);
        if fs::symlink_metadata(&link).is_ok() {
            fs::remove_file(&link).tried(|| format!("remove `{}`", link.display()))?;
        }
        std::os::unix::fs::symlink("/dev/null", &link)
            .tried(|| format!("mask `{}`", link.display()))?;
    }
    // It would keep the packages' maintainer scripts from starting units, and is no part of a user's machine.
    let policy = root.join("usr/sbin/policy-rc.d");
    if policy.exists() {
        fs::remove_file(&policy).tried(|| format!("remove `{}`", policy.display()))?;
    }
    Ok(())
}

fn remove_tree(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).tried(|| format!("remove `{}`", path.display()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debians_own_archive_of_this_release_is_used() {
        let targets = "Debian|amd64|http://deb.example/debian/|trixie|trixie|main
Debian|amd64|http://deb.example/debian/|trixie|trixie|contrib
Debian|i386|http://deb.example/debian/|trixie|trixie|main
Debian|amd64|http://deb.example/debian-security/|trixie-security|trixie-security|main
Debian|amd64|http://deb.example/debian/|sid|unstable|main
Somebody|amd64|http://other.example/|trixie|trixie|main
";
        let sources = parse_targets(targets, "amd64", "trixie");
        let keyring = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
        assert_eq!(
            sources,
            [
                format!("deb {keyring} http://deb.example/debian/ trixie main"),
                format!("deb {keyring} http://deb.example/debian-security/ trixie-security main"),
            ]
        );
    }
}
