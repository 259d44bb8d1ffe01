//! What is elected in the Apache quorum: NameNode, ResourceManager and HBase Master. It is looked at and never touched, and
//! says nothing of whether the cluster is well: these are independent of the active headnode.

use std::time::Duration;

use headship_core::config::checked::ApacheQuorum;
use headship_core::hadoop::{self, Garbled, Instance};
use headship_zk::{Guest, Look};
use tokio::time::timeout;

/// How long all of it may take: `status` waits no longer for it, whatever becomes of that quorum.
pub(crate) const LIMIT: Duration = Duration::from_millis(1500);
/// How long the end of the session may take.
const LEAVE: Duration = Duration::from_millis(200);
/// How many nameservices, YARN clusters and standbys are looked at, each.
const MOST: usize = 16;

/// The znode of who is active, and the one of who was last, which stays.
const LOCK: &str = "ActiveStandbyElectorLock";
const BREADCRUMB: &str = "ActiveBreadCrumb";

/// The kind of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    NameNode,
    ResourceManager,
    HBaseMaster,
}

/// One component of which one instance is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Component {
    pub(crate) kind: Kind,
    /// The nameservice or YARN cluster that it is of.
    pub(crate) of: Option<String>,
    /// The active instance, if there is one.
    pub(crate) active: Option<Instance>,
    /// The one that was active last, where none is.
    pub(crate) last: Option<Instance>,
    /// Those that wait, where znodes tell it: see [`Kind::tells_standbys`].
    pub(crate) standbys: Vec<Instance>,
    /// What is not known, and why.
    pub(crate) fault: Option<String>,
}

/// What is known of the Apache quorum: what is elected there, or why nothing is known.
pub(crate) type Seen = Result<Vec<Component>, String>;

impl Kind {
    /// The word for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::NameNode => "NameNode",
            Self::ResourceManager => "ResourceManager",
            Self::HBaseMaster => "HBase Master",
        }
    }

    /// The word for programs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::NameNode => "name-node",
            Self::ResourceManager => "resource-manager",
            Self::HBaseMaster => "hbase-master",
        }
    }

    /// Whether the records tell which instances wait: Hadoop's elector names only who is active, or was last.
    pub(crate) fn tells_standbys(self) -> bool {
        match self {
            Self::NameNode | Self::ResourceManager => false,
            Self::HBaseMaster => true,
        }
    }
}

/// Looks at it, within [`LIMIT`].
pub(crate) async fn look(quorum: &ApacheQuorum) -> Seen {
    let looked = timeout(LIMIT, async {
        let guest = Guest::connect(&quorum.servers, LIMIT * 2 / 3).await;
        let guest = guest.map_err(|unwelcome| unwelcome.to_string())?;
        let (hdfs, yarn, hbase) = tokio::join!(
            elections(&guest, &quorum.hdfs, Kind::NameNode, hadoop::name_node),
            elections(&guest, &quorum.yarn, Kind::ResourceManager, hadoop::resource_manager),
            hbase_master(&guest, &quorum.hbase),
        );
        guest.leave(LEAVE).await;
        Ok([hdfs, yarn, hbase.into_iter().collect()].concat())
    });
    looked.await.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")))
}

type Decode = fn(&[u8]) -> Result<Instance, Garbled>;

/// The elections below `folder`, each in a folder of its own.
async fn elections(guest: &Guest, folder: &str, kind: Kind, decode: Decode) -> Vec<Component> {
    let bare =
        |of, fault| Component { kind, of, active: None, last: None, standbys: Vec::new(), fault };
    let (names, fault) = match guest.children(folder).await {
        Look::Done(names) => (names, None),
        Look::Missing => return Vec::new(),
        unseen @ (Look::Refused | Look::Unknown(_)) => {
            (Vec::new(), unseen_because(folder, &unseen))
        }
    };
    let mut components: Vec<Component> =
        fault.map(|fault| bare(None, Some(fault))).into_iter().collect();
    for name in names.into_iter().filter(|name| is_name(name)).take(MOST) {
        let mut component = bare(Some(name.clone()), None);
        let path = format!("{folder}/{name}/{LOCK}");
        (component.active, component.fault) = instance(&path, &guest.data(&path).await, decode);
        if component.active.is_none() {
            let path = format!("{folder}/{name}/{BREADCRUMB}");
            let (last, fault) = instance(&path, &guest.data(&path).await, decode);
            component.last = last;
            component.fault = component.fault.or(fault);
        }
        components.push(component);
    }
    components
}

async fn hbase_master(guest: &Guest, hbase: &str) -> Option<Component> {
    let (elected, backups) = (format!("{hbase}/master"), format!("{hbase}/backup-masters"));
    let (data, names) = tokio::join!(guest.data(&elected), guest.children(&backups));
    if data == Look::Missing && names == Look::Missing {
        return None;
    }
    let (active, mut fault) = instance(&elected, &data, hadoop::hbase_master);
    let names = match names {
        Look::Done(names) => names,
        Look::Missing => Vec::new(),
        unseen @ (Look::Refused | Look::Unknown(_)) => {
            fault = fault.or_else(|| unseen_because(&backups, &unseen));
            Vec::new()
        }
    };
    let mut standbys = Vec::new();
    for name in names.iter().take(MOST) {
        match hadoop::hbase_backup(name) {
            Ok(standby) => standbys.push(standby),
            Err(why) => fault = fault.or_else(|| Some(format!("a record of `{backups}`: {why}"))),
        }
    }
    Some(Component { kind: Kind::HBaseMaster, of: None, active, last: None, standbys, fault })
}

/// Who is named by what was found at `path`, or what is wrong with it.
fn instance(
    path: &str,
    found: &Look<Vec<u8>>,
    decode: Decode,
) -> (Option<Instance>, Option<String>) {
    match found {
        Look::Done(data) => match decode(data) {
            Ok(instance) => (Some(instance), None),
            Err(why) => (None, Some(format!("`{path}`: {why}"))),
        },
        Look::Missing => (None, None),
        Look::Refused | Look::Unknown(_) => (None, unseen_because(path, found)),
    }
}

fn unseen_because<T>(path: &str, found: &Look<T>) -> Option<String> {
    match found {
        Look::Done(_) | Look::Missing => None,
        Look::Refused => Some(format!("`{path}` may not be read by everybody")),
        Look::Unknown(why) => Some(format!("`{path}`: {why}")),
    }
}

/// Whether this can be shown: a znode's name may hold anything.
fn is_name(name: &str) -> bool {
    name.len() < 256 && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
}
