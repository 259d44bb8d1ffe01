//! What can be measured on a host without asking anybody. Nothing is judged here.

use std::collections::BTreeMap;
use std::path::Path;

use headship_core::eligibility::Disk;
use sysinfo::{Disks, MemoryRefreshKind, System};

/// The folders that the services and the suite write to.
const WRITTEN: [&str; 3] = ["/", "/var", "/run"];
const MIB: u64 = 1024 * 1024;

/// The file systems under the folders that are written to, by mount point. May hang with a disk that does.
pub(crate) fn disks() -> BTreeMap<String, Disk> {
    disks_under(&WRITTEN)
}

fn disks_under(folders: &[&str]) -> BTreeMap<String, Disk> {
    let disks = Disks::new_with_refreshed_list();
    let mut found = BTreeMap::new();
    for folder in folders.iter().map(Path::new) {
        // The mount point that a folder lies below is the longest one that it begins with.
        let disk = (disks.list().iter())
            .filter(|disk| folder.starts_with(disk.mount_point()))
            .max_by_key(|disk| disk.mount_point().as_os_str().len());
        if let Some(disk) = disk {
            let mount = disk.mount_point().display().to_string();
            let free_mib = disk.available_space() / MIB;
            found.insert(mount, Disk { free_mib, read_only: disk.is_read_only() });
        }
    }
    found
}

/// Available memory in MiB.
pub(crate) fn memory_available_mib() -> Option<u64> {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let available = system.available_memory();
    (available > 0).then_some(available / MIB)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_system_in_memory_is_measured_as_one_of_its_own() {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let in_memory = |line: &str| {
            let mut fields = line.split(' ').skip(1);
            let (mount, kind) = (fields.next()?, fields.next()?);
            (kind == "tmpfs" && !mount.contains('\\')).then(|| mount.to_owned())
        };
        // `/run` on a host; every Linux has `/dev/shm`.
        let mut in_memory: Vec<String> = mounts.lines().filter_map(in_memory).collect();
        in_memory.retain(|mount| mount == "/run" || mount == "/dev/shm");
        assert!(!in_memory.is_empty(), "{mounts}");
        for mount in in_memory {
            let found = disks_under(&[&mount]);
            assert!(found.contains_key(&mount), "{mount}: {found:?}");
        }
    }
}
