//! Files that nothing can take the place of, with others who write them, and kills, at every moment.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::super::tests::{
    ALIAS, OURS_IN_PLACE, PLAIN, Place, address, assert_right_in_place, fill, mount, place, put_10,
    read, told,
};
use super::super::{current, put, put_with};
use super::*;

/// What a write in place passes through.
const MOMENTS: [Moment; 4] = [Moment::Read, Moment::Begun, Moment::Found, Moment::Written];

/// A file with another name, so that none can take its place.
fn linked(text: &str) -> Place {
    let place = place(text);
    fs::hard_link(&place.file, place.dir.path().join("other-name")).unwrap();
    place
}

/// The same with our lines already, for the other headnode.
fn linked_to_11() -> Place {
    let place = linked(PLAIN);
    put(&place.file, ALIAS, address("10.0.0.11"), place.dir.path()).unwrap();
    place
}

fn record(place: &Place) -> PathBuf {
    place.dir.path().join(BEGUN)
}

fn kept(place: &Place) -> PathBuf {
    place.dir.path().join(KEPT)
}

/// Moves the alias while somebody is at work, once, at a moment.
fn put_beside(place: &Place, at: Moment, work: impl Fn(&Path)) -> Result<Vec<String>, HostsError> {
    let done = Cell::new(false);
    let mut meanwhile = |moment| {
        if moment == at && !done.replace(true) {
            work(&place.file);
        }
    };
    let put = put_with(&place.file, ALIAS, address("10.0.0.10"), place.dir.path(), &mut meanwhile);
    assert!(done.get(), "{at:?} came");
    put
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// The lines that say something.
fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.trim().is_empty()).collect()
}

/// Only these lines, in this order, and ours once among them.
fn assert_lines(place: &Place, expected: &str) {
    let text = read(&place.file);
    assert_eq!(lines(&text), lines(expected), "{text}");
    assert_eq!(current(&place.file, ALIAS), Some(address("10.0.0.10")));
    assert!(!record(place).exists());
}

#[test]
fn a_file_with_other_names_is_written_in_place() {
    let place = linked(PLAIN);
    let other = place.dir.path().join("other-name");
    assert_eq!(put_10(&place.file).unwrap().len(), 3);
    assert_right_in_place(&place.file);
    assert_right_in_place(&other);
    append(&other, "1.2.3.4 behind\n");
    let text = read(&other);
    put(&place.file, ALIAS, address("1.1.1.1"), place.dir.path()).unwrap();
    assert_eq!(
        read(&other),
        text.replace("10.0.0.10  ", "1.1.1.1    ").replace("1.1.1.1     hn0", "10.0.0.10 hn0")
    );
    assert_eq!(put_10(&place.file).unwrap().len(), 2);
    assert_eq!(read(&other), text);
    assert_eq!(put_10(&place.file).unwrap(), [""; 0]);
}

#[test]
fn a_mount_point_is_written_in_place() {
    let place = place("");
    let source = place.dir.path().join("source");
    fs::write(&source, PLAIN).unwrap();
    let Some(mounted) = mount(&["--bind", source.to_str().unwrap()], &place.file) else { return };
    put_10(&place.file).unwrap();
    assert_right_in_place(&place.file);
    assert_right_in_place(&source);
    drop(mounted);
    assert_eq!(read(&place.file), "");
}

#[test]
fn a_writable_file_in_a_read_only_folder_is_written_in_place() {
    let place = place(PLAIN);
    let other = self::place(PLAIN);
    let folder = place.dir.path();
    let source = folder.to_str().unwrap();
    let Some(_folder) = mount(&["--bind", "--options", "ro", source], folder) else { return };
    let Some(_file) = mount(&["--bind", other.file.to_str().unwrap()], &place.file) else { return };
    // There is no place for the record either.
    put_10(&place.file).unwrap();
    assert_right_in_place(&other.file);
}

