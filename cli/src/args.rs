//! The command line as people write it. The texts here are what `--help` teaches; packaging/man/headship.1 tells more.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use headship_core::node::NodeName;
use headship_daemon::configuration::FOLDER;
use headship_drivers::host::run::RUN;

const AFTER: &str = "\
Exit codes (one table for all programs; headship(1) has it in full):
   0  done; healthy                       6  refused, nothing moved
   1  failed, the message tells why       7  another headnode is active (is-active)
   2  arguments not understood            8  no headnode is active
   3  the configuration has faults        9  the failover quorum cannot be reached
   4  no headnode (is-active)            10  not in time; it may still happen
   5  a daemon runs here already         11  it works, but something is missing
   Daemons end with 4 on a node that they have no task on, and with 7 where they are not active.

Examples:
  headship status                  who is active, is the other one ready, and why not
  headship is-active && report     only where this headnode is active
  headship switchover              make the other headnode active, and watch it
  ssh $(headship active --host)    go to whichever headnode is active";

/// Sees and moves the active headnode of a headship cluster.
///
/// Two headnodes, and one of them is active: the HA services run there and nowhere else. This program shows which one,
/// and why, and moves the office on request. It runs on any node that has the cluster's configuration.
#[derive(Debug, Parser)]
#[command(name = "headship", version, after_help = AFTER, subcommand_required = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Where things are.
#[derive(Clone, Debug, Args)]
pub(crate) struct Place {
    /// The folder of headship.toml and conf.d
    #[arg(long, global = true, value_name = "FOLDER", default_value = FOLDER)]
    pub(crate) config: PathBuf,
    /// The folder where this host's daemons keep permit, closed and status lines
    #[arg(long, global = true, value_name = "FOLDER", default_value = RUN)]
    pub(crate) run: PathBuf,
    /// How long the failover quorum may take to answer
    #[arg(long, global = true, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show who is active, whether the other headnode is ready, and every service
    ///
    /// Its last line is the conclusion in one sentence, and its exit code says the same: 0 when one headnode is active and
    /// another one is ready to take over, 11 when something is missing or the active does not renew its lease, 8 when nobody
    /// is active, 9 when the failover quorum is out of sight; then it shows what this host knows by itself, and how old that is.
    Status(Status),
    /// Print the name of the active headnode, for scripts
    ///
    /// Prints nothing and ends with 8 while no headnode is active, also during a transition, and with 9 when the failover
    /// quorum cannot be reached: nobody can say then.
    ///
    /// It goes by the holder's session: of a headnode that has just lost its power or its network it still prints the name,
    /// for about the session timeout (4 s with the preset `normal`). `headship status` says within three renewals (1.5 s)
    /// that such a one does not renew its lease.
    Active(Active),
    /// Tell by the exit code whether this headnode, or NODE, is active
    ///
    /// 0 when it is; 7 when another one is; 8 when nobody is, also during a transition; 9 when the failover quorum cannot be
    /// reached, and 1 when the record of office cannot be understood: nobody can say then; 4 for a node that is no headnode.
    /// It says nothing unless there is no answer. Like `headship active` it goes by the holder's session.
    IsActive(IsActive),
    /// Show the last transitions, newest first, with what each phase took and why the way was free
    History(History),
    /// Make the other headnode active, in order: services stop here before they start there
    ///
    /// The active headnode checks that the other one is eligible and ready, stops its services, cedes, and the other one
    /// takes over without any wait. It is done when that one has announced that it is active; services that are not
    /// marked `announce` may still be starting then, and the last line names them. If it cannot be done, it is refused
    /// with the reason and nothing moves. Ctrl-C withdraws an order that was not answered yet; later it goes on by itself.
    Switchover(Switchover),
    /// Give up the headnode in office, though it may live, and have another one take over
    ///
    /// For an active that hangs or cannot be trusted; one that is well is moved in order by `switchover`. A standby claims office
    /// at once, over the holder's lock. From then on the holder cannot renew its lease: it stops its services when it hears of
    /// that, and by its deadline if it does not. Only when it has said so, or lease and kill time have surely passed, services
    /// start elsewhere. A standby that merely would rather not takes over if there is no better one. Refused with the reason, and
    /// nothing moves, if NODE does not hold office, nobody can take over, or failover is paused.
    Failover(Failover),
    /// Show what a claim to office waits for, and say that a headnode is powered off
    Fence {
        /// Which of the two.
        #[command(subcommand)]
        command: Fence,
    },
    /// Stop automatic failover until `headship resume`
    ///
    /// From then on no headnode takes office, whatever happens to the active one; the active one goes on, and its lease with
    /// it: should it die, be cut off or be stopped, its services stop, and nobody starts them elsewhere. A switchover is refused
    /// meanwhile. A second pause is refused by the name of who gave the first.
    Pause(Pause),
    /// Let headnodes take over again
    Resume(Resume),
    /// Take a headnode, or one service, out of the suite's hands for a while
    ///
    /// A headnode in maintenance takes no office, by itself or by order. The one in office is refused: `headship switchover`
    /// first. A service in maintenance is left alone on the active headnode: it is not started, restarted or stopped, whatever
    /// its state and its probes say, and nobody waits for it. Where it may not run it is stopped as ever: also when this headnode
    /// gives up office or loses it.
    Maintenance(Maintain),
    /// Have the headnodes follow the records as they are now, after these were restored or made anew
    ///
    /// A headnode that remembers another life of the cluster takes no office until then. Each headnode answers for itself: it
    /// follows at once if it did before, and otherwise when lease and kill time have passed since the order, so that whatever
    /// the old life allowed has surely run out. It is refused while a headnode holds office in another life.
    Adopt(Adopt),
    /// Check configuration, this host, the quorum and the timing before they are needed
    ///
    /// Changes nothing. Each finding is `ok`, `advice`, `warning` or `FAULT`, with the way out. The exit code is that of the
    /// worst: 0 (also with advice), 11 for warnings, 3 for a fault in the configuration, 9 when the failover quorum cannot be
    /// reached, 1 for any other.
    Check(Check),
    /// Show the whole configuration that this node goes by
    Config {
        /// What is shown.
        #[command(subcommand)]
        command: Config,
    },
}

