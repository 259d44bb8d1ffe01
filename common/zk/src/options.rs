//! Where the failover quorum is and what is asked of it.

use std::time::Duration;

use headship_core::config::checked::Config;
use headship_core::record::Key;
use zookeeper_client::AddWatchMode;

/// Where the failover quorum is and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The servers as `host:port`. They are tried in random order.
    pub servers: Vec<String>,
    /// The session timeout that is asked for; the servers may grant another.
    pub session: Duration,
    /// The path of the cluster's root, such as `/headship/prod`, without a slash at its end.
    pub root: String,
    /// What is reported as changed.
    pub watched: Watched,
}

/// Which changes are reported. Each costs every session that watches it a message, several times a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Every record.
    Everything,
    /// This one.
    Record(Key),
    /// None.
    Nothing,
}

impl Options {
    /// What is asked of `config`'s quorum.
    pub fn new(config: &Config, watched: Watched) -> Self {
        Self {
            servers: config.quorum.servers.clone(),
            session: config.timing.session,
            root: format!("/headship/{}", config.cluster),
            watched,
        }
    }

    /// The one watch that a session sets: it tells of the connection too, in order with the changes.
    pub(crate) fn watch(&self) -> (String, AddWatchMode) {
        match &self.watched {
            Watched::Everything => (self.root.clone(), AddWatchMode::PersistentRecursive),
            Watched::Record(key) => (self.path(key), AddWatchMode::Persistent),
            Watched::Nothing => (self.root.clone(), AddWatchMode::Persistent),
        }
    }

    /// The absolute path of a record.
    pub(crate) fn path(&self, key: &Key) -> String {
        format!("{}/{}", self.root, key.path())
    }

    /// The record at an absolute path, if it is one of ours.
    pub(crate) fn key(&self, path: &str) -> Option<Key> {
        Key::from_path(path.strip_prefix(&self.root)?.strip_prefix('/')?)
    }

    /// The absolute path of a folder.
    pub(crate) fn folder(&self, folder: &str) -> String {
        format!("{}/{folder}", self.root)
    }

    /// The absolute paths of the folders.
    pub(crate) fn folders(&self) -> impl Iterator<Item = String> {
        Key::FOLDERS.iter().map(|folder| format!("{}/{folder}", self.root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_others_are_no_keys_of_ours() {
        let options = Options {
            servers: vec![],
            session: Duration::ZERO,
            root: "/headship/prod".to_owned(),
            watched: Watched::Nothing,
        };
        assert_eq!(options.path(&Key::Switchover), "/headship/prod/orders/switchover");
        assert_eq!(options.key("/headship/prod/orders/switchover"), Some(Key::Switchover));
        for foreign in [
            "/headship/prod",
            "/headship/prod2/lock",
            "/headship/lock",
            "/lock",
            "/headship/prod/x",
        ] {
            assert_eq!(options.key(foreign), None, "{foreign}");
        }
    }
}
