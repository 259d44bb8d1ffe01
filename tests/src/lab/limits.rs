//! What a lab takes of this machine's limits.

use std::fs;

const FILE: &str = "/proc/sys/fs/inotify/max_user_instances";

/// A lab's systemds and daemons take some sixty. The kernel's default is 128, for all labs of this machine together; a host that
/// gets none does not boot, and a daemon that gets none sees changes late.
const INSTANCES: u32 = 1024;

/// Lets root have as many inotify instances as some labs take, and says so if that changed something.
pub(super) fn raise(say: &mut dyn FnMut(&str)) {
    let granted = fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let Some(granted) = granted.filter(|granted| *granted < INSTANCES) else { return };
    match fs::write(FILE, INSTANCES.to_string()) {
        Ok(()) => {
            say(&format!("raised fs.inotify.max_user_instances from {granted} to {INSTANCES}"))
        }
        Err(error) => say(&format!(
            "fs.inotify.max_user_instances is {granted}, and cannot be raised ({error}): beside another lab, hosts may not boot"
        )),
    }
}
