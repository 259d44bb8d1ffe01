//! `headship active`: the name or address of the active headnode, for scripts.

use std::net::ToSocketAddrs;

use anyhow::{Context, Result};
use headship_core::config::Config;
use headship_core::node::NodeName;
use headship_daemon::Exit;
use serde::Serialize;

use crate::args::{Active, Place};
use crate::refusal::{Refusal, Refuse};
use crate::standing::{self, Conclusion};
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
            return arguments.refuse(&Refusal { exit: Exit::QuorumAway, sentence });
        }
    };
    let holder = match standing::holder(&records) {
        Ok(holder) => holder,
        Err(Conclusion { condition, sentence }) => {
            return arguments.refuse(&Refusal { exit: condition.exit(), sentence });
        }
    };
    let host = match host(config, holder.node) {
        Ok(host) => host,
        Err(refusal) => return arguments.refuse(&refusal),
    };
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

impl Refuse for Active {
    fn refuse(&self, refusal: &Refusal) -> Result<Exit> {
        let (why, exit) = (Some(refusal.sentence.clone()), refusal.exit.code());
        refusal.tell(self.json, &Document { why, exit, ..Document::default() })
    }
}

fn host<'a>(config: &'a Config, node: &NodeName) -> Result<&'a str, Refusal> {
    let headnode = config.headnodes.iter().find(|headnode| headnode.name == *node);
    headnode.map(|headnode| headnode.address.as_str()).ok_or_else(|| Refusal {
        exit: Exit::Failed,
        sentence: format!(
            "{node} is active, but is no headnode of the configuration here: bring it up to date"
        ),
    })
}

/// The first address of a host. Its port is of no interest.
fn ip(host: &str) -> Result<String> {
    let mut addresses =
        (host, 0).to_socket_addrs().with_context(|| format!("`{host}` has no address here"))?;
    let address = addresses.next().with_context(|| format!("`{host}` has no address here"))?;
    Ok(address.ip().to_string())
}
