//! What Hadoop's own failover keeps in the Apache quorum: who is active there, decoded, and never written.
//!
//! NameNode and ResourceManager are elected by Hadoop's ActiveStandbyElector, HBase Master by its own. Their records are
//! other programs', of versions that nobody here chose: what is not known is passed over, and what cannot be understood is
//! said and harms nothing. Not a byte of them is believed further than it is looked at: lengths are compared with what is
//! there, and names go to a terminal only if they look like names.

use std::fmt;

/// How long a name may be. Host names end at 253 characters.
const NAME_MAX: usize = 255;

/// One instance of a component, as its record names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Instance {
    /// What the component's configuration calls it, such as `nn1` or `rm1`.
    pub id: Option<String>,
    /// The host that it runs on, where the record says so.
    pub host: Option<String>,
    /// Its port there.
    pub port: Option<u16>,
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.id, &self.host) {
            (Some(id), Some(host)) => write!(f, "{id} on {host}"),
            (Some(name), None) | (None, Some(name)) => f.write_str(name),
            (None, None) => f.write_str("one without a name"),
        }
    }
}

/// Why a record is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Garbled {
    /// It ends before what it announces.
    #[error("it ends too early")]
    Short,
    /// It is not of the form that its program writes.
    #[error("it is of a form that is not known")]
    Form,
    /// A name in it is none.
    #[error("a name in it is none")]
    Name,
    /// Something is not in it that always is.
    #[error("nothing in it says who it is")]
    Nobody,
}

/// The active NameNode, by `ActiveStandbyElectorLock` or `ActiveBreadCrumb` below `/hadoop-ha/NAMESERVICE`:
/// `hadoop.hdfs.ActiveNodeInfo`.
///
/// # Errors
/// It is not understood, or names nobody.
pub fn name_node(data: &[u8]) -> Result<Instance, Garbled> {
    let mut found = Instance::default();
    for field in Fields(data) {
        match field? {
            (2, Value::Bytes(bytes)) => found.id = Some(name(bytes)?),
            (3, Value::Bytes(bytes)) => found.host = Some(name(bytes)?),
            (4, Value::Number(number)) => found.port = port(number),
            (_, Value::Bytes(_) | Value::Number(_)) => {}
        }
    }
    named(found)
}

/// The active ResourceManager, by the same two records below `/yarn-leader-election/CLUSTER`: `hadoop.yarn.ActiveRMInfoProto`.
/// Most versions name no host.
///
/// # Errors
/// It is not understood, or names nobody.
pub fn resource_manager(data: &[u8]) -> Result<Instance, Garbled> {
    let mut found = Instance::default();
    for field in Fields(data) {
        match field? {
            (2, Value::Bytes(bytes)) => found.id = Some(name(bytes)?),
            // Its address as `host:port`, in versions that write it.
            (10, Value::Bytes(bytes)) => {
                let address = name(bytes)?;
                let (host, number) = address.rsplit_once(':').ok_or(Garbled::Name)?;
                found.host = Some(host.to_owned());
                found.port = number.parse().ok();
            }
            (_, Value::Bytes(_) | Value::Number(_)) => {}
        }
    }
    named(found)
}

/// The active HBase Master, by `/hbase/master`: what HBase puts before its records (0xff, the length of the writer's name, that
/// name), `PBUF`, and `hbase.pb.Master`.
///
/// # Errors
/// It is not understood, or names nobody.
pub fn hbase_master(data: &[u8]) -> Result<Instance, Garbled> {
    let rest = match data.split_first() {
        Some((0xff, rest)) => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or(Garbled::Short)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            rest.get(length..).ok_or(Garbled::Short)?
        }
        Some(_) => data,
        None => return Err(Garbled::Short),
    };
    let message = rest.strip_prefix(b"PBUF").ok_or(Garbled::Form)?;
    let mut found = Instance::default();
    for field in Fields(message) {
        if let (1, Value::Bytes(server)) = field? {
            for field in Fields(server) {
                match field? {
                    (1, Value::Bytes(bytes)) => found.host = Some(name(bytes)?),
                    (2, Value::Number(number)) => found.port = port(number),
                    (_, Value::Bytes(_) | Value::Number(_)) => {}
                }
            }
        }
    }
    named(found)
}

