//! Each kind of hostile file: what becomes of it, and that no byte of others is lost.

use std::collections::BTreeSet;

use super::*;

pub(super) const ALIAS: &str = "headnodehost";
pub(super) const HN0: &str = "10.0.0.10";
const OURS_0: &str = "# headship begin: slave-fc keeps these lines, do not edit them\n10.0.0.10 headnodehost # headship\n# headship end\n";

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ours(to: &str, ending: &str) -> String {
    OURS_0.replace(HN0, to).replace('\n', ending)
}

/// What should become of a file.
pub(super) enum Becomes {
    /// Our lines in it, exactly so.
    Text(Vec<u8>),
    /// Nothing: it is refused with this sentence.
    Refusal(&'static str),
}

fn text(text: impl Into<Vec<u8>>) -> Becomes {
    Becomes::Text(text.into())
}

fn with(before: &str, block: &str, after: &str) -> Vec<u8> {
    format!("{before}{block}{after}").into_bytes()
}

/// Files that are edited: what they hold, and what they shall hold.
pub(super) fn edited() -> Vec<(&'static str, Vec<u8>, Becomes)> {
    let plain = "127.0.0.1 localhost\n10.0.0.10 hn0\n";
    let stale = ours("10.0.0.11", "\n");
    let bytes = |parts: &[&[u8]]| parts.concat();
    let block = OURS_0.as_bytes();
    vec![
        ("a plain one", plain.into(), text(with(plain, OURS_0, ""))),
        ("an empty one", vec![], text(OURS_0)),
        ("no newline at its end", b"127.0.0.1 a".to_vec(), text(with("127.0.0.1 a\n", OURS_0, ""))),
        ("only newlines", b"\n\n".to_vec(), text(with("\n\n", OURS_0, ""))),
        ("already right", with(plain, OURS_0, ""), text(with(plain, OURS_0, ""))),
        ("right, in the middle", with("a\n", OURS_0, "b\n"), text(with("a\n", OURS_0, "b\n"))),
        ("another headnode", with("a\n", &stale, "b"), text(with("a\n", OURS_0, "b"))),
        (
            "carriage returns",
            b"127.0.0.1 a\r\n10.0.0.1 b\r\n".to_vec(),
            text(with("127.0.0.1 a\r\n10.0.0.1 b\r\n", &ours(HN0, "\r\n"), "")),
        ),
        (
            "carriage returns around ours, too",
            with("1.2.3.4 a\r\n", &ours("10.0.0.11", "\r\n"), "1.2.3.5 b\r\n"),
            text(with("1.2.3.4 a\r\n", &ours(HN0, "\r\n"), "1.2.3.5 b\r\n")),
        ),
        (
            "carriage returns and no newline at all",
            b"1.2.3.4 a\r1.2.3.5 b\r".to_vec(),
            text(with("1.2.3.4 a\r1.2.3.5 b\r\n", OURS_0, "")),
        ),
        (
            "a byte order mark",
            bytes(&[BYTE_ORDER_MARK, b"127.0.0.1 a\n"]),
            text(bytes(&[BYTE_ORDER_MARK, b"127.0.0.1 a\n", block])),
        ),
        (
            "a byte order mark and nothing else",
            BYTE_ORDER_MARK.to_vec(),
            text(bytes(&[BYTE_ORDER_MARK, block])),
        ),
        (
            "a byte order mark right before ours",
            bytes(&[BYTE_ORDER_MARK, stale.as_bytes(), b"x\n"]),
            text(bytes(&[BYTE_ORDER_MARK, block, b"x\n"])),
        ),
        (
            "what is not UTF-8",
            b"127.0.0.1 \xff\xfe caf\xe9\n".to_vec(),
            text(bytes(&[b"127.0.0.1 \xff\xfe caf\xe9\n", block])),
        ),
        (
            "form feeds and lines of blanks",
            b"\x0c\n1.2.3.4 a\x0c\n \t \n\x0c".to_vec(),
            text(with("\x0c\n1.2.3.4 a\x0c\n \t \n\x0c\n", OURS_0, "")),
        ),
        (
            "control characters and tabs",
            b"\x1b[31m\t10.0.0.1\x0bx\x07\n".to_vec(),
            text(bytes(&[b"\x1b[31m\t10.0.0.1\x0bx\x07\n", block])),
        ),
    ]
}

/// Files with lines that look like ours or like the alias, and are edited.
pub(super) fn edited_around() -> Vec<(&'static str, Vec<u8>, Becomes)> {
    let block = OURS_0.as_bytes();
    vec![
        (
            "a comment that tells of the alias",
            b"# 10.0.0.9 headnodehost\n10.0.0.1 a # headnodehost\n".to_vec(),
            text(with("# 10.0.0.9 headnodehost\n10.0.0.1 a # headnodehost\n", OURS_0, "")),
        ),
        (
            "names that only begin or end with the alias",
            b"1.2.3.4 headnodehost.example headnodehost2 xheadnodehost\n".to_vec(),
            text(with("1.2.3.4 headnodehost.example headnodehost2 xheadnodehost\n", OURS_0, "")),
        ),
        (
            "a line whose address is called like the alias",
            b"headnodehost is no address\n".to_vec(),
            text(with("headnodehost is no address\n", OURS_0, "")),
        ),
        (
            "half of a marker's text",
            b"# headship beg\n# headship\n# headshipend\n# headship beginner\n".to_vec(),
            text(with("# headship beg\n# headship\n# headshipend\n# headship beginner\n", OURS_0, "")),
        ),
        (
            "markers that somebody indented and commented on",
            b"a\n  # headship begin (ours)\n10.0.0.11 headnodehost # headship\n\t# headship end!\nb\n".to_vec(),
            text(with("a\n", OURS_0, "b\n")),
        ),
        (
            "an address that somebody changed in our line",
            b"# headship begin\n10.9.9.9\theadnodehost\n# headship end\n".to_vec(),
            text(OURS_0),
        ),
        (
            "a line that somebody wrote between the markers",
            b"a\n# headship begin\n10.0.0.10 headnodehost # headship\n1.2.3.4 mine\n# headship end\nb\n".to_vec(),
            text(with("a\n", OURS_0, "1.2.3.4 mine\nb\n")),
        ),
        (
            "an earlier alias of ours",
            b"# headship begin\n10.0.0.11 old-name # headship\n# headship end\n".to_vec(),
            text(OURS_0),
        ),
        (
            "markers behind other words, which are none",
            b"see # headship begin\n1.2.3.4 a # headship end\n".to_vec(),
            text(with("see # headship begin\n1.2.3.4 a # headship end\n", OURS_0, "")),
        ),
        (
            "ours with the alias in capitals",
            b"# headship begin\n10.0.0.10 HEADNODEHOST # headship\n# headship end\nb\n".to_vec(),
            text(with("", OURS_0, "b\n")),
        ),
        (
            "a hundred thousand lines",
            b"1.2.3.4 a\n".repeat(100_000),
            text([b"1.2.3.4 a\n".repeat(100_000).as_slice(), block].concat()),
        ),
        (
            "nothing left between the markers",
            b"# headship begin\n# headship end".to_vec(),
            text(OURS_0),
        ),
        (
            "a line of a megabyte",
            [b"1.2.3.4 ".as_slice(), &[b'x'; 1024 * 1024]].concat(),
            text([b"1.2.3.4 ".as_slice(), &[b'x'; 1024 * 1024], b"\n", block].concat()),
        ),
    ]
}

/// Files that are left as they are.
fn refused() -> Vec<(&'static str, Vec<u8>, Becomes)> {
    let twice = format!("{OURS_0}{OURS_0}");
    vec![
        (
            "a NUL byte",
            b"a\nb\0c\n".to_vec(),
            Becomes::Refusal(
                "line 2 contains a NUL byte, so it is no text, or one of another encoding: mend it",
            ),
        ),
        (
            "UTF-16",
            b"\xff\xfe1\x002\x00".to_vec(),
            Becomes::Refusal(
                "line 1 contains a NUL byte, so it is no text, or one of another encoding: mend it",
            ),
        ),
        (
            "ten megabytes",
            b"127.0.0.1 localhost\n".repeat(10 * 1024 * 1024 / 20),
            Becomes::Refusal(
                "it has 10485760 bytes, and more than 8388608 are an accident: shorten it",
            ),
        ),
        (
            "a first marker alone",
            b"a\n# headship begin: x\n10.0.0.10 headnodehost # headship\nb\n".to_vec(),
            Becomes::Refusal(
                "line 2 is headship's first marker, and the other one is missing: remove line 2, and those of headship around it",
            ),
        ),
        (
            "a last marker alone",
            b"a\n# headship end\nb\n".to_vec(),
            Becomes::Refusal(
                "line 2 is headship's last marker, and the other one is missing: remove line 2, and those of headship around it",
            ),
        ),
        (
            "the markers twice",
            twice.into_bytes(),
            Becomes::Refusal(
                "lines 1, 3, 4, 6 are markers of headship, which must be one `begin` and after it one `end`: remove them, with headship's lines between them",
            ),
        ),
        (
            "the last marker first",
            b"# headship end\nx\n# headship begin\n".to_vec(),
            Becomes::Refusal(
                "lines 1, 3 are markers of headship, which must be one `begin` and after it one `end`: remove them, with headship's lines between them",
            ),
        ),
        (
            "a marker in a block",
            b"# headship begin\n# headship begin\n# headship end\n".to_vec(),
            Becomes::Refusal(
                "lines 1, 2, 3 are markers of headship, which must be one `begin` and after it one `end`: remove them, with headship's lines between them",
            ),
        ),
    ]
}

/// Files that are left as they are because somebody else's line names the alias.
fn refused_for_the_alias() -> Vec<(&'static str, Vec<u8>, Becomes)> {
    vec![
        (
            "the alias by somebody else, in front",
            format!("10.0.0.9 other HeadNodeHost\n{OURS_0}").into_bytes(),
            Becomes::Refusal(
                "line 1 names `headnodehost`, and is not headship's: `10.0.0.9 other HeadNodeHost`. Some programs would go by it: remove `headnodehost` from that line",
            ),
        ),
        (
            "the alias by somebody else, behind",
            format!("{OURS_0}10.0.0.10 headnodehost\n").into_bytes(),
            Becomes::Refusal(
                "line 4 names `headnodehost`, and is not headship's: `10.0.0.10 headnodehost`. Some programs would go by it: remove `headnodehost` from that line",
            ),
        ),
        (
            "the alias by somebody else, between the markers",
            b"# headship begin\n10.0.0.9 mine headnodehost\n# headship end\n".to_vec(),
            Becomes::Refusal(
                "line 2 names `headnodehost`, and is not headship's: `10.0.0.9 mine headnodehost`. Some programs would go by it: remove `headnodehost` from that line",
            ),
        ),
        (
            "the alias after odd blanks",
            b"10.0.0.9\x0bheadnodehost\r".to_vec(),
            Becomes::Refusal(
                "line 1 names `headnodehost`, and is not headship's: `10.0.0.9\\u{b}headnodehost\\r`. Some programs would go by it: remove `headnodehost` from that line",
            ),
        ),
    ]
}

/// The bytes of others: everything but our own lines, and the line ends that have to be between.
pub(super) fn foreign(text: &[u8]) -> Vec<u8> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let lines = text.split(|byte| *byte == b'\n');
    let ours = |line: &&[u8]| {
        let line = line.trim_ascii();
        is_marker(line, BEGIN)
            || is_marker(line, END)
            || line.ends_with(b"# headship")
            || line == b"10.9.9.9\theadnodehost"
    };
    lines.filter(|line| !ours(line)).map(<[u8]>::trim_ascii_end).collect::<Vec<_>>().concat()
}