/// `headship status`
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Print JSON; its keys are documented in headship(1) and stay
    #[arg(long)]
    pub(crate) json: bool,
    /// Show it again whenever something changes, until Ctrl-C
    #[arg(long, short)]
    pub(crate) watch: bool,
}

/// `headship active`
#[derive(Debug, Args)]
pub(crate) struct Active {
    /// Print its address or host name as the configuration has it
    #[arg(long, conflicts_with = "ip")]
    pub(crate) host: bool,
    /// Print its IP address
    #[arg(long)]
    pub(crate) ip: bool,
    /// Print name, host, address and epoch as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `headship is-active`
#[derive(Debug, Args)]
pub(crate) struct IsActive {
    /// The headnode that is asked about; without it, this host
    #[arg(value_name = "NODE", value_parser = node)]
    pub(crate) node: Option<NodeName>,
}

/// `headship history`
#[derive(Debug, Args)]
pub(crate) struct History {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `headship switchover`
#[derive(Debug, Args)]
pub(crate) struct Switchover {
    /// The headnode that shall be active, as after `--to`
    #[arg(value_name = "NODE", value_parser = node, conflicts_with = "to")]
    pub(crate) node: Option<NodeName>,
    /// The headnode that shall be active; without it, the one that is ready
    #[arg(long, value_name = "NODE", value_parser = node)]
    pub(crate) to: Option<NodeName>,
    /// Print the outcome with all phases as JSON, at the end
    #[arg(long)]
    pub(crate) json: bool,
}

/// `headship failover`
#[derive(Debug, Args)]
pub(crate) struct Failover {
    /// The headnode in office that is given up
    #[arg(long, value_name = "NODE", value_parser = node)]
    pub(crate) from: NodeName,
    /// Do not ask whether it shall be done
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print the outcome with all phases as JSON, at the end
    #[arg(long)]
    pub(crate) json: bool,
}

/// `headship fence`
#[derive(Debug, Subcommand)]
pub(crate) enum Fence {
    /// Show who claims office over whom, each way to it with its answer so far, and what can be confirmed
    ///
    /// That nobody claims is an answer, too: the exit code is 0 as well.
    List(FenceList),
    /// State that NODE is powered off, so that its office is taken without the wait for its lease
    ///
    /// Only for a headnode that is claimed over, or that a resume of `pause --keep` waits for, and whose power is off: one that was merely cut off may still run its services,
    /// and nobody but you can tell. It is asked before, and told exactly what is stated. Refused with the reason if neither is so,
    /// if NODE is not in the way, if anything shows that it lives, or if the attempt has changed meanwhile. Should it
    /// show a sign of life later, whoever took office stops everything again.
    Confirm(FenceConfirm),
}

/// `headship fence list`
#[derive(Debug, Args)]
pub(crate) struct FenceList {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `headship fence confirm`
#[derive(Debug, Args)]
pub(crate) struct FenceConfirm {
    /// The headnode that is powered off
    #[arg(value_name = "NODE", value_parser = node)]
    pub(crate) node: NodeName,
    /// Do not ask whether it is so
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print the outcome with all phases as JSON, at the end
    #[arg(long)]
    pub(crate) json: bool,
}

/// `headship pause`
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Have the active keep its services running, too, whatever the failover quorum does: for work on it
    #[arg(long)]
    pub(crate) keep: bool,
    /// Why, for whoever finds it paused
    #[arg(value_name = "REASON")]
    pub(crate) reason: Vec<String>,
    /// Print what holds afterwards as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `headship resume`
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// Print what holds afterwards as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `headship maintenance`
#[derive(Debug, Args)]
pub(crate) struct Maintain {
    /// A headnode, or an HA service
    #[arg(value_name = "NODE|SERVICE")]
    pub(crate) name: String,
    /// Whether it begins or ends
    #[arg(value_name = "on|off")]
    pub(crate) switch: Switch,
    /// Why, for whoever finds it so
    #[arg(value_name = "REASON")]
    pub(crate) reason: Vec<String>,
    /// Print what holds afterwards as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `headship adopt`
#[derive(Debug, Args)]
pub(crate) struct Adopt {
    /// Print what each headnode answered as JSON, at the end
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whether something begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// It begins.
    On,
    /// It ends.
    Off,
}

/// `headship check`
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Look at the configuration alone, which takes no time and asks nobody
    #[arg(long)]
    pub(crate) configuration: bool,
}

/// `headship config`
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print the whole configuration, each value with where it comes from
    ///
    /// It is headship.toml, conf.d and the profile in one, and defaults are written out: as headship.toml it gives the same
    /// configuration. Behind each value stands its file and line, the profile, or that it is the default. With faults there is no
    /// configuration to show: they are told, and the exit code is 3. It asks nobody.
    Show(ConfigShow),
}

/// `headship config show`
#[derive(Debug, Args)]
pub(crate) struct ConfigShow {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .filter(|limit| (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(limit))
        .ok_or_else(|| "write a number of seconds from 0.1 to 3600".to_owned())
}

fn node(text: &str) -> Result<NodeName, String> {
    NodeName::try_from(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use headship_daemon::Exit;

    use super::*;

    #[test]
    fn the_definition_holds() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_help_names_every_exit_code() {
        let table: Vec<&str> = AFTER.lines().take_while(|line| !line.is_empty()).collect();
        let words = table.join(" ").replace(',', "");
        let words: Vec<&str> = words.split_whitespace().collect();
        for exit in Exit::ALL {
            assert!(words.contains(&exit.code().to_string().as_str()), "{exit:?}");
        }
    }

    #[test]
    fn arguments_that_make_no_sense_are_refused() {
        for bad in [
            &["headship"][..],
            &["headship", "failback"],
            &["headship", "active", "--host", "--ip"],
            &["headship", "switchover", "hn1", "--to", "hn1"],
            &["headship", "switchover", "a/b"],
            &["headship", "switchover", "--to", "a/b"],
            &["headship", "status", "--timeout", "0"],
            &["headship", "status", "--timeout", "soon"],
        ] {
            assert_eq!(Arguments::try_parse_from(bad).unwrap_err().exit_code(), 2, "{bad:?}");
        }
    }

    #[test]
    fn the_man_page_has_the_table_of_exit_codes_and_every_option() {
        let page = include_str!("../../packaging/man/headship.1");
        for exit in Exit::ALL {
            let line = format!("\n{}|{}\n", exit.code(), exit.meaning());
            assert!(page.contains(&line), "{line}");
        }
        let command = Arguments::command();
        for command in command.get_subcommands().chain([&command]) {
            for option in command.get_opts().filter_map(clap::Arg::get_long) {
                let escaped = option.replace('-', "\\-");
                assert!(page.contains(&format!("\\-\\-{escaped}")), "--{option}");
            }
        }
    }

    #[test]
    fn places_may_be_said_before_or_after_the_command() {
        for good in [
            ["headship", "--config", "/c", "status", "--watch"],
            ["headship", "status", "--watch", "--config", "/c"],
        ] {
            let arguments = Arguments::try_parse_from(good).unwrap();
            assert_eq!(arguments.place.config, PathBuf::from("/c"));
            assert_eq!(arguments.place.timeout, Duration::from_secs(5));
        }
    }
}
