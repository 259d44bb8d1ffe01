//! The real thing: files, links, mounts and full disks.

#![expect(clippy::print_stdout, reason = "a test says what it skips, and why")]

use std::os::unix::fs::{chown, symlink};
use std::process::Command;
use std::time::Instant;

use super::*;

pub(super) const ALIAS: &str = "headnodehost";
pub(super) const PLAIN: &str = "127.0.0.1 localhost\n10.0.0.10 hn0\n";
const OURS: &str = "# headship begin: slave-fc keeps these lines, do not edit them\n10.0.0.10 headnodehost # headship\n# headship end\n";
/// The same where it cannot be replaced: with room for any address.
pub(super) const OURS_IN_PLACE: &str = "# headship begin: slave-fc keeps these lines, do not edit them\n10.0.0.10                               headnodehost # headship\n# headship end\n";

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) struct Place {
    pub(super) dir: tempfile::TempDir,
    pub(super) file: PathBuf,
}

pub(super) fn place(text: &str) -> Place {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hosts");
    fs::write(&file, text).unwrap();
    Place { dir, file }
}

pub(super) fn put_10(path: &Path) -> Result<Vec<String>, HostsError> {
    put(path, ALIAS, address("10.0.0.10"), path.parent().unwrap())
}

pub(super) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// The file is right, and nothing of ours lies beside it.
fn assert_right(path: &Path) {
    assert_holds(path, &format!("{PLAIN}{OURS}"));
}

pub(super) fn assert_right_in_place(path: &Path) {
    assert_holds(path, &format!("{PLAIN}{OURS_IN_PLACE}"));
}

fn assert_holds(path: &Path, text: &str) {
    assert_eq!(read(path), text);
    assert_eq!(current(path, ALIAS), Some(address("10.0.0.10")));
    let beside = fs::read_dir(path.parent().unwrap()).unwrap();
    let names: Vec<_> = beside.map(|entry| entry.unwrap().file_name()).collect();
    let ours = |name: &str| name.contains("headship") || name.ends_with(".begun");
    assert!(!names.iter().any(|name| ours(name.to_str().unwrap())), "{names:?}");
}

/// Everything an error says, as the log shows it.
pub(super) fn told(error: &HostsError) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

