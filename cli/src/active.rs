//! `headship active`: the name or address of the active headnode, for scripts.

use std::net::ToSocketAddrs;

use anyhow::{Context, Result};
use headship_core::config::Config;
use headship_core::node::NodeName;
use headship_daemon::Exit;
use serde::Serialize;

use crate::args::{Active, Place};
use crate::standing::{self, Conclusion, Condition};
use crate::{cluster, output};

/// What `--json` prints. The keys are documented in headship(1).
#[derive(Debug, Default, Serialize)]
struct Document {
    active: Option<String>,
    host: Option<String>,
    ip: Option<String>,
    epoch: Option<u64>,
    why: Option<String>,
    exit: u8,
}

/// Runs the command.
pub(crate) async fn run(config: &Config, place: &Place, arguments: &Active) -> Result<Exit> {
    let records = match cluster::once(config, place.timeout).await {
        Ok(records) => records,
        Err(sentence) => {
            return refuse(arguments, &Conclusion { condition: Condition::QuorumAway, sentence });
        }
    };
    let holder = match standing::holder(&records) {
        Ok(holder) => holder,
        Err(conclusion) => return refuse(arguments, &conclusion),
    };
    let host = host(config, holder.node)?;
    if arguments.json {
        output::json(&Document {
            active: Some(holder.node.to_string()),
            host: Some(host.to_owned()),
            ip: ip(host).ok(),
            epoch: Some(holder.epoch.0),
            why: None,
            exit: Exit::Ok.code(),
        })?;
    } else if arguments.ip {
        output::line(&ip(host)?)?;
    } else if arguments.host {
        output::line(host)?;
    } else {
        output::line(holder.node.as_str())?;
    }
    Ok(Exit::Ok)
}

fn refuse(arguments: &Active, conclusion: &Conclusion) -> Result<Exit> {
    let exit = conclusion.condition.exit();
    if arguments.json {
        let why = Some(conclusion.sentence.clone());
        output::json(&Document { why, exit: exit.code(), ..Document::default() })?;
    } else {
        output::complain(&conclusion.sentence);
    }
    Ok(exit)
}

fn host<'a>(config: &'a Config, node: &NodeName) -> Result<&'a str> {
    let headnode = config.headnodes.iter().find(|headnode| headnode.name == *node);
    let headnode = headnode.with_context(|| {
        format!(
            "{node} is active, but is no headnode of the configuration here: bring it up to date"
        )
    })?;
    Ok(&headnode.address)
}

/// The first address of a host. Its port is of no interest.
fn ip(host: &str) -> Result<String> {
    let mut addresses =
        (host, 0).to_socket_addrs().with_context(|| format!("`{host}` has no address here"))?;
    let address = addresses.next().with_context(|| format!("`{host}` has no address here"))?;
    Ok(address.ip().to_string())
}
