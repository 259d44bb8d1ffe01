//! `lab-service NAME PORT`: one HA service of the lab. See `headship_tests::lab::service`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use headship_tests::lab::SERVICE_LOG_INSIDE;
use headship_tests::lab::service::{Ended, Service};
use rustix::process::Pid;

/// An HA service of the lab: a network server that notes its life in a log shared by all hosts.
#[derive(Debug, Parser)]
struct Arguments {
    /// Name in the log, and of the behaviour file.
    name: String,
    /// Port to serve at.
    port: u16,
    /// Address or host name to serve at.
    #[arg(long, default_value = "0.0.0.0")]
    address: String,
    /// Where the shared log is.
    #[arg(long, default_value = SERVICE_LOG_INSIDE)]
    log_dir: PathBuf,
    /// Where behaviour files are looked for.
    #[arg(long, default_value = "/run/lab-service")]
    control_dir: PathBuf,
    /// Host name in the log, where the machine's own would not do.
    #[arg(long)]
    host: Option<String>,
    /// Process that it does not outlive.
    #[arg(long, value_name = "PID")]
    owner: Option<i32>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let own_name = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let service = Service {
        host: arguments.host.unwrap_or_else(own_name),
        name: arguments.name,
        address: arguments.address,
        port: arguments.port,
        log_dir: arguments.log_dir,
        control_dir: arguments.control_dir,
        owner: arguments.owner.and_then(Pid::from_raw),
    };
    Ok(match service.run()? {
        Ended::InOrder => ExitCode::SUCCESS,
        Ended::Failed => ExitCode::FAILURE,
    })
}
