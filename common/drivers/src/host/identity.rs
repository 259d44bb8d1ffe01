//! Who this process is: machine, boot, and a random id of its own.

use std::path::{Path, PathBuf};

use headship_core::node::{Identity, NodeName};

/// Where the machine's id stands on every systemd host.
pub const MACHINE_ID: &str = "/etc/machine-id";

/// What our own units hand on as the id of this boot, as PID 1 knows it (`%b`). They have mounts of their own, and in a
/// container see the machine's boot where everybody else on the host sees the container's.
const BOOT_VARIABLE: &str = "HEADSHIP_BOOT_ID";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const RANDOM_ID: &str = "/proc/sys/kernel/random/uuid";

/// Why this host's identity is not known.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read.
    #[error("cannot read `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The machine has no id (yet).
    #[error("`{0}` holds no machine id (32 hexadecimal digits): run `systemd-machine-id-setup`")]
    NoMachineId(PathBuf),
}

/// This process's identity under the name `node`. `machine_id` is `MACHINE_ID` but where several nodes share a machine.
pub fn identity(node: NodeName, machine_id: &Path) -> Result<Identity, IdentityError> {
    let machine = line(machine_id)?;
    if machine.len() != 32 || !machine.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(IdentityError::NoMachineId(machine_id.to_owned()));
    }
    Ok(Identity { node, machine, boot: boot()?, process: line(Path::new(RANDOM_ID))? })
}

/// The id of this boot of the host.
pub fn boot() -> Result<String, IdentityError> {
    let handed_on = std::env::var(BOOT_VARIABLE).ok().and_then(|id| as_the_kernel_writes_it(&id));
    handed_on.map_or_else(|| line(Path::new(BOOT_ID)), Ok)
}

/// systemd leaves the hyphens out.
fn as_the_kernel_writes_it(id: &str) -> Option<String> {
    let is_id = id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit());
    let part = |from, to| id.get(from..to);
    is_id.then_some(())?;
    Some([part(0, 8)?, part(8, 12)?, part(12, 16)?, part(16, 20)?, part(20, 32)?].join("-"))
}

fn line(path: &Path) -> Result<String, IdentityError> {
    std::fs::read_to_string(path)
        .map(|text| text.trim_end().to_owned())
        .map_err(|source| IdentityError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_identities_of_one_boot_differ_in_the_process_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("machine-id");
        std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
        let node = NodeName::try_from("hn0").unwrap();
        let one = identity(node.clone(), &file).unwrap();
        let two = identity(node, &file).unwrap();
        assert!(one.same_boot(&two));
        assert_ne!(one.process, two.process);
    }

    #[test]
    fn a_boot_id_of_systemds_is_that_of_the_kernel() {
        let kernels = line(Path::new(BOOT_ID)).unwrap();
        assert_eq!(as_the_kernel_writes_it(&kernels.replace('-', "")), Some(kernels.clone()));
        for other in ["", "%b", kernels.as_str()] {
            assert_eq!(as_the_kernel_writes_it(other), None);
        }
    }

    #[test]
    fn an_unset_machine_id_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("machine-id");
        std::fs::write(&file, "uninitialized\n").unwrap();
        let node = NodeName::try_from("hn0").unwrap();
        assert!(matches!(identity(node, &file), Err(IdentityError::NoMachineId(_))));
    }
}
