//! The configuration: as people write it (`file`), and as code uses it (`checked`).
//!
//! [`load`] turns one into the other and tells all faults at once, each with its file, its line and a way out. Everything
//! here is a function of texts: who reads the files, and whether the named units exist on a host, is decided elsewhere.

mod ambari;
pub mod checked;
mod convert;
mod driver;
mod fault;
mod fence;
mod file;
mod follow;
mod hadoop;
mod order;
mod preset;
mod probe;
mod reader;
mod relations;
mod service;
mod source;

pub use checked::Config;
pub use driver::OWN_UNITS;
pub use fault::{Fault, Faults, Place};

use crate::node::NodeName;

/// The configuration in `fragments`, as the node `node` uses it.
///
/// `fragments` are (file name, text), the main file first and then `conf.d/*.toml` in the order of their names: a later
/// one overrides single keys of an earlier one, and adds to a `[[headnode]]`, `[[fence]]` or `[[service]]` of the same `name`. A `node`
/// key in them overrides `node`, which is the host's name.
///
/// # Errors
///
/// All faults that were found, in the order of files and lines.
pub fn load(fragments: &[(String, String)], node: NodeName) -> Result<Config, Faults> {
    let mut reader = reader::Reader::new(source::Source::new(fragments));
    let config = reader.parse().and_then(|file| convert::config(&mut reader, file, node));
    let faults = reader.into_faults();
    match config {
        Some(config) if faults.is_empty() => Ok(config),
        Some(_) | None => Err(faults),
    }
}
