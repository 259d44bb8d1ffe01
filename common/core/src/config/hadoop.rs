//! `[apache_quorum]` and `[hadoop]` of the file as code uses them: where Hadoop's own records and files are.
//!
//! Both are only looked at. Whoever does not write `[apache_quorum]` is shown nothing of it; an empty table is enough where
//! both quorums have the same servers.

use toml::Spanned;

use super::checked::{ApacheQuorum, Hadoop, Quorum};
use super::convert::check_servers;
use super::file::{self, Given};
use super::preset;
use super::reader::Reader;

/// The Apache quorum; `None` if there is no such table.
pub(super) fn apache_quorum(
    reader: &mut Reader,
    table: Option<Spanned<file::ApacheQuorum>>,
    failover: &Quorum,
) -> Option<ApacheQuorum> {
    const SERVERS: &str = "apache_quorum.servers";
    let table = reader.table("apache_quorum", Some(table?));
    let servers = reader.value(SERVERS, table.servers);
    if let Some(servers) = &servers {
        check_servers(reader, SERVERS, servers);
    }
    Some(ApacheQuorum {
        servers: servers.unwrap_or_else(|| failover.servers.clone()),
        hdfs: path(reader, "apache_quorum.hdfs", table.hdfs, preset::HDFS_ZNODE),
        yarn: path(reader, "apache_quorum.yarn", table.yarn, preset::YARN_ZNODE),
        hbase: path(reader, "apache_quorum.hbase", table.hbase, preset::HBASE_ZNODE),
    })
}

/// Where Hadoop's configuration files are on this node.
pub(super) fn hadoop(reader: &mut Reader, table: Option<Spanned<file::Hadoop>>) -> Hadoop {
    let table = reader.table("hadoop", table);
    Hadoop {
        conf: path(reader, "hadoop.conf", table.conf, preset::HADOOP_CONF),
        livy_conf: path(reader, "hadoop.livy_conf", table.livy_conf, preset::LIVY_CONF),
    }
}

/// An absolute path, of a folder or of a znode.
fn path(reader: &mut Reader, key: &str, given: Option<Given<String>>, default: &str) -> String {
    let path = reader.value(key, given).unwrap_or_else(|| default.to_owned());
    let dots = |part: &str| part.is_empty() || part == "." || part == "..";
    let parts = path.strip_prefix('/');
    if parts.is_none_or(|parts| parts.split('/').any(dots)) || path.contains(char::is_control) {
        let text =
            format!("`{key}` cannot be `{path}`: write an absolute path, such as `{default}`");
        reader.fault(&[key], text);
    }
    path
}
