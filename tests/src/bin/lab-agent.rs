//! `lab-agent`: the lab's stand-in for an Ambari agent. See `headship_tests::lab::agent`.

use std::path::PathBuf;

use clap::Parser;
use headship_tests::lab::SERVICE_LOG_INSIDE;
use headship_tests::lab::agent::Agent;

/// An agent of the lab: it registers at the host that the alias names when it starts, and notes that in a shared log.
#[derive(Debug, Parser)]
struct Arguments {
    /// Name that it registers at.
    #[arg(long, default_value = "headnodehost")]
    alias: String,
    /// Port of the server there.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Where the shared log is.
    #[arg(long, default_value = SERVICE_LOG_INSIDE)]
    log_dir: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let Arguments { alias, port, log_dir } = Arguments::parse();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(Agent { host, alias, port, log_dir }.run()?)
}
