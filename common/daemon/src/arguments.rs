//! The arguments that all daemons share. On a host none is needed; tests and hosts without systemd put their files elsewhere.

use std::path::PathBuf;

use clap::Args;

use crate::configuration;

/// Where a daemon finds its files.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// The folder of headship.toml and conf.d.
    #[arg(long, value_name = "FOLDER", default_value = configuration::FOLDER)]
    pub config: PathBuf,
    /// The folder of this host's contract: permit, closed, locks, status lines. With another than the default, services
    /// are plain processes, and nothing ever reboots the host.
    #[arg(long, value_name = "FOLDER", default_value = "/run/headship")]
    pub run: PathBuf,
    /// The folder of what outlives a reboot.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/headship")]
    pub state: PathBuf,
    /// The folder of the suite's other programs.
    #[arg(long, value_name = "FOLDER", default_value = "/usr/lib/headship")]
    pub programs: PathBuf,
    /// The file with this machine's id.
    #[arg(long, value_name = "FILE", default_value = "/etc/machine-id")]
    pub machine_id: PathBuf,
}

impl Arguments {
    /// The command line that starts another program of the suite with the same files.
    pub fn command(&self, program: &str) -> Vec<String> {
        let mut command = vec![self.programs.join(program).display().to_string()];
        let files = [
            ("--config", &self.config),
            ("--run", &self.run),
            ("--state", &self.state),
            ("--programs", &self.programs),
            ("--machine-id", &self.machine_id),
        ];
        for (flag, path) in files {
            command.extend([flag.to_owned(), path.display().to_string()]);
        }
        command
    }
}
