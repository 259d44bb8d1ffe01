//! `headship config show`: the whole configuration that this node goes by, each value with where it comes from.
//!
//! What is written out, and how, is in `headship_core::config`. There are no secrets in it: those of fence agents lie in files.

use std::collections::BTreeMap;

use anyhow::Result;
use headship_daemon::{Exit, configuration};
use serde::Serialize;

use crate::args::{ConfigShow, Place};
use crate::output;
use crate::refusal::{Refusal, Refuse};

/// What `--json` prints. The keys are documented in headship(1).
#[derive(Debug, Default, Serialize)]
struct Document {
    profile: Option<String>,
    configuration: Option<serde_json::Value>,
    origins: BTreeMap<String, String>,
    left_out: BTreeMap<String, String>,
    conclusion: Option<String>,
    exit: u8,
}

/// Runs the command.
pub(crate) fn run(place: &Place, arguments: &ConfigShow) -> Result<Exit> {
    let effective = match configuration::effective(&place.config) {
        Ok(effective) => effective,
        Err(error) => return arguments.refuse(&error.into()),
    };
    if arguments.json {
        let left_out = effective.origins.left_out();
        output::json(&Document {
            profile: effective.origins.profile().map(str::to_owned),
            configuration: Some(effective.to_json()),
            origins: effective.told_origins(),
            left_out: left_out.map(|(name, origin)| (name.to_owned(), origin)).collect(),
            conclusion: None,
            exit: Exit::Ok.code(),
        })?;
    } else {
        output::print(&effective.to_toml())?;
    }
    Ok(Exit::Ok)
}

impl Refuse for ConfigShow {
    fn refuse(&self, refusal: &Refusal) -> Result<Exit> {
        let (conclusion, exit) = (Some(refusal.sentence.clone()), refusal.exit.code());
        refusal.tell(self.json, &Document { conclusion, exit, ..Document::default() })
    }
}