#[test]
fn a_full_disk_under_a_mount_point_is_told_of_and_costs_no_byte() {
    let (place, keep) = (place(""), tempfile::tempdir().unwrap());
    let disk = place.dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let Some(_disk) = mount(&["-t", "tmpfs", "-o", "size=16k", "headship"], &disk) else { return };
    let source = disk.join("source");
    // Some of our lines would fit into its last page.
    let text = "1.2.3.4 a-name\n".repeat(300).get(..4075).unwrap().to_owned() + "\n";
    fs::write(&source, &text).unwrap();
    let Some(_file) = mount(&["--bind", source.to_str().unwrap()], &place.file) else { return };
    assert!(fill(&disk.join("filler")) > 0, "something fits beside it");
    let put_to = |to: &str| put(&place.file, ALIAS, address(to), keep.path());
    let error = put_to("10.0.0.10").unwrap_err();
    assert_eq!(told(&error), "cannot write it: No space left on device (os error 28)");
    assert_eq!(read(&source), text);
    fs::remove_file(disk.join("filler")).unwrap();
    put_to("10.0.0.10").unwrap();
    assert_eq!(read(&source), format!("{text}{OURS_IN_PLACE}"));
    // Another address needs no space any more.
    fill(&disk.join("filler"));
    put_to("2001:db8:1111:2222:3333:4444:5555:6666").unwrap();
    assert_eq!(read(&source).len(), text.len() + OURS_IN_PLACE.len());
}

#[test]
fn what_somebody_appends_at_any_moment_stays() {
    for at in MOMENTS {
        for line in ["1.2.3.4 behind\n", "1.2.3.4 behind", "# behind\n"] {
            let place = linked(PLAIN);
            put_beside(&place, at, |path| append(path, line)).unwrap();
            let theirs = format!("{PLAIN}{line}\n{OURS_IN_PLACE}");
            let ours = format!("{PLAIN}{OURS_IN_PLACE}{line}");
            assert_lines(&place, if at == Moment::Written { &ours } else { &theirs });

            let place = linked_to_11();
            put_beside(&place, at, |path| append(path, line)).unwrap();
            assert_lines(&place, &ours);
        }
    }
}

/// What an editor leaves in the file that it has read: a line more at its beginning, one less, or other ones altogether.
fn edits() -> [fn(&str) -> String; 3] {
    [
        |text| format!("1.2.3.4 one-more\n{text}"),
        |text| text.replace("127.0.0.1 localhost\n", ""),
        |_| "1.2.3.4 another\n".to_owned(),
    ]
}

#[test]
fn what_somebody_writes_anew_before_the_last_look_or_after_the_write_stays() {
    for at in [Moment::Read, Moment::Begun, Moment::Written] {
        for edit in edits() {
            for place in [linked(PLAIN), linked_to_11()] {
                put_beside(&place, at, |path| fs::write(path, edit(&read(path))).unwrap()).unwrap();
                assert_lines(&place, &(edit(PLAIN) + OURS_IN_PLACE));
                assert!(!kept(&place).exists(), "nothing was in danger");
            }
        }
    }
}

#[test]
fn what_somebody_writes_anew_between_look_and_write_stays_where_we_append() {
    for edit in edits() {
        let place = linked(PLAIN);
        put_beside(&place, Moment::Found, |path| fs::write(path, edit(&read(path))).unwrap())
            .unwrap();
        assert_lines(&place, &(edit(PLAIN) + OURS_IN_PLACE));
    }
}

#[test]
fn bytes_of_ours_in_what_somebody_wrote_anew_are_told_and_all_of_it_is_kept() {
    let place = linked_to_11();
    let theirs = format!("1.2.3.4 one-more\n{}", read(&place.file));
    put_beside(&place, Moment::Found, |path| fs::write(path, &theirs).unwrap()).unwrap();
    let text = read(&kept(&place));
    let other: Vec<_> =
        text.bytes().zip(theirs.bytes()).filter(|(now, then)| now != then).collect();
    assert_eq!((text.len(), other.len()), (theirs.len(), 1), "{text}");
    assert!(text.starts_with(&format!("1.2.3.4 one-more\n{PLAIN}")), "{text}");
    assert_eq!(current(&place.file, ALIAS), Some(address("10.0.0.10")));

    // Shorter than where we write: the kernel fills what is between, which is blanked and not left to them.
    let place = linked_to_11();
    put_beside(&place, Moment::Found, |path| fs::write(path, "1.2.3.4 short\n").unwrap()).unwrap();
    assert_lines(&place, &format!("1.2.3.4 short\n{OURS_IN_PLACE}"));
    assert!(read(&kept(&place)).starts_with("1.2.3.4 short\n\0"));
    // What is kept later lies beside it.
    let short = |path: &Path| fs::write(path, "1.2.3.4 short\n").unwrap();
    put(&place.file, ALIAS, address("10.0.0.11"), place.dir.path()).unwrap();
    put_beside(&place, Moment::Found, short).unwrap();
    assert!(with_ending(&kept(&place), ".2").exists());
}

