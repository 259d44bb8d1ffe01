//! A client of Livy, and Livy's records: the witness of two Livys at once that no log of ours could fake.
//!
//! Livy keeps a record of each batch in a folder that both headnodes reach, and reads them when it starts. Nothing keeps a
//! second Livy out: it gives the same numbers to other batches, and writes over the records of the first.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::web;

/// The port that Livy serves at.
pub const PORT: u16 = 8998;

/// What is submitted: a file that is there on each headnode.
const JOB: &str = "/usr/lib/headship-lab/jobs/job.py";

/// A batch, as Livy shows it, and as it is on record.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Batch {
    /// The number that Livy gave it: no two have the same.
    pub id: u64,
    /// The name that its client gave it.
    pub name: String,
}

/// The list that Livy shows.
#[derive(Debug, Deserialize)]
struct List {
    sessions: Vec<Batch>,
}

/// What Livy writes about all its batches.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    next_session_id: u64,
}

/// Submits a batch to the Livy at `address`, a host and a port; `None` if it refuses.
///
/// # Errors
/// Nobody answers within `limit`, or not as Livy does: it may have taken the batch, and may not.
pub fn submit(address: &str, name: &str, limit: Duration) -> io::Result<Option<Batch>> {
    let json = format!("{{\"file\":\"{JOB}\",\"name\":\"{name}\"}}");
    let answer = web::post(address, "/batches", &json, limit)?;
    if answer.status != 201 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&answer.body)?))
}

/// All batches that the Livy at `address` knows.
///
/// # Errors
/// Nobody answers within `limit`, or not as Livy does.
pub fn batches(address: &str, limit: Duration) -> io::Result<Vec<Batch>> {
    let answer = web::get(address, "/batches?from=0&size=100000", limit)?;
    let list: List = serde_json::from_str(&answer.body)?;
    Ok(list.sessions)
}

/// What is wrong with the records in the folder `store`, given the batches that some Livy took, in whatever order:
/// none of it may be, whatever happened to the hosts.
#[must_use]
pub fn faults(store: &Path, taken: &[Batch]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut names: BTreeMap<u64, &str> = BTreeMap::new();
    for Batch { id, name } in taken {
        if let Some(other) = names.insert(*id, name) {
            faults.push(format!("number {id} was given to `{other}` and to `{name}`"));
        }
    }
    let records = store.join("v1/batch");
    let next = match read::<State>(&records.join("state")) {
        Ok(state) => state.next_session_id,
        Err(why) => {
            faults.push(format!("the next number is not on record: {why}"));
            u64::MAX
        }
    };
    let mut recorded = BTreeMap::new();
    let entries = fs::read_dir(&records).map(|entries| entries.flatten().collect());
    let entries: Vec<fs::DirEntry> = entries.unwrap_or_default();
    for entry in entries {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<u64>() else { continue };
        match read::<Batch>(&entry.path()) {
            Ok(batch) if batch.id == id && id < next => drop(recorded.insert(id, batch.name)),
            Ok(batch) => faults.push(format!(
                "the record {id} is that of number {}, and the next number is {next}",
                batch.id
            )),
            Err(why) => faults.push(format!("the record {id} is broken: {why}")),
        }
    }
    for Batch { id, name } in taken {
        match recorded.get(id) {
            Some(found) if found == name => {}
            Some(found) => {
                faults.push(format!("`{name}` is number {id}, and on record as `{found}`"))
            }
            None => faults.push(format!("`{name}`, number {id}, is not on record")),
        }
    }
    faults
}

fn read<T: for<'de> Deserialize<'de>>(file: &Path) -> Result<T, String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| format!("{error} in {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(id: u64, name: &str) -> Batch {
        Batch { id, name: name.to_owned() }
    }

    /// As Livy 0.7.1 writes them.
    fn store(next: u64, records: &[(&str, u64, &str)]) -> tempfile::TempDir {
        let store = tempfile::tempdir().unwrap();
        let folder = store.path().join("v1/batch");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("state"), format!("{{\"nextSessionId\":{next}}}")).unwrap();
        fs::write(folder.join(".state.crc"), "crc").unwrap();
        for (file, id, name) in records {
            let text = format!(
                "{{\"id\":{id},\"name\":\"{name}\",\"appId\":null,\"appTag\":\"livy-batch-{id}-x\",\"owner\":null,\"proxyUser\":null,\"version\":1}}"
            );
            fs::write(folder.join(file), text).unwrap();
        }
        store
    }

    #[test]
    fn records_of_all_that_were_taken_are_whole() {
        // One more was taken, and its client did not hear of it; one was numbered, and no more than that.
        let store = store(4, &[("0", 0, "a"), ("1", 1, "b"), ("2", 2, "c")]);
        assert_eq!(faults(store.path(), &[batch(1, "b"), batch(0, "a")]), Vec::<String>::new());
    }

    #[test]
    fn a_record_that_another_livy_wrote_over_is_found() {
        let store = store(2, &[("0", 0, "a"), ("1", 1, "of the other")]);
        let taken = [batch(0, "a"), batch(1, "of the one"), batch(1, "of the other")];
        assert_eq!(
            faults(store.path(), &taken),
            [
                "number 1 was given to `of the one` and to `of the other`",
                "`of the one` is number 1, and on record as `of the other`"
            ]
        );
    }

    #[test]
    fn what_is_missing_broken_or_ahead_of_its_count_is_found() {
        let store = store(2, &[("0", 0, "a"), ("2", 2, "c"), ("4", 3, "d")]);
        fs::write(store.path().join("v1/batch/1"), "{\"id\":1,\"na").unwrap();
        let found = faults(store.path(), &[batch(5, "e")]).join("\n");
        for part in [
            "the record 1 is broken: ",
            "the record 2 is that of number 2, and the next number is 2",
            "the record 4 is that of number 3",
            "`e`, number 5, is not on record",
        ] {
            assert!(found.contains(part), "{part} in {found}");
        }
        let empty = tempfile::tempdir().unwrap();
        assert!(faults(empty.path(), &[])[0].starts_with("the next number is not on record: "));
    }
}