/// A standby HBase Master, by the name of its record below `/hbase/backup-masters`: `host,port,startcode`.
///
/// # Errors
/// It is not of that form.
pub fn hbase_backup(record: &str) -> Result<Instance, Garbled> {
    let mut parts = record.split(',');
    let host = name(parts.next().unwrap_or_default().as_bytes())?;
    let number = parts.next().ok_or(Garbled::Form)?;
    Ok(Instance { id: None, host: Some(host), port: number.parse().ok() })
}

fn named(found: Instance) -> Result<Instance, Garbled> {
    if found.id.is_none() && found.host.is_none() { Err(Garbled::Nobody) } else { Ok(found) }
}

/// A name that can be shown: nothing that would move a terminal's cursor, and not endless.
fn name(bytes: &[u8]) -> Result<String, Garbled> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Err(Garbled::Name) };
    let plain = |c: char| c.is_alphanumeric() || "-._:[]%".contains(c);
    if text.is_empty() || text.len() > NAME_MAX || !text.chars().all(plain) {
        return Err(Garbled::Name);
    }
    Ok(text.to_owned())
}

fn port(number: u64) -> Option<u16> {
    u16::try_from(number).ok()
}

/// The fields of a message in Google's Protocol Buffers, one after another, up to the first that is garbled.
struct Fields<'a>(&'a [u8]);