#[test]
fn who_takes_the_files_place_between_look_and_write_stands() {
    let place = linked_to_11();
    let replace = |path: &Path| {
        fs::write(path.with_extension("tmp"), "1.2.3.4 other\n").unwrap();
        fs::rename(path.with_extension("tmp"), path).unwrap();
    };
    put_beside(&place, Moment::Begun, replace).unwrap();
    assert!(read(&place.file).starts_with("1.2.3.4 other\n# headship begin"));
    assert!(
        read(&place.dir.path().join("other-name")).contains("10.0.0.11 "),
        "nothing was written there"
    );
}

#[test]
fn who_is_killed_at_any_moment_is_followed_by_who_finishes() {
    for at in MOMENTS {
        for place in [linked(PLAIN), linked_to_11()] {
            let killed =
                catch_unwind(AssertUnwindSafe(|| put_beside(&place, at, |_| panic!("killed"))));
            assert!(killed.is_err());
            put_10(&place.file).unwrap();
            assert_right_in_place(&place.file);
        }
    }
}

#[test]
fn a_write_that_was_cut_short_is_finished_by_the_next_run() {
    for appended in [true, false] {
        for written in [1, 5, 20, 38, 70, 110] {
            let place = if appended { linked(PLAIN) } else { linked_to_11() };
            let wide = "2001:db8:1111:2222:3333:4444:5555:6666";
            let mut killed = |moment| assert_ne!(moment, Moment::Found, "killed");
            let keep = place.dir.path();
            let put = || put_with(&place.file, ALIAS, address(wide), keep, &mut killed);
            catch_unwind(AssertUnwindSafe(put)).unwrap_err();
            let begun: Begun = files::read(&record(&place)).unwrap().unwrap();
            let Some(bytes) = begun.patch.new.get(..written) else { continue };
            let file = OpenOptions::new().write(true).open(&place.file).unwrap();
            file.write_all_at(bytes, length(begun.patch.at)).unwrap();
            put_10(&place.file).unwrap();
            assert_right_in_place(&place.file);
        }
    }
}

#[test]
fn a_record_that_tells_of_nothing_here_goes() {
    let place = linked(PLAIN);
    // What was begun there would fit here: the line end, and more behind it.
    let patch = Patch { at: PLAIN.len() - 1, old: Vec::new(), new: b"\nelsewhere\n".to_vec() };
    let other = Begun { hosts_file: "/etc/other".into(), patch };
    for bytes in [serde_json::to_vec(&other).unwrap(), b"{".to_vec()] {
        fs::write(record(&place), bytes).unwrap();
        put_10(&place.file).unwrap();
        assert_right_in_place(&place.file);
    }
}

/// In a child's environment: the file that it is to write, time after time, until it is killed.
const CHILD: &str = "HEADSHIP_TEST_HOSTS_FILE";

#[test]
fn a_hundred_kills_of_who_writes_in_place_leave_the_file_whole() {
    if let Some(file) = std::env::var_os(CHILD).map(PathBuf::from) {
        for to in
            ["10.0.0.11", "2001:db8:1111:2222:3333:4444:5555:6666"].iter().cycle().take(10_000)
        {
            put(&file, ALIAS, address(to), file.parent().unwrap()).unwrap();
        }
        return;
    }
    // Our lines lie across the end of a page, where the kernel ends a write for a kill.
    for round in 0..100_u32 {
        let behind = 4096 - 20 - usize::try_from(round).unwrap();
        let text = "1.2.3.4 a-name\n".repeat(300).get(..behind).unwrap().to_owned() + "\n";
        let place = linked(&text);
        let name = "host::hosts::in_place::tests::a_hundred_kills_of_who_writes_in_place_leave_the_file_whole";
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", name]).env(CHILD, &place.file).stdout(Stdio::null());
        let mut child = child.spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while read(&place.file) == text {
            assert!(Instant::now() < end, "the child writes");
            thread::yield_now();
        }
        thread::sleep(Duration::from_micros(u64::from(round) * 97));
        child.kill().unwrap();
        child.wait().unwrap();
        put_10(&place.file).unwrap();
        assert_lines(&place, &format!("{text}{OURS_IN_PLACE}"));
        assert!(read(&place.file).starts_with(&text));
    }
}
