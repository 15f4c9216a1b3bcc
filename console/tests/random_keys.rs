//! Random keys, compared with a naive editor.

use llama2_console::{
    editor::{Editor, EditorEvent::*},
    history::History,
    keys::Key,
};
use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    }
}

/// Naive editor: computes everything from scratch over the list of clusters.
fn naive(text: &str, cursor: usize, key: Key) -> Option<(String, usize)> {
    let clusters: Vec<&str> = text.graphemes(true).collect();
    let mut at = 0;
    let mut left = 0;
    while left < cursor {
        left += clusters[at].len();
        at += 1;
    }
    assert_eq!(left, cursor, "between clusters");
    let (text, cursor) = match key {
        Key::Left => (
            clusters.concat(),
            clusters[..at.saturating_sub(1)].concat().len(),
        ),
        Key::Right => (
            clusters.concat(),
            clusters[..(at + 1).min(clusters.len())].concat().len(),
        ),
        Key::Backspace => {
            let kept = clusters[..at.saturating_sub(1)].concat();
            (kept.clone() + &clusters[at..].concat(), kept.len())
        }
        Key::Delete => {
            let kept = clusters[..at].concat();
            (
                kept.clone() + &clusters[(at + 1).min(clusters.len())..].concat(),
                kept.len(),
            )
        }
        Key::Char(letter) => {
            let before = clusters[..at].concat() + &String::from(letter);
            (before.clone() + &clusters[at..].concat(), before.len())
        }
        Key::Home => {
            let line = clusters[..at].iter().rposition(|&cluster| cluster == "\n");
            (
                clusters.concat(),
                clusters[..line.map_or(0, |i| i + 1)].concat().len(),
            )
        }
        _ => return None,
    };
    // A place inside of a cluster becomes the one behind it.
    let mut place = 0;
    for cluster in text.graphemes(true) {
        if place >= cursor {
            break;
        }
        place += cluster.len();
    }
    Some((text, place))
}

#[test]
fn random_keys_against_the_naive_editor() {
    use Key::*;
    let keys = [
        Char('a'),
        Char(' '),
        Char('日'),
        Char('\u{301}'),
        Char('\u{200d}'),
        Char('👩'),
        Char('🇩'),
        Char('\u{600}'),
        Char('क'),
        Char('\u{94d}'),
        Char('ᄀ'),
        Char('ᅡ'),
        Char('\\'),
        Left,
        Right,
        Left,
        Right,
        Backspace,
        Delete,
        Home,
        End,
        Up,
        Down,
        WordLeft,
        WordRight,
        DeleteWordLeft,
        DeleteWordRight,
        Newline,
        Enter,
        Tab,
        PageUp,
        Escape,
        PasteBegin,
        PasteEnd,
        Other,
        BackTab,
        Ctrl('a'),
        Ctrl('c'),
        Ctrl('d'),
        Ctrl('e'),
        Ctrl('k'),
        Ctrl('l'),
        Ctrl('n'),
        Ctrl('p'),
        Ctrl('u'),
        Ctrl('w'),
        Ctrl('y'),
        Ctrl('z'),
    ];
    let mut random = random(7);
    let mut compared = 0;
    for round in 0..300 {
        let longest = [5, 40, 200][round % 3];
        let mut editor = Editor::new(longest, History::new(5, 100));
        let mut pasting = false;
        for _ in 0..300 {
            // Mostly text, so that there is something to edit.
            let key = if random(2) == 0 {
                keys[random(23)]
            } else {
                keys[random(keys.len())]
            };
            let want = naive(editor.text(), editor.cursor(), key);
            let text = editor.text().to_string();
            pasting = match key {
                PasteBegin => true,
                PasteEnd | Ctrl('c') => false,
                _ => pasting,
            };
            let event = editor.press(key);
            assert!(editor.text().len() <= longest);
            let at = GraphemeCursor::new(editor.cursor(), editor.text().len(), true)
                .is_boundary(editor.text(), 0);
            assert_eq!(
                at,
                Ok(true),
                "{:?} {} {key:?}",
                editor.text(),
                editor.cursor()
            );
            if event == Refused {
                assert_eq!(editor.text(), text);
            }
            match want {
                Some(want) if event == Redraw && !pasting => {
                    assert_eq!(
                        (editor.text().to_string(), editor.cursor()),
                        want,
                        "{text:?} {key:?}"
                    );
                    compared += 1;
                }
                _ => (),
            }
        }
    }
    assert!(compared > 10_000, "{compared}");
}
