//! Each kind of hostile file, written in place; each write cut short at each byte; and others who write at that moment.

use super::super::tests::{ALIAS, HN0, address, edited, edited_around, foreign};
use super::super::{Rewritten, current, rewrite};
use super::*;

const PLAIN: &[u8] = b"127.0.0.1 localhost\n10.0.0.10 hn0\n";
/// To the other headnode and on, by addresses of every length.
const WAY: [&str; 6] =
    [HN0, "10.0.0.11", "fd00::11", "1.1.1.1", "2001:db8:1111:2222:3333:4444:5555:6666", HN0];

fn next(text: &[u8], to: &str) -> Option<Patch> {
    let Rewritten { diff, .. } = rewrite(text, ALIAS, address(to)).unwrap();
    (!diff.is_empty()).then(|| patch(text, ALIAS, address(to)).unwrap())
}

/// What a file becomes in the end, and how many writes that takes.
fn settled(text: &[u8], to: &str, begun: Option<&Patch>) -> (Vec<u8>, usize) {
    let (mut text, mut begun, mut writes) = (text.to_vec(), begun.cloned(), 0);
    while let Some(patch) =
        begun.take().and_then(|begun| mend(&text, &begun)).or_else(|| next(&text, to))
    {
        text = patch.applied(&text);
        begun = Some(patch);
        writes += 1;
        assert!(writes < 10, "{}", String::from_utf8_lossy(&text));
    }
    assert_eq!(current(&text, ALIAS), Some(address(to)));
    (text, writes)
}

/// What is in the file if `patch` ends after so many bytes.
fn cut_short(text: &[u8], patch: &Patch, written: usize) -> Vec<u8> {
    let rest = patch.old.get(written..).unwrap_or_default();
    let new = [&patch.new[..written], rest].concat();
    Patch { new, ..patch.clone() }.applied(text)
}

fn files() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    edited().into_iter().chain(edited_around()).map(|(kind, text, _)| (kind, text))
}

#[test]
fn in_place_every_hostile_file_is_edited_and_no_foreign_byte_is_written() {
    for (kind, old) in files() {
        let (mut text, mut longer) = (old.clone(), 0);
        for to in WAY {
            let (new, writes) = settled(&text, to, None);
            let more = new.len().checked_sub(text.len()).expect("nothing is cut off");
            longer += usize::from(more > 0);
            assert!(writes <= 1 + usize::from(more > 0), "{kind}: {writes} writes");
            assert_eq!(foreign(&new), foreign(&old), "{kind}");
            text = new;
        }
        assert!(longer <= 1, "{kind}: then there is room for all");
        assert_eq!(settled(&text, HN0, None), (text.clone(), 0), "{kind}");
    }
}

#[test]
fn only_the_address_is_written_over_where_there_is_room() {
    let (text, _) = settled(PLAIN, HN0, None);
    let address_at = PLAIN.len() + BEGIN_LINE.len() + 1;
    for to in ["10.0.0.11", "9.9.9.9", "2001:db8:1111:2222:3333:4444:5555:6666"] {
        let patch = next(&text, to).unwrap();
        assert!(patch.at >= address_at && patch.at + patch.old.len() <= address_at + WIDEST);
        assert_eq!(patch.old.len(), patch.new.len());
    }
    // Lines that were replaced before have no such column, and a shorter marker makes room.
    let packed = rewrite(PLAIN, ALIAS, address(HN0)).unwrap().text;
    let (wide, writes) = settled(&packed, "2001:db8::1234", None);
    assert_eq!((wide.len(), writes), (packed.len(), 1));
    assert!(String::from_utf8_lossy(&wide).contains("\n# headship begin\n2001:db8::1234 "));
}

#[test]
fn lines_that_were_written_in_place_are_right_wherever_the_file_is() {
    let wide = b"# headship begin \n10.0.0.10 \t headnodehost # headship  \n# headship end\t\n";
    assert_eq!(next(wide, HN0), None);
    let (text, _) = settled(PLAIN, HN0, None);
    assert_eq!(next(&text, HN0), None);
    // Another address where it can be replaced needs no column.
    let moved = rewrite(&text, ALIAS, address("10.0.0.11")).unwrap().text;
    assert!(moved.ends_with(b"\n10.0.0.11 headnodehost # headship\n# headship end\n"));
}

