//! A fence agent: told on its standard input what to do, so that no secret shows in a list of processes.

use std::collections::BTreeMap;
use std::time::Duration;

use headship_core::fencing::agent::{self, Action};
use headship_core::fencing::{Answer, End, Next, Run};
use tokio::time::{Instant, sleep};

use super::program;
use super::run::{Job, Runner};
use crate::secret;

/// The pause before `status` is asked again.
const AGAIN: Duration = Duration::from_millis(250);

/// A fence agent and what it is told about one headnode.
#[derive(Debug)]
pub(super) struct Agent<'a> {
    pub(super) program: &'a str,
    pub(super) secrets_file: Option<&'a str>,
    pub(super) parameters: &'a BTreeMap<String, String>,
}

impl Agent<'_> {
    /// Switches the host off, and sees that it is.
    pub(super) async fn off(&self, runner: &Runner, limit: Duration) -> Answer {
        let end = Instant::now() + limit;
        let (off, _) = self.run(runner, Action::Off, agent::share_of_off(limit)).await;
        let mut before = None;
        loop {
            let begin = Instant::now();
            let left = end.saturating_duration_since(begin);
            let (status, _) = self.run(runner, Action::Status, left).await;
            let status = agent::newest(before, status);
            // There has to be time for the pause, and for a run as long as this one.
            let last = end.saturating_duration_since(Instant::now()) <= AGAIN + begin.elapsed();
            match agent::next(&off, &status, last) {
                Next::Say(answer) => return answer,
                Next::Again => sleep(AGAIN).await,
            }
            before = Some(status);
        }
    }

    /// One run of the agent: how it ended, and its standard output.
    pub(super) async fn run(
        &self,
        runner: &Runner,
        action: Action,
        limit: Duration,
    ) -> (Run, String) {
        let unseen = |why| (Run { end: End::Unseen(why), said: String::new() }, String::new());
        if let Some(why) = program::unfit(self.program) {
            return unseen(why);
        }
        // Read anew each time: a credential may have been renewed.
        let secrets = match secrets(self.secrets_file) {
            Ok(secrets) => secrets,
            Err(why) => return unseen(why),
        };
        let input = agent::input(action, self.parameters, &secrets);
        let command = [self.program.to_owned()];
        let hidden = secrets.into_values().collect();
        runner.run(Job { command: &command, environment: Vec::new(), input, hidden }, limit).await
    }
}

/// The secret parameters, if there is a file of them; or why they cannot be used.
pub(super) fn secrets(file: Option<&str>) -> Result<BTreeMap<String, String>, String> {
    let Some(path) = file else { return Ok(BTreeMap::new()) };
    let cannot = |why: String| format!("cannot be told its secrets: {why}");
    let text = secret::read(path).map_err(cannot)?;
    agent::secrets(&text).map_err(|why| cannot(format!("`{path}` is not understood: {why}")))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn secrets_that_others_can_read_are_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ipmi.secrets");
        let read = || secrets(Some(path.to_str().unwrap()));
        assert!(read().unwrap_err().starts_with("cannot be told its secrets: `"));
        fs::write(&path, "password=hunter2\n").unwrap();
        for mode in [0o644, 0o640, 0o604, 0o660, 0o610] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let why = read().unwrap_err();
            assert!(why.contains("is open to others than its owner"), "{mode:o}: {why}");
            assert!(!why.contains("hunter2"), "{why}");
        }
        for mode in [0o600, 0o400] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(read().unwrap()["password"], "hunter2");
        }
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(secrets(link.to_str()).is_ok());
        assert!(secrets(dir.path().to_str()).is_err());
        assert_eq!(secrets(None), Ok(BTreeMap::new()));
    }
}