#[test]
fn every_hostile_file_is_edited_or_refused_and_no_foreign_byte_is_lost() {
    let files =
        [edited(), edited_around(), refused(), refused_for_the_alias()].into_iter().flatten();
    let files: Vec<_> = files.collect();
    // As many as the suite promises, without those of which only the kernel knows: `drivers/host/hosts` has them.
    let kinds: BTreeSet<_> = files.iter().map(|(kind, _, _)| kind).collect();
    assert!(kinds.len() >= 40 && kinds.len() == files.len(), "{} kinds", kinds.len());
    for (kind, old, becomes) in files {
        let result = rewrite(&old, ALIAS, address(HN0));
        match becomes {
            Becomes::Refusal(why) => {
                assert_eq!(result.unwrap_err().to_string(), why, "{kind}");
            }
            Becomes::Text(expected) => {
                let new = result.unwrap_or_else(|error| panic!("{kind}: {error}"));
                assert!(
                    new.text == expected,
                    "{kind}:\n{}",
                    String::from_utf8_lossy(new.text.get(..2000).unwrap_or(&new.text))
                );
                assert_eq!(foreign(&new.text), foreign(&old), "{kind}");
                assert_eq!(new.diff.is_empty(), new.text == old, "{kind}");
                assert_eq!(current(&new.text, ALIAS), Some(address(HN0)), "{kind}");
                let again = rewrite(&new.text, ALIAS, address(HN0)).unwrap();
                assert!(again.text == new.text && again.diff.is_empty(), "{kind}: not settled");
                // To the other headnode and back: only our own line is another meanwhile.
                let moved = rewrite(&new.text, ALIAS, address("fd00::11")).unwrap();
                assert_eq!(foreign(&moved.text), foreign(&old), "{kind}");
                let back = rewrite(&moved.text, ALIAS, address(HN0)).unwrap();
                assert!(back.text == new.text, "{kind}: not the same on its return");
            }
        }
    }
}