/// Runs a command that only root may run; false, with a reason, if this is not root.
pub(super) fn can(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    let said = match output {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    let line = format!("`{program} {}`", arguments.join(" "));
    // What was not tried counts for nothing, and as root nobody would look for it in what a good test printed.
    assert!(!rustix::process::geteuid().is_root(), "{line} failed: {said}");
    println!("skipped: {line} needs root: {said}");
    false
}

/// A mount that goes away with the test.
pub(super) struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(gone.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}

pub(super) fn mount(arguments: &[&str], at: &Path) -> Option<Mount> {
    let at_text = at.display().to_string();
    can("mount", &[arguments, &[&at_text]].concat()).then(|| Mount(at.to_owned()))
}

#[test]
fn a_new_file_takes_the_place_with_mode_owner_and_attributes() {
    let place = place(PLAIN);
    fs::set_permissions(&place.file, fs::Permissions::from_mode(0o640)).unwrap();
    let owned = chown(&place.file, Some(1234), Some(2345)).is_ok();
    let named = rustix::fs::setxattr(&place.file, "user.label", b"as it was", XattrFlags::empty());
    let before = fs::metadata(&place.file).unwrap();
    let diff = put_10(&place.file).unwrap();
    assert_eq!(diff.len(), 3);
    assert_right(&place.file);
    let after = fs::metadata(&place.file).unwrap();
    assert_ne!(after.ino(), before.ino(), "another file, put in its place");
    let facts = |data: &Metadata| (data.mode(), data.uid(), data.gid());
    assert_eq!(facts(&after), facts(&before));
    assert_eq!(after.mode() & 0o7777, 0o640);
    if !owned {
        println!("its owner could not be changed here, as this is not root");
    }
    match named {
        Ok(()) => {
            let label = attribute(|value| rustix::fs::getxattr(&place.file, "user.label", value));
            assert_eq!(label.unwrap(), b"as it was");
        }
        Err(errno) => println!("attributes were not tested: {errno}"),
    }
    // Right as it is: nothing is written.
    assert_eq!(put_10(&place.file).unwrap(), [""; 0]);
    assert_eq!(fs::metadata(&place.file).unwrap().ino(), after.ino());
}

#[test]
fn a_missing_file_is_made_and_a_link_is_followed() {
    let place = place(PLAIN);
    let link = place.dir.path().join("link");
    symlink("hosts", &link).unwrap();
    put_10(&link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_right(&place.file);
    let missing = place.dir.path().join("missing");
    put_10(&missing).unwrap();
    assert_eq!(read(&missing), OURS);
    assert_eq!(fs::metadata(&missing).unwrap().mode() & 0o7777, 0o644);
    symlink("nowhere", place.dir.path().join("dangling")).unwrap();
    let error = put_10(&place.dir.path().join("dangling")).unwrap_err();
    assert!(told(&error).starts_with("it is a link to `nowhere`, which is not there"), "{error}");
    assert!(!place.dir.path().join("nowhere").exists());
}

#[test]
fn what_is_no_file_is_left_alone() {
    let place = place(PLAIN);
    let folder = place.dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let pipe = place.dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [&folder, &pipe] {
        assert_eq!(told(&put_10(path).unwrap_err()), "it is no plain file: put one in its place");
    }
}

#[test]
fn a_refused_file_stays_byte_for_byte() {
    for text in ["a\0b\n", "# headship begin\n", "10.0.0.9 headnodehost\n", &"x\n".repeat(5 << 20)]
    {
        let place = place(text);
        let inode = fs::metadata(&place.file).unwrap().ino();
        assert!(matches!(put_10(&place.file), Err(HostsError::Refused(_))));
        assert!(read(&place.file) == text);
        assert_eq!(fs::metadata(&place.file).unwrap().ino(), inode);
    }
}

#[test]
fn an_editor_at_the_same_moment_loses_nothing() {
    // It replaces the file, writes it in place, appends, and removes it; twice each.
    type Edit = fn(&Path);
    let edits: [(Edit, &str); 4] = [
        (
            |path| {
                fs::write(path.with_extension("tmp"), "1.2.3.4 edit\n")
                    .and_then(|()| fs::rename(path.with_extension("tmp"), path))
                    .unwrap()
            },
            "1.2.3.4 edit\n",
        ),
        (|path| fs::write(path, "1.2.3.4 edit\n").unwrap(), "1.2.3.4 edit\n"),
        (
            |path| fs::write(path, [fs::read(path).unwrap(), b"x\n".to_vec()].concat()).unwrap(),
            "a\nx\nx\n",
        ),
        (|path| drop(fs::remove_file(path)), ""),
    ];
    for (edit, expected) in edits {
        let place = place("a\n");
        let mut times = 0;
        let mut meanwhile = |moment| {
            times += u32::from(moment == Moment::Read);
            if moment == Moment::Read && times <= 2 {
                edit(&place.file);
            }
        };
        let keep = place.dir.path();
        put_with(&place.file, ALIAS, address("10.0.0.10"), keep, &mut meanwhile).unwrap();
        assert_eq!(read(&place.file), format!("{expected}{OURS}"));
    }
}

#[test]
fn who_writes_it_all_the_time_is_told_of() {
    let place = place("a\n");
    let mut count = 0;
    let mut meanwhile = |moment| {
        assert_eq!(moment, Moment::Read, "nothing was replaced");
        count += 1;
        fs::write(&place.file, format!("{count}\n")).unwrap();
    };
    let keep = place.dir.path();
    let result = put_with(&place.file, ALIAS, address("10.0.0.10"), keep, &mut meanwhile);
    assert!(matches!(result, Err(HostsError::Contended)));
    assert_eq!(read(&place.file), "20\n");
}

/// Two editors: the first one replaces the file just before we do, and `second` is at work just after.
fn put_between(place: &Place, second: impl Fn(&Path)) -> Result<Vec<String>, HostsError> {
    let mut times = 0;
    let mut meanwhile = |moment| match moment {
        Moment::Found if times == 0 => replace_with(&place.file, "first\n"),
        Moment::Exchanged if times == 0 => {
            times += 1;
            second(&place.file);
        }
        Moment::Empty
        | Moment::Read
        | Moment::Begun
        | Moment::Found
        | Moment::Written
        | Moment::Exchanged => {}
    };
    put_with(&place.file, ALIAS, address("10.0.0.10"), place.dir.path(), &mut meanwhile)
}

fn replace_with(path: &Path, text: &str) {
    let edited = path.with_extension("tmp");
    fs::write(&edited, text).and_then(|()| fs::rename(&edited, path)).unwrap();
}

#[test]
fn of_two_editors_at_the_same_moment_the_last_one_stands_and_the_other_is_kept() {
    let place = place(PLAIN);
    put_between(&place, |_| {}).unwrap();
    assert_eq!(read(&place.file), format!("first\n{OURS}"));
    assert!(!with_ending(&place.file, KEPT).exists());

    let place = self::place(PLAIN);
    put_between(&place, |path| replace_with(path, "second\n")).unwrap();
    assert_eq!(read(&place.file), format!("second\n{OURS}"));
    assert_eq!(read(&with_ending(&place.file, KEPT)), "first\n");
    assert!(!with_ending(&place.file, NEW).exists());
}

#[test]
fn who_has_cut_the_file_off_to_write_it_anew_gets_the_time() {
    let place = place("");
    let editor = OpenOptions::new().write(true).open(&place.file).unwrap();
    let mut meanwhile = |moment| {
        if moment == Moment::Empty {
            (&editor).write_all(PLAIN.as_bytes()).unwrap();
        }
    };
    let keep = place.dir.path();
    put_with(&place.file, ALIAS, address("10.0.0.10"), keep, &mut meanwhile).unwrap();
    assert_right(&place.file);
}

#[test]
fn what_is_written_into_the_old_file_after_another_has_taken_its_place_is_kept() {
    let place = place(PLAIN);
    let mut editor = OpenOptions::new().append(true).open(&place.file).unwrap();
    put_10(&place.file).unwrap();
    assert_right(&place.file);
    editor.write_all(b"1.2.3.4 late\n").unwrap();
    let (kept, end) = (with_ending(&place.file, KEPT), Instant::now() + 10 * LATE);
    while !kept.exists() {
        assert!(Instant::now() < end, "it is kept");
        thread::sleep(LATE / 20);
    }
    assert_eq!(read(&kept), format!("{PLAIN}1.2.3.4 late\n"));
    assert_right_but_for_what_is_kept(&place.file);
}

fn assert_right_but_for_what_is_kept(path: &Path) {
    fs::remove_file(with_ending(path, KEPT)).unwrap();
    assert_right(path);
}

#[test]
fn what_was_set_aside_earlier_stays_beside_what_is_set_aside_later() {
    let place = place(PLAIN);
    let first = with_ending(&place.file, KEPT);
    fs::write(&first, "earlier\n").unwrap();
    put_between(&place, |path| replace_with(path, "second\n")).unwrap();
    assert_eq!(read(&first), "earlier\n");
    assert_eq!(read(&with_ending(&first, ".2")), "first\n");

    let place = self::place(PLAIN);
    let first = with_ending(&place.file, KEPT);
    let mut names = vec![first.clone()];
    names.extend((2..=KEPT_MOST).map(|number| with_ending(&first, &format!(".{number}"))));
    names.iter().for_each(|name| fs::write(name, "earlier\n").unwrap());
    fs::write(with_ending(&place.file, NEW), "later\n").unwrap();
    let lost = set_aside(&first, &with_ending(&place.file, NEW)).unwrap_err();
    assert!(lost.to_string().starts_with("100 such files lie there"), "{lost}");
    assert!(names.iter().all(|name| read(name) == "earlier\n"));
}

#[test]
fn what_cannot_be_put_back_is_kept() {
    let place = place(PLAIN);
    put_between(&place, |path| fs::remove_file(path).unwrap()).unwrap_err();
    assert_eq!(read(&with_ending(&place.file, KEPT)), "first\n");
    assert!(!with_ending(&place.file, NEW).exists());
}

#[test]
fn a_read_only_file_system_is_told_of() {
    let place = place(PLAIN);
    let folder = place.dir.path();
    let source = folder.to_str().unwrap();
    let Some(_mount) = mount(&["--bind", "--options", "ro", source], folder) else { return };
    let error = put_10(&place.file).unwrap_err();
    assert_eq!(told(&error), "cannot write it: Read-only file system (os error 30)");
    assert_eq!(read(&place.file), PLAIN);
}

#[test]
fn an_immutable_file_is_told_of() {
    let place = place(PLAIN);
    let file = place.file.to_str().unwrap();
    if !can("chattr", &["+i", file]) {
        return;
    }
    let result = put_10(&place.file);
    assert!(can("chattr", &["-i", file]));
    assert_eq!(told(&result.unwrap_err()), SEALED);
    assert_right_as_before(&place.file);
}

const SEALED: &str = "cannot write it, which may be immutable or only be appended to (`lsattr`): Operation not permitted (os error 1)";

#[test]
fn a_file_that_can_only_be_appended_to_is_told_of_before_anything_is_appended() {
    let place = place(PLAIN);
    let file = place.file.to_str().unwrap();
    if !can("chattr", &["+a", file]) {
        return;
    }
    let result = put_10(&place.file);
    assert!(can("chattr", &["-a", file]));
    assert_eq!(told(&result.unwrap_err()), SEALED);
    assert_right_as_before(&place.file);
}

#[test]
fn a_circle_of_links_is_told_of() {
    let place = place(PLAIN);
    let [one, other] = ["one", "other"].map(|name| place.dir.path().join(name));
    symlink("other", &one).unwrap();
    symlink("one", &other).unwrap();
    let error = put_10(&one).unwrap_err();
    assert_eq!(told(&error), "cannot find it: Too many levels of symbolic links (os error 40)");
    assert!([&one, &other].iter().all(|link| link.symlink_metadata().unwrap().is_symlink()));
    assert_eq!(read(&place.file), PLAIN);
}

#[test]
fn labels_and_access_lists_go_with_the_file() {
    let place = place(PLAIN);
    let label = b"system_u:object_r:net_conf_t:s0\0".as_slice();
    // Version 2: the owner, user 1234, the group, the mask and the others.
    let entries =
        [(1, 6, u32::MAX), (2, 4, 1234), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 4, u32::MAX)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, may, who) in entries {
        let [tag, may]: [u16; 2] = [tag, may];
        list.extend([tag.to_le_bytes(), may.to_le_bytes()].concat());
        list.extend(who.to_le_bytes());
    }
    let attributes = [
        ("security.selinux", label, true),
        ("trusted.headship", b"as it was", true),
        ("system.posix_acl_access", &list, false),
    ];
    let mut set = Vec::new();
    for (name, value, only_root) in attributes {
        match rustix::fs::setxattr(&place.file, name, value, XattrFlags::empty()) {
            Ok(()) => set.push((name, value)),
            Err(errno) => {
                let excused = only_root && !rustix::process::geteuid().is_root();
                assert!(excused, "{name}: {errno}");
                println!("skipped: {name} needs root: {errno}");
            }
        }
    }
    put_10(&place.file).unwrap();
    assert_right(&place.file);
    for (name, value) in set {
        let now = attribute(|buffer| rustix::fs::getxattr(&place.file, name, buffer));
        assert_eq!(now.unwrap(), value, "{name}");
    }
}

fn assert_right_as_before(path: &Path) {
    assert_eq!(read(path), PLAIN);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing beside it");
}

#[test]
fn a_full_disk_is_told_of_and_costs_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path();
    let Some(_mount) = mount(&["-t", "tmpfs", "-o", "size=16k", "headship"], disk) else { return };
    let file = disk.join("hosts");
    // A page of text to the last byte, so that any growth needs another one.
    let text = "1.2.3.4 a-name\n".repeat(300).get(..4095).unwrap().to_owned() + "\n";
    fs::write(&file, &text).unwrap();
    let filler = fill(&disk.join("filler"));
    assert!(filler > 0, "something fits beside it");
    let error = put_10(&file).unwrap_err();
    let full = "No space left on device (os error 28)";
    assert_eq!(told(&error), format!("cannot put a new file in its place: {full}"));
    assert_eq!(read(&file), text);
    assert!(!disk.join("hosts.headship-new").exists());
    fs::remove_file(disk.join("filler")).unwrap();
    put_10(&file).unwrap();
    assert_eq!(read(&file), format!("{text}{OURS}"));
}

/// Writes until nothing more fits.
pub(super) fn fill(path: &Path) -> usize {
    let mut file = File::create(path).unwrap();
    (0..1 << 20).take_while(|_| file.write_all(&[b'x'; 512]).is_ok()).count()
}
