//! The commands that give an order: what they ask before, and what they refuse without one.

use anyhow::Result;
use headship_core::config::Config;
use headship_core::node::NodeName;
use headship_core::record::Order;
use headship_daemon::Exit;
use headship_drivers::host::clock;

use super::confirm::Confirm;
use super::failover::{self, Failover};
use super::kind::Kind;
use super::switchover::Switchover;
use super::{Conclusion, Document, Journey, run, steps};
use crate::args::{self, Place};
use crate::cluster::Cluster;
use crate::fence::Claim;
use crate::output;
use crate::refusal::{Refusal, Refuse};

/// Runs `headship switchover`.
pub(crate) async fn switch_over(
    config: &Config,
    place: &Place,
    arguments: &args::Switchover,
) -> Result<Exit> {
    let to = arguments.node.as_ref().or(arguments.to.as_ref()).cloned();
    run(config, place, Switchover { to }, arguments.json).await
}

impl Refuse for args::Switchover {
    fn refuse(&self, refusal: &Refusal) -> Result<Exit> {
        end_without_order(None, Err(refusal.clone()), self.json)
    }
}

impl Refuse for args::Failover {
    fn refuse(&self, refusal: &Refusal) -> Result<Exit> {
        end_without_order(Some(&self.from), Err(refusal.clone()), self.json)
    }
}

/// Runs `headship failover`.
pub(crate) async fn fail_over(
    config: &Config,
    place: &Place,
    arguments: &args::Failover,
) -> Result<Exit> {
    let from = &arguments.from;
    let kind = Failover { from: from.clone() };
    if arguments.yes {
        return run(config, place, kind, arguments.json).await;
    }
    // Nobody is asked whether to do what cannot be done. What changes until the answer is looked at once more with the order.
    if let Err(conclusion) = is_possible(config, place, &kind).await {
        Journey::new(config, place, kind, arguments.json).conclude(&conclusion)?;
        return Ok(conclusion.exit);
    }
    let question = format!("{}\nGive up {from}?", failover::explanation(config, from));
    if !output::agrees(&question)? {
        let declined = "nothing is ordered: say yes, or `--yes` where nobody can be asked";
        return arguments.refuse(&Refusal::new(declined.to_owned()));
    }
    run(config, place, kind, arguments.json).await
}

/// Whether an order could be given now; or the end that it would come to at once.
async fn is_possible<K: Kind>(config: &Config, place: &Place, kind: &K) -> Result<(), Conclusion> {
    let away = |why| Conclusion::new(Exit::QuorumAway, why);
    let mut cluster = Cluster::connect(config, place.timeout).await.map_err(away)?;
    let seen = async {
        let office = kind.office(config, &cluster.records().await.map_err(away)?)?;
        let steps = steps(&mut cluster, (&K::Order::KEY, ""), office.epoch, clock::wall()).await;
        let steps = steps.map_err(away)?;
        steps.map(drop).map_err(|why| Conclusion::new(Exit::Refused, why))
    };
    let seen = seen.await;
    cluster.close().await;
    seen
}

/// Runs `headship fence confirm`, for the claim that the operator was asked about.
pub(crate) async fn confirm(
    config: &Config,
    place: &Place,
    node: NodeName,
    agreed: Claim,
    json: bool,
) -> Result<Exit> {
    run(config, place, Confirm { node, agreed }, json).await
}

/// Ends a command that ordered nothing.
pub(crate) fn end_without_order(
    from: Option<&NodeName>,
    end: Result<String, Refusal>,
    json: bool,
) -> Result<Exit> {
    let (exit, sentence) = match end {
        Ok(sentence) => (Exit::Ok, sentence),
        Err(Refusal { exit, sentence }) => (exit, sentence),
    };
    if json {
        output::json(&Document {
            order: None,
            from: from.map(ToString::to_string),
            to: None,
            epoch: None,
            phases: Vec::new(),
            services: None,
            total_ms: 0,
            conclusion: sentence,
            exit: exit.code(),
        })?;
    } else if exit == Exit::Ok {
        output::line(&sentence)?;
    } else {
        output::complain(&sentence);
    }
    Ok(exit)
}