#[test]
fn the_difference_shows_what_an_editor_undid() {
    let undone = b"a\nb\n";
    let right = rewrite(undone, ALIAS, address(HN0)).unwrap();
    let added: Vec<String> = OURS_0.lines().map(|line| format!("+{line}")).collect();
    assert_eq!(right.diff, added);
    let edited = String::from_utf8(right.text).unwrap().replace("10.0.0.10", "10.9.9.9");
    let diff = rewrite(edited.as_bytes(), ALIAS, address(HN0)).unwrap().diff;
    assert_eq!(diff, ["-10.9.9.9 headnodehost # headship", "+10.0.0.10 headnodehost # headship"]);
}

#[test]
fn a_difference_is_cut_where_it_would_fill_the_log() {
    let long =
        [b"# headship begin\n".to_vec(), [&[b'\x01'; 300], b"\n".as_slice()].concat().repeat(50)];
    let diff = diff(&[long.concat(), b"# headship end\n".to_vec()].concat(), b"");
    assert_eq!(diff.len(), 21);
    assert_eq!(diff.last().unwrap(), "and 32 lines more");
    assert!(diff.iter().all(|line| line.len() < 1000));
}

#[test]
fn what_the_file_says_now_is_told_from_our_own_line_only() {
    assert_eq!(current(b"10.0.0.9 headnodehost\n", ALIAS), None);
    assert_eq!(current(b"", ALIAS), None);
    assert_eq!(current(OURS_0.as_bytes(), ALIAS), Some(address(HN0)));
    assert_eq!(current(OURS_0.as_bytes(), "other"), None);
    assert_eq!(current(b"# headship begin\n", ALIAS), None);
}
