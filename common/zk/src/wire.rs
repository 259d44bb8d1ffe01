//! Our words to ZooKeeper's and back: requests into calls, results and errors into outcomes.
//!
//! An error that is not surely a refusal is `Outcome::Unknown`.

use std::sync::Arc;

use headship_core::quorum::{Found, Op, Outcome, Refusal, SessionId, Version};
use headship_core::record::Key;
use tokio::task::JoinSet;
use zookeeper_client::{
    Acls, Client, CreateMode, Error, MultiWriteError, MultiWriteResult, MultiWriter,
};

use crate::options::Options;

/// The most bytes of one write. A server cuts the connection at a packet of more than `jute.maxbuffer` (1 MiB - 1 unless
/// set), and a client that tried again would cut it again and again. The rest is for what ZooKeeper adds.
const WRITE_MAX_BYTES: usize = 1_000_000;
/// More than a step needs beside its path and data.
const STEP_BYTES: usize = 128;

/// Reads one record.
pub(crate) async fn read(client: Arc<Client>, path: String) -> Found {
    match client.get_data(&path).await {
        Ok((data, stat)) => Found::Data {
            // Documented in `Found`: what is not UTF-8 is no record of ours.
            data: String::from_utf8(data).unwrap_or_default(),
            version: Version(stat.version),
            changed: stat.mzxid,
            owner: (stat.ephemeral_owner != 0).then_some(SessionId(stat.ephemeral_owner)),
        },
        Err(Error::NoNode) => Found::Missing,
        Err(_) => Found::Unread,
    }
}

/// Reads what lies in a folder, all asked for at once. What is gone by then is missing.
pub(crate) async fn folder(client: Arc<Client>, path: String) -> Option<Vec<(String, Found)>> {
    let names = match client.list_children(&path).await {
        Ok(names) => names,
        Err(Error::NoNode) => return Some(Vec::new()),
        Err(_) => return None,
    };
    let mut reads = JoinSet::new();
    for name in names {
        let (client, path) = (Arc::clone(&client), format!("{path}/{name}"));
        reads.spawn(async move { (name, read(client, path).await) });
    }
    let mut found = reads.join_all().await;
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    Some(found)
}

/// Carries out all steps or none. The request is on its way once the future was polled for the first time.
pub(crate) async fn write(client: Arc<Client>, options: Options, steps: Vec<Op>) -> Outcome {
    let size = steps.iter().map(|step| step_size(&options, step)).sum::<usize>();
    if size > WRITE_MAX_BYTES {
        let why = format!("{size} bytes in one write, at most {WRITE_MAX_BYTES} are allowed");
        return Outcome::Refused { step: 0, why: Refusal::Denied(why) };
    }
    let mut multi = client.new_multi_writer();
    for (index, step) in steps.iter().enumerate() {
        if let Err(error) = add(&mut multi, &options, step) {
            return Outcome::Refused { step: index, why: Refusal::Denied(error.to_string()) };
        }
    }
    match multi.commit().await {
        Ok(results) => done(&steps, &results),
        Err(MultiWriteError::OperationFailed { index, source }) => refused(index, &source),
        Err(MultiWriteError::RequestFailed { source }) => refused(0, &source),
    }
}

fn step_size(options: &Options, step: &Op) -> usize {
    let data = match step {
        Op::Create { data, .. } | Op::Set { data, .. } => data.len(),
        Op::Check { .. } | Op::Delete { .. } => 0,
    };
    data + options.path(step.key()).len() + STEP_BYTES
}

fn add(multi: &mut MultiWriter<'_>, options: &Options, step: &Op) -> Result<(), Error> {
    let path = options.path(step.key());
    match step {
        // To the server, -1 means any version: what remains of the check is that the record exists.
        Op::Check { version, .. } => {
            multi.add_check_version(&path, version.map_or(-1, |version| version.0))
        }
        Op::Create { key, data } => {
            let mode = mode(key).with_acls(Acls::anyone_all());
            multi.add_create(&path, data.as_bytes(), &mode)
        }
        Op::Set { version, data, .. } => {
            multi.add_set_data(&path, data.as_bytes(), version.map(|version| version.0))
        }
        Op::Delete { version, .. } => multi.add_delete(&path, version.map(|version| version.0)),
    }
}

fn mode(key: &Key) -> CreateMode {
    if key.is_ephemeral() { CreateMode::Ephemeral } else { CreateMode::Persistent }
}

fn done(steps: &[Op], results: &[MultiWriteResult]) -> Outcome {
    if steps.len() != results.len() {
        return Outcome::Unknown;
    }
    let versions = steps.iter().zip(results).map(|(step, result)| match (step, result) {
        (Op::Set { .. }, MultiWriteResult::SetData { stat }) => Some(Version(stat.version)),
        (Op::Create { .. }, MultiWriteResult::Create { .. }) => Some(Version(0)),
        (Op::Check { version, .. }, MultiWriteResult::Check)
        | (Op::Delete { version, .. }, MultiWriteResult::Delete) => {
            Some(version.unwrap_or(Version(0)))
        }
        (Op::Set { .. } | Op::Create { .. } | Op::Check { .. } | Op::Delete { .. }, _) => None,
    });
    versions.collect::<Option<_>>().map_or(Outcome::Unknown, |versions| Outcome::Done { versions })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else the library knows, or will know, is no proof of a refusal"
)]
fn refused(step: usize, error: &Error) -> Outcome {
    let why = match error {
        Error::NoNode => Refusal::Missing,
        Error::NodeExists => Refusal::Exists,
        Error::BadVersion => Refusal::OtherVersion,
        Error::NoAuth
        | Error::InvalidAcl
        | Error::QuotaExceeded
        | Error::NotEmpty
        | Error::NoChildrenForEphemerals
        | Error::Throttled
        | Error::NotReadOnly
        | Error::MarshallingError
        | Error::Unimplemented
        | Error::BadArguments(_) => Refusal::Denied(error.to_string()),
        _ => return Outcome::Unknown,
    };
    Outcome::Refused { step, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_does_not_fit_the_steps_is_unknown() {
        let check = Op::Check { key: Key::Active, version: Some(Version(3)) };
        let delete = Op::Delete { key: Key::Lock, version: None };
        let steps = [check, delete];
        let fits = [MultiWriteResult::Check, MultiWriteResult::Delete];
        assert_eq!(done(&steps, &fits), Outcome::Done { versions: vec![Version(3), Version(0)] });
        let [check, delete] = fits;
        assert_eq!(done(&steps, &[delete, check]), Outcome::Unknown);
        assert_eq!(done(&steps, &[]), Outcome::Unknown);
    }

    #[test]
    fn only_what_surely_wrote_nothing_is_a_refusal() {
        for unknown in [Error::ConnectionLoss, Error::SessionExpired, Error::Timeout] {
            assert_eq!(refused(1, &unknown), Outcome::Unknown, "{unknown}");
        }
        assert_eq!(
            refused(2, &Error::BadVersion),
            Outcome::Refused { step: 2, why: Refusal::OtherVersion }
        );
    }
}
