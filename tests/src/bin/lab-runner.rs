//! `lab-runner NAME PAGE -- PROGRAM…`: a real program as an HA service of the lab. See `headship_tests::lab::runner`.

use std::path::PathBuf;

use clap::Parser;
use headship_tests::lab::SERVICE_LOG_INSIDE;
use headship_tests::lab::runner::Runner;
use rustix::process::Pid;

/// Executes a program as an HA service of the lab, and notes its life in the log shared by all hosts.
#[derive(Debug, Parser)]
struct Arguments {
    /// Name in the log.
    name: String,
    /// What it answers with 200 once it serves: `host:port/path`.
    page: String,
    /// Where the shared log is.
    #[arg(long, default_value = SERVICE_LOG_INSIDE)]
    log_dir: PathBuf,
    /// Host name in the log, where the machine's own would not do.
    #[arg(long)]
    host: Option<String>,
    /// Observe this process, in place of running a program.
    #[arg(long, value_name = "PID", conflicts_with = "line")]
    observe: Option<i32>,
    /// Program and arguments.
    #[arg(last = true, required_unless_present = "observe")]
    line: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let own_name = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let runner = Runner {
        host: arguments.host.unwrap_or_else(own_name),
        name: arguments.name,
        page: arguments.page,
        log_dir: arguments.log_dir,
    };
    match arguments.observe.and_then(Pid::from_raw) {
        Some(pid) => Ok(runner.observe(pid)?),
        None => match runner.run(&arguments.line)? {},
    }
}