#[test]
fn a_foreign_line_between_markers_without_room_stays_where_it_is() {
    let old = b"a\n# headship begin\n1.2.3.4 mine\n# headship end\nb\n";
    let (text, writes) = settled(old, HN0, None);
    assert_eq!(writes, 2, "blanked, and appended anew");
    assert_eq!(foreign(&text), foreign(old));
    assert_eq!(text.windows(12).position(|bytes| bytes == b"1.2.3.4 mine"), Some(19));
}

#[test]
fn a_write_that_was_cut_short_at_any_byte_is_finished() {
    for (kind, old) in files().filter(|(_, text)| text.len() < 10_000) {
        let mut text = old.clone();
        for to in WAY {
            while let Some(patch) = next(&text, to) {
                for written in 0..=patch.new.len() {
                    let torn = cut_short(&text, &patch, written);
                    // Whoever it was about then, and whoever it is about now.
                    for then in [to, "10.0.0.11"] {
                        let (new, _) = settled(&torn, then, Some(&patch));
                        assert_eq!(foreign(&new), foreign(&old), "{kind}, {written} bytes");
                    }
                }
                text = patch.applied(&text);
            }
        }
    }
}

#[test]
fn a_write_that_was_cut_short_twice_is_finished() {
    let (text, _) = settled(PLAIN, "10.0.0.11", None);
    let patch = next(&text, "2001:db8::1234").unwrap();
    for first in 1..patch.new.len() {
        let torn = cut_short(&text, &patch, first);
        let second = mend(&torn, &patch).unwrap();
        for written in 0..second.new.len() {
            let torn = cut_short(&torn, &second, written);
            let (new, writes) = settled(&torn, "2001:db8::1234", Some(&second));
            assert_eq!((new, writes), (patch.applied(&text), 1));
        }
    }
}

#[test]
fn what_another_appends_at_that_moment_stays_before_our_lines_and_each_is_read() {
    for line in ["1.2.3.4 other\n", "1.2.3.4 other", "# other", "\n"] {
        let patch = next(PLAIN, HN0).unwrap();
        let both = [PLAIN, line.as_bytes(), &patch.new].concat();
        let (text, _) = settled(&both, HN0, Some(&patch));
        let expected = [PLAIN, line.as_bytes()].concat();
        assert!(text.starts_with(&expected), "{}", String::from_utf8_lossy(&text));
        assert_eq!(foreign(&text), foreign(&expected), "{line:?}");
        assert_eq!(
            text[expected.len()..].first(),
            Some(if line.ends_with('\n') { &b'#' } else { &b'\n' })
        );
    }
}

#[test]
fn who_cuts_the_file_short_at_that_moment_gets_no_nul_bytes() {
    let (text, _) = settled(PLAIN, HN0, None);
    let patch = next(&text, "10.0.0.11").unwrap();
    for shorter in ["1.2.3.4 other\n", "1.2.3.4 other", ""] {
        let mut all = shorter.as_bytes().to_vec();
        all.resize(patch.at, 0);
        all.extend_from_slice(&patch.new);
        let (text, _) = settled(&all, "10.0.0.11", Some(&patch));
        assert!(text.starts_with(shorter.as_bytes()));
        assert_eq!(foreign(&text), foreign(shorter.as_bytes()));
    }
}

#[test]
fn what_may_be_somebody_elses_is_not_mended() {
    let append = next(PLAIN, HN0).unwrap();
    let (text, _) = settled(PLAIN, HN0, None);
    let inside = next(&text, "10.0.0.12").unwrap();
    let shorter: &[u8] = b"1.2.3.4 a\n";
    let edited = [PLAIN, b"# head of mine\n"].concat();
    let appended = [PLAIN, &append.new[..40], b"1.2.3.4 a\n"].concat();
    for now in [PLAIN, &text, shorter, &edited, &appended] {
        assert_eq!(mend(now, &append), None, "{}", String::from_utf8_lossy(now));
        assert_eq!(mend(now, &inside), None, "{}", String::from_utf8_lossy(now));
    }
    assert_eq!(mend(&inside.applied(&text), &inside), None);
    assert!(inside.is_in(&inside.applied(&text)) && !inside.is_in(&text));
}