/// The value of a field, as far as any is needed here.
enum Value<'a> {
    Number(u64),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// Seven bits a byte, the lowest first; all but the last byte have the eighth set.
    fn number(&mut self) -> Result<u64, Garbled> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Garbled::Short)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Garbled::Form)
    }

    fn bytes(&mut self, length: u64) -> Result<&'a [u8], Garbled> {
        let Ok(length) = usize::try_from(length) else { return Err(Garbled::Short) };
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Garbled::Short)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Garbled> {
        let key = self.number()?;
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => Value::Bytes(self.bytes(8)?),
            2 => {
                let length = self.number()?;
                Value::Bytes(self.bytes(length)?)
            }
            5 => Value::Bytes(self.bytes(4)?),
            // Groups, which neither program uses, and what does not exist.
            _ => return Err(Garbled::Form),
        };
        Ok((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Garbled>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `nameserviceId = "mycluster", namenodeId = "nn1", hostname = "hn0.example", port = 8020, zkfcPort = 8019`.
    const NAME_NODE: &[u8] =
        b"\x0a\x09mycluster\x12\x03nn1\x1a\x0bhn0.example\x20\xd4\x3e\x28\xd3\x3e";
    /// `clusterId = "yarn1", rmId = "rm2"`.
    const RESOURCE_MANAGER: &[u8] = b"\x0a\x05yarn1\x12\x03rm2";
    /// As HBase 2.5.11 writes it: `hbase.pb.Master { host_name = "zk0", port = 16000, start_code = 1 }, info_port = 16010`.
    const HBASE: &[u8] = b"\xff\x00\x00\x00\x14master:16000\x01\x02\x03\x04\x05\x06\x07\x08PBUF\
        \x0a\x0a\x0a\x03zk0\x10\x80\x7d\x18\x01\x10\x00\x18\x8a\x7d";

    fn instance(id: Option<&str>, host: Option<&str>, port: Option<u16>) -> Instance {
        Instance { id: id.map(str::to_owned), host: host.map(str::to_owned), port }
    }

    type Decode = fn(&[u8]) -> Result<Instance, Garbled>;
    const ALL: [(Decode, &[u8]); 3] =
        [(name_node, NAME_NODE), (resource_manager, RESOURCE_MANAGER), (hbase_master, HBASE)];

    #[test]
    fn the_records_of_the_three_programs_name_who_is_active() {
        let nn1 = instance(Some("nn1"), Some("hn0.example"), Some(8020));
        assert_eq!(name_node(NAME_NODE), Ok(nn1.clone()));
        assert_eq!(nn1.to_string(), "nn1 on hn0.example");
        assert_eq!(resource_manager(RESOURCE_MANAGER), Ok(instance(Some("rm2"), None, None)));
        assert_eq!(hbase_master(HBASE), Ok(instance(None, Some("zk0"), Some(16000))));
        let backup = instance(None, Some("zk1"), Some(16000));
        assert_eq!(hbase_backup("zk1,16000,1690000000000"), Ok(backup));
    }

    #[test]
    fn a_resource_manager_that_writes_its_address_is_known_by_it() {
        let data = [RESOURCE_MANAGER, b"\x52\x08hn1:8032\x5a\x08hn1:8033"].concat();
        assert_eq!(resource_manager(&data), Ok(instance(Some("rm2"), Some("hn1"), Some(8032))));
    }

    #[test]
    fn fields_that_are_not_known_are_passed_over() {
        // A number, eight bytes, four bytes, a text, each with a tag of its own; also one far beyond what is used.
        let more: [&[u8]; 5] = [
            b"\x78\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x79\x01\x02\x03\x04\x05\x06\x07\x08",
            b"\x7d\x01\x02\x03\x04",
            b"\x7a\x02\xff\xfe",
            b"\xfa\xff\xff\xff\x0f\x01x",
        ];
        for more in more {
            let data = [more, NAME_NODE, more].concat();
            assert_eq!(name_node(&data), name_node(NAME_NODE), "{more:x?}");
        }
    }

    #[test]
    fn what_is_cut_anywhere_is_said_or_understood_and_nothing_else() {
        for (decode, data) in ALL {
            for end in 0..data.len() {
                match decode(&data[..end]) {
                    Ok(found) => assert!(found.id.is_some() || found.host.is_some()),
                    Err(Garbled::Short | Garbled::Nobody | Garbled::Form) => {}
                    Err(Garbled::Name) => panic!("cut at {end}"),
                }
            }
        }
    }

    #[test]
    fn each_byte_may_be_any_other() {
        for (decode, data) in ALL {
            for at in 0..data.len() {
                for byte in 0..=255 {
                    let mut data = data.to_vec();
                    data[at] = byte;
                    if let Ok(found) = decode(&data) {
                        assert!(!found.to_string().contains(char::is_control));
                    }
                }
            }
        }
    }

    #[test]
    fn lengths_are_not_believed() {
        let huge: [&[u8]; 4] = [
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01nn1",
            b"\x12\xff\xff\xff\xff\x0fnn1",
            b"\x12\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80nn1",
            b"\x12\x04nn1",
        ];
        for data in huge {
            assert!(matches!(name_node(data), Err(Garbled::Short | Garbled::Form)), "{data:x?}");
        }
        assert_eq!(hbase_master(b"\xff\xff\xff\xff\xffm"), Err(Garbled::Short));
        assert_eq!(hbase_master(b"\xff\x00\x00"), Err(Garbled::Short));
        assert_eq!(hbase_master(b"zk0,16000,1"), Err(Garbled::Form));
    }

    #[test]
    fn a_name_that_would_move_the_cursor_is_none() {
        for name in ["\x1b[2J", "", "a b", "a\nb", "a\0b", "\u{202e}b"] {
            let length = u8::try_from(name.len()).unwrap();
            let data = [&[0x12, length], name.as_bytes()].concat();
            assert_eq!(name_node(&data), Err(Garbled::Name), "{name:?}");
        }
        assert_eq!(name_node(b"\x12\x02\xff\xfe"), Err(Garbled::Name));
        let long = [b"\x12\x80\x02".as_slice(), &[b'a'; 256]].concat();
        assert_eq!(name_node(&long), Err(Garbled::Name));
    }
}
