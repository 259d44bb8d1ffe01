//! The programs of this very source, for tests that run them as plain processes.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The folder with the programs, built now if that is needed: cargo builds no programs of other packages for a test.
///
/// The whole workspace is built, as by every other build of it: for one package alone, cargo chooses other features of the
/// dependencies and compiles all of them once more.
///
/// # Errors
///
/// Why they cannot be built; what cargo said of it went to the standard error.
pub fn programs() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> Result<PathBuf, String> {
    let test = std::env::current_exe().map_err(|error| error.to_string())?;
    // target/PROFILE/deps/TEST
    let profile_dir = test.ancestors().nth(2).ok_or("the test lies in no target folder")?;
    let target = profile_dir.parent().ok_or("the test lies in no target folder")?;
    let profile = if profile_dir.ends_with("release") { "release" } else { "dev" };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--workspace", "--bins", "--quiet", "--profile", profile]);
    cargo.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    match cargo.status() {
        Ok(status) if status.success() => Ok(profile_dir.to_owned()),
        Ok(status) => Err(format!("the programs cannot be built: cargo {status}")),
        Err(error) => Err(format!("cargo cannot be run: {error}")),
    }
}
