//! Who gives an order, and the order's name.

use std::fs;

use anyhow::{Context, Result};

/// A name for an order that no other one has.
///
/// # Errors
/// The kernel gives none.
pub(crate) fn random_id() -> Result<String> {
    let file = "/proc/sys/kernel/random/uuid";
    let text = fs::read_to_string(file).with_context(|| format!("cannot read `{file}`"))?;
    Ok(text.trim_end().to_owned())
}

/// Who gives the order and from where, for people.
///
/// # Errors
/// This host has no name.
pub(crate) fn am_i() -> Result<String> {
    let host = nix::unistd::gethostname().context("this host has no name")?;
    let id = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(id).ok().flatten();
    let user = user.map_or_else(|| id.to_string(), |user| user.name);
    Ok(format!("{user}@{}", host.to_string_lossy()))
}

/// Who, from where, and why.
///
/// # Errors
/// As for [`am_i`].
pub(crate) fn with_reason(reason: &str) -> Result<String> {
    let who = am_i()?;
    // It stands in one line of the log and of a page.
    let reason = reason.replace(char::is_control, " ");
    let reason = reason.trim();
    Ok(if reason.is_empty() { who } else { format!("{who}: {reason}") })
}
