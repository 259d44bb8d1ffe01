//! The log of a run: each fault with the time of the one clock that all hosts share, as in the service log.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::lab::overlap::Seconds;
use crate::lab::service_log;

/// A file to which all threads of a run write lines.
#[derive(Debug)]
pub(super) struct Log {
    file: Mutex<File>,
}

impl Log {
    pub(super) fn create(file: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(file)?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Writes a line with the time of now. What cannot be written is missed by whoever reads it; the run goes on.
    pub(super) fn write(&self, text: &str) {
        let line = format!("{}  {text}\n", Seconds(service_log::now()));
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes()).ok();
    }
}
