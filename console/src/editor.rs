//! Line editor as a state machine: keys go in, events come out. [`crate::view`] lays it out.
//!
//! Key bindings are those of GNU readline if it has one for the purpose. A text gets several lines
//! by a trailing `\`, by Alt-Enter, or by pasting. The cursor stands between grapheme clusters: a
//! combining accent or a joined emoji is one step.

use alloc::string::String;
use core::ops::Range;

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

use crate::{history::History, keys::Key};

/// Result of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditorEvent {
    /// Nothing to see.
    Nothing,
    /// The text or the cursor changed.
    Redraw,
    /// The key cannot do more, or the text has its largest length; the shell should ring the bell.
    Refused,
    /// Return: the whole text. The editor is then empty.
    Submitted(String),
    /// Ctrl-C: the text was removed, but Ctrl-Y brings it back.
    Interrupted,
    /// Ctrl-D on an empty line.
    EndOfInput,
    /// Tab: see [`crate::complete`].
    CompleteWanted,
    /// Ctrl-L: the screen should be cleared, and the line shown again.
    ClearScreen,
    /// The key is not handled by the editor: Esc, page up or down, an unknown key.
    NotMine(Key),
}

/// Default of the largest text in bytes: more than the context of any small model.
pub const LONGEST: usize = 64 << 10;

/// Line editor with the text being typed.
#[derive(Debug, Clone)]
pub struct Editor {
    text: String,
    /// Cursor as an offset in bytes, always between two clusters.
    cursor: usize,
    longest: usize,
    history: History,
    /// Index of the history entry that is shown, and the text typed before.
    recalled: Option<(usize, String)>,
    /// State of a search with Ctrl-R.
    search: Option<Search>,
    /// Text that Ctrl-Y inserts.
    killed: String,
    /// True if the last key deleted text for Ctrl-Y: the next one adds to it.
    killing: bool,
    pasting: bool,
}

/// Search in the history.
#[derive(Debug, Clone, Default)]
struct Search {
    /// Text to search for.
    part: String,
    /// Entry that is shown.
    index: Option<usize>,
    /// Line before the search, and its cursor.
    before: (String, usize),
}

impl Default for Editor {
    fn default() -> Self {
        Editor::new(LONGEST, History::default())
    }
}

impl Editor {
    /// Creates an empty line that may grow to `longest` bytes, with a history.
    pub const fn new(longest: usize, history: History) -> Editor {
        Editor {
            text: String::new(),
            cursor: 0,
            longest,
            history,
            recalled: None,
            search: None,
            killed: String::new(),
            killing: false,
            pasting: false,
        }
    }

    /// Current text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Cursor as an offset in the text, in bytes.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// Text being searched for, during a search.
    pub fn searched(&self) -> Option<&str> {
        self.search.as_ref().map(|search| &search.part[..])
    }

    /// The history, to be saved.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The history, to be added to.
    pub fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }

    /// Handles a key.
    pub fn press(&mut self, key: Key) -> EditorEvent {
        let killing = core::mem::take(&mut self.killing);
        if let Some(search) = self.search.take()
            && let Some(event) = self.look_for(search, key)
        {
            return event;
        }
        match key {
            Key::Char(letter) => self.insert_letter(letter),
            Key::Newline => self.insert_letter('\n'),
            Key::PasteBegin => {
                self.pasting = true;
                EditorEvent::Nothing
            }
            Key::PasteEnd => {
                self.pasting = false;
                EditorEvent::Nothing
            }
            // Other control characters in a paste are not commands.
            Key::Enter if self.pasting => self.insert_letter('\n'),
            Key::Tab if self.pasting => self.insert_letter('\t'),
            Key::Ctrl('c') => {
                self.pasting = false;
                if !self.text.is_empty() {
                    self.killed = core::mem::take(&mut self.text);
                }
                self.cursor = 0;
                self.recalled = None;
                EditorEvent::Interrupted
            }
            _ if self.pasting => EditorEvent::Nothing,
            Key::Enter => self.enter(),
            Key::Tab => EditorEvent::CompleteWanted,
            Key::Backspace => self.delete(self.before(self.cursor)..self.cursor),
            Key::Ctrl('d') if self.text.is_empty() => EditorEvent::EndOfInput,
            Key::Delete | Key::Ctrl('d') => self.delete(self.cursor..self.after(self.cursor)),
            Key::Left | Key::Ctrl('b') => self.go(self.before(self.cursor)),
            Key::Right | Key::Ctrl('f') => self.go(self.after(self.cursor)),
            Key::WordLeft => self.go(self.word_before()),
            Key::WordRight => self.go(self.word_after()),
            Key::Home | Key::Ctrl('a') => self.go(self.line().start),
            Key::End | Key::Ctrl('e') => self.go(self.line().end),
            Key::Up => self.up(),
            Key::Down => self.down(),
            Key::Ctrl('p') => self.older(),
            Key::Ctrl('n') => self.newer(),
            Key::Ctrl('r') => {
                self.search = Some(Search {
                    before: (self.text.clone(), self.cursor),
                    ..Search::default()
                });
                EditorEvent::Redraw
            }
            Key::Ctrl('u') => {
                let start = self.line().start;
                // At the beginning of a line: the line break before it.
                let start = if start == self.cursor {
                    self.before(start)
                } else {
                    start
                };
                self.kill(start..self.cursor, killing)
            }
            Key::Ctrl('k') => {
                let end = self.line().end;
                let end = if end == self.cursor {
                    self.after(end)
                } else {
                    end
                };
                self.kill(self.cursor..end, killing)
            }
            Key::Ctrl('w') => self.kill(self.blank_word_before()..self.cursor, killing),
            Key::DeleteWordLeft => self.kill(self.word_before()..self.cursor, killing),
            Key::DeleteWordRight => self.kill(self.cursor..self.word_after(), killing),
            Key::Ctrl('y') => self.yank(),
            Key::Ctrl('l') => EditorEvent::ClearScreen,
            _ => EditorEvent::NotMine(key),
        }
    }

    /// Replaces the line, with the cursor at its end: for `/retry` with changes, or a suggested
    /// opening.
    pub fn set_text(&mut self, text: &str) {
        self.text.clear();
        self.cursor = 0;
        self.recalled = None;
        // As much as fits.
        let _ = self.insert(text);
    }

    /// Replaces a part of the text, and puts the cursor behind it. Returns true if it fitted. An
    /// invalid range changes nothing.
    pub fn replace(&mut self, range: Range<usize>, with: &str) -> bool {
        let fits = |len: usize| len <= self.longest;
        if self.text.get(range.clone()).is_none()
            || !fits(self.text.len() - range.len() + with.len())
        {
            return false;
        }
        self.text.replace_range(range.clone(), "");
        self.cursor = range.start;
        self.insert(with)
    }

    fn insert_letter(&mut self, letter: char) -> EditorEvent {
        // A console would do as it says.
        if letter.is_control() && letter != '\n' && letter != '\t' {
            return EditorEvent::Nothing;
        }
        let mut bytes = [0; 4];
        if self.insert(letter.encode_utf8(&mut bytes)) {
            EditorEvent::Redraw
        } else {
            EditorEvent::Refused
        }
    }

    /// Inserts as much of a text as fits, without control characters. Returns true if that was all.
    fn insert(&mut self, text: &str) -> bool {
        let mut whole = true;
        let room = self.longest.saturating_sub(self.text.len());
        let mut given = String::new();
        for letter in text.chars() {
            if letter.is_control() && letter != '\n' && letter != '\t' {
                continue;
            }
            if given.len() + letter.len_utf8() > room {
                whole = false;
                break;
            }
            given.push(letter);
        }
        self.text.insert_str(self.cursor, &given);
        self.cursor = self.boundary(self.cursor + given.len());
        whole
    }

    /// Next valid cursor position from `at` on: typed characters may have joined their neighbours.
    fn boundary(&self, at: usize) -> usize {
        let mut cursor = GraphemeCursor::new(at, self.text.len(), true);
        match cursor.is_boundary(&self.text, 0) {
            Ok(false) => self.after(at),
            _ => at,
        }
    }

    /// Position one cluster before `at`; 0 at the beginning.
    fn before(&self, at: usize) -> usize {
        let mut cursor = GraphemeCursor::new(at, self.text.len(), true);
        cursor
            .prev_boundary(&self.text, 0)
            .ok()
            .flatten()
            .unwrap_or(0)
    }

    /// Position one cluster behind `at`; the length of the text at its end.
    fn after(&self, at: usize) -> usize {
        let mut cursor = GraphemeCursor::new(at, self.text.len(), true);
        cursor
            .next_boundary(&self.text, 0)
            .ok()
            .flatten()
            .unwrap_or(self.text.len())
    }

    fn go(&mut self, to: usize) -> EditorEvent {
        if to == self.cursor {
            return EditorEvent::Refused;
        }
        self.cursor = to;
        EditorEvent::Redraw
    }

    fn delete(&mut self, range: Range<usize>) -> EditorEvent {
        if range.is_empty() {
            return EditorEvent::Refused;
        }
        self.text.replace_range(range.clone(), "");
        // The characters left and right of it may form one cluster now.
        self.cursor = self.boundary(range.start);
        EditorEvent::Redraw
    }

    /// Deletes a range, and keeps it for Ctrl-Y.
    fn kill(&mut self, range: Range<usize>, more: bool) -> EditorEvent {
        self.killing = true;
        if range.is_empty() {
            self.killing = more;
            return EditorEvent::Refused;
        }
        if !more {
            self.killed.clear();
        }
        let at = if range.start < self.cursor {
            0
        } else {
            self.killed.len()
        };
        self.killed.insert_str(at, &self.text[range.clone()]);
        self.delete(range)
    }

    fn yank(&mut self) -> EditorEvent {
        let room = self.longest.saturating_sub(self.text.len());
        if self.killed.is_empty() || self.killed.len() > room {
            return EditorEvent::Refused;
        }
        let killed = core::mem::take(&mut self.killed);
        self.insert(&killed);
        self.killed = killed;
        EditorEvent::Redraw
    }

    /// Range of the line that contains the cursor, without its line break.
    fn line(&self) -> Range<usize> {
        let start = self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[self.cursor..].find('\n');
        start..end.map_or(self.text.len(), |at| self.cursor + at)
    }

    fn word_before(&self) -> usize {
        let mut inside = false;
        for (at, cluster) in self.text[..self.cursor].grapheme_indices(true).rev() {
            let of_word = is_of_word(cluster);
            if inside && !of_word {
                return at + cluster.len();
            }
            inside |= of_word;
        }
        0
    }

    fn word_after(&self) -> usize {
        let mut inside = false;
        for (at, cluster) in self.text[self.cursor..].grapheme_indices(true) {
            let of_word = is_of_word(cluster);
            if inside && !of_word {
                return self.cursor + at;
            }
            inside |= of_word;
        }
        self.text.len()
    }

    /// Like [`Self::word_before`], with words of any non-blank characters.
    fn blank_word_before(&self) -> usize {
        let before = &self.text[..self.cursor];
        let word = before.trim_end();
        let start = word.rfind(char::is_whitespace);
        // Behind the blank; a mark on it is a word's.
        self.boundary(start.map_or(0, |at| {
            at + word[at..].chars().next().map_or(0, char::len_utf8)
        }))
        .min(self.cursor)
    }

    fn enter(&mut self) -> EditorEvent {
        let backslashes = self
            .text
            .bytes()
            .rev()
            .take_while(|&byte| byte == b'\\')
            .count();
        // Two of them at the end are two backslashes.
        if backslashes % 2 == 1 {
            self.cursor = self.text.len() - 1;
            self.text.truncate(self.cursor);
            return self.insert_letter('\n');
        }
        let text = core::mem::take(&mut self.text);
        self.cursor = 0;
        self.recalled = None;
        self.history.push(&text);
        EditorEvent::Submitted(text)
    }

    /// Returns true if an unchanged entry of the history is shown.
    fn shows_entry(&self) -> bool {
        let shown = self
            .recalled
            .as_ref()
            .and_then(|(index, _)| self.history.get(*index));
        shown.is_some_and(|entry| entry == self.text)
    }

    fn up(&mut self) -> EditorEvent {
        let line = self.line();
        if line.start == 0 || self.shows_entry() {
            return self.older();
        }
        let column = self.text[line.start..self.cursor].graphemes(true).count();
        self.cursor = line.start - 1;
        let above = self.line();
        self.cursor = self.column(above, column);
        EditorEvent::Redraw
    }

    fn down(&mut self) -> EditorEvent {
        let line = self.line();
        if line.end == self.text.len() || self.shows_entry() {
            return self.newer();
        }
        let column = self.text[line.start..self.cursor].graphemes(true).count();
        self.cursor = line.end + 1;
        let below = self.line();
        self.cursor = self.column(below, column);
        EditorEvent::Redraw
    }

    /// Position this many clusters into a line, or its end.
    fn column(&self, line: Range<usize>, column: usize) -> usize {
        let mut places = self.text[line.clone()].grapheme_indices(true);
        places
            .nth(column)
            .map_or(line.end, |(at, _)| line.start + at)
    }

    fn older(&mut self) -> EditorEvent {
        let shown = self
            .recalled
            .as_ref()
            .map_or(self.history.len(), |(index, _)| *index);
        // The history may have lost entries in the meantime.
        let Some(index) = shown.min(self.history.len()).checked_sub(1) else {
            return EditorEvent::Refused;
        };
        let typed = match self.recalled.take() {
            Some((_, typed)) => typed,
            None => core::mem::take(&mut self.text),
        };
        self.recall(index, typed);
        EditorEvent::Redraw
    }

    fn newer(&mut self) -> EditorEvent {
        let Some((index, typed)) = self.recalled.take() else {
            return EditorEvent::Refused;
        };
        if index + 1 < self.history.len() {
            self.recall(index + 1, typed);
        } else {
            self.text = typed;
            self.cursor = self.text.len();
        }
        EditorEvent::Redraw
    }

    /// Handles a key during a search; `None` if the search is over with the line found, and the key
    /// still has to be handled.
    fn look_for(&mut self, mut search: Search, key: Key) -> Option<EditorEvent> {
        let mut below = search.index.map_or(self.history.len(), |index| index + 1);
        match key {
            Key::Char(letter) if !letter.is_control() => {
                let longer = search.part.len() + letter.len_utf8();
                if longer <= self.longest {
                    search.part.push(letter);
                }
            }
            Key::Backspace => {
                search.part.pop();
                below = self.history.len();
            }
            Key::Ctrl('r') => below = search.index.unwrap_or(self.history.len()),
            Key::Escape | Key::Ctrl('g') => {
                (self.text, self.cursor) = search.before;
                return Some(EditorEvent::Redraw);
            }
            Key::Other | Key::PasteBegin | Key::PasteEnd => {
                self.search = Some(search);
                return Some(EditorEvent::Nothing);
            }
            _ => return None,
        }
        let has = |index: &usize| {
            let entry = self.history.get(*index).unwrap_or_default();
            entry.to_lowercase().contains(&search.part.to_lowercase())
        };
        let found = (0..below.min(self.history.len())).rev().find(has);
        let event = match found.filter(|_| !search.part.is_empty()) {
            Some(index) => {
                search.index = Some(index);
                let entry = String::from(self.history.get(index).unwrap_or_default());
                self.set_text(&entry);
                EditorEvent::Redraw
            }
            None if search.part.is_empty() => {
                search.index = None;
                (self.text, self.cursor) = search.before.clone();
                EditorEvent::Redraw
            }
            None => EditorEvent::Refused,
        };
        self.search = Some(search);
        Some(event)
    }

    fn recall(&mut self, index: usize, typed: String) {
        self.text.clear();
        self.cursor = 0;
        if let Some(entry) = self.history.get(index) {
            self.text.push_str(entry);
            // Of another time, with other bounds.
            self.text
                .truncate(self.text.floor_char_boundary(self.longest));
        }
        self.cursor = self.text.len();
        self.recalled = Some((index, typed));
    }
}

fn is_of_word(cluster: &str) -> bool {
    cluster
        .chars()
        .next()
        .is_some_and(|first| first.is_alphanumeric() || first == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use EditorEvent::*;

    /// Creates an editor with this text and the cursor at `|`.
    fn with(marked: &str) -> Editor {
        let mut editor = Editor::default();
        let at = marked.find('|').unwrap();
        editor.set_text(&marked.replace('|', ""));
        editor.cursor = at;
        editor
    }

    fn shown(editor: &Editor) -> String {
        let (before, after) = editor.text.split_at(editor.cursor);
        format!("{before}|{after}")
    }

    #[test]
    fn looking_for_what_was_typed() {
        let mut editor = Editor::default();
        for line in ["/temp 1", "Tell of Tim", "/temp 2", "Über uns"] {
            editor.history.push(line);
        }
        let mut press = |keys: &[Key]| {
            let last = keys.iter().map(|&key| editor.press(key)).last();
            (
                shown(&editor),
                editor.searched().map(String::from),
                last.unwrap(),
            )
        };
        let found = |text: &str, part: &str, event| (text.into(), Some(part.into()), event);
        let (t, e) = (Key::Char('t'), Key::Char('e'));
        press(&[Key::Char('x')]);
        assert_eq!(press(&[Key::Ctrl('r')]), found("x|", "", Redraw));
        assert_eq!(press(&[t]), found("/temp 2|", "t", Redraw));
        assert_eq!(press(&[Key::Ctrl('r')]), found("Tell of Tim|", "t", Redraw));
        assert_eq!(press(&[e]), found("Tell of Tim|", "te", Redraw));
        assert_eq!(press(&[Key::Ctrl('r')]), found("/temp 1|", "te", Redraw));
        assert_eq!(press(&[Key::Ctrl('r')]), found("/temp 1|", "te", Refused));
        assert_eq!(
            press(&[Key::Backspace, Key::Backspace]),
            found("x|", "", Redraw)
        );
        assert_eq!(press(&[Key::Char('ü')]), found("Über uns|", "ü", Redraw));
        assert_eq!(press(&[Key::Escape]), ("x|".into(), None, Redraw));
        // Any other key accepts the line that was found.
        let taken = press(&[Key::Ctrl('r'), t, Key::Home]);
        assert_eq!(taken, ("|/temp 2".into(), None, Redraw));
        let said = press(&[Key::Ctrl('r'), t, t, Key::Enter]);
        assert_eq!(said, ("|".into(), None, Submitted("/temp 2".into())));
        let gone = press(&[Key::Ctrl('r'), t, Key::Ctrl('c')]);
        assert_eq!(gone, ("|".into(), None, Interrupted));
    }

    /// Text shown after these keys.
    fn after(marked: &str, keys: &[Key]) -> String {
        let mut editor = with(marked);
        for &key in keys {
            editor.press(key);
        }
        shown(&editor)
    }

    #[test]
    fn every_editing_key() {
        use Key::*;
        for (before, key, want) in [
            ("ab|c", Char('x'), "abx|c"),
            ("ab|c", Left, "a|bc"),
            ("ab|c", Ctrl('b'), "a|bc"),
            ("ab|c", Right, "abc|"),
            ("ab|c", Ctrl('f'), "abc|"),
            ("|abc", Left, "|abc"),
            ("abc|", Right, "abc|"),
            ("ab|c", Home, "|abc"),
            ("ab|c", Ctrl('a'), "|abc"),
            ("a|bc", End, "abc|"),
            ("a|bc", Ctrl('e'), "abc|"),
            ("x\nab|c\ny", Home, "x\n|abc\ny"),
            ("x\na|bc\ny", End, "x\nabc|\ny"),
            ("ab|c", Backspace, "a|c"),
            ("|abc", Backspace, "|abc"),
            ("a|bc", Delete, "a|c"),
            ("a|bc", Ctrl('d'), "a|c"),
            ("abc|", Delete, "abc|"),
            ("one two.three|", WordLeft, "one two.|three"),
            ("one two. |three", WordLeft, "one |two. three"),
            ("one| two", WordRight, "one two|"),
            ("|one two", WordRight, "one| two"),
            ("a b.c|d", Ctrl('w'), "a |d"),
            ("a  |", Ctrl('w'), "|"),
            ("a b.c|d", DeleteWordLeft, "a b.|d"),
            ("a| bc.d", DeleteWordRight, "a|.d"),
            ("a b|c", Ctrl('u'), "|c"),
            ("x\ny|z", Ctrl('u'), "x\n|z"),
            ("x\n|z", Ctrl('u'), "x|z"),
            ("a|bc", Ctrl('k'), "a|"),
            ("a|b\nc", Ctrl('k'), "a|\nc"),
            ("a|\nc", Ctrl('k'), "a|c"),
            ("a|b", Newline, "a\n|b"),
            ("one\ntw|o", Up, "on|e\ntwo"),
            ("o\ntw|o", Up, "o|\ntwo"),
            ("on|e\nt", Down, "one\nt|"),
            ("on|e\ntwo\n", Down, "one\ntw|o\n"),
            // Clusters are one step: marks, joined emoji, flags, Hangul, wide ones.
            ("ae\u{301}|b", Left, "a|e\u{301}b"),
            ("ae\u{301}|b", Backspace, "a|b"),
            (
                "|👨\u{200d}👩\u{200d}👧x",
                Right,
                "👨\u{200d}👩\u{200d}👧|x",
            ),
            ("|👨\u{200d}👩\u{200d}👧x", Delete, "|x"),
            ("🇩🇪🇫🇷|", Left, "🇩🇪|🇫🇷"),
            ("日本|語", Backspace, "日|語"),
            ("e|", Char('\u{301}'), "e\u{301}|"),
            // A mark that joins the character right of the cursor moves the cursor along.
            ("|\u{301}", Char('e'), "e\u{301}|"),
            ("a|b", Char('\u{7}'), "a|b"),
            ("a|b", Escape, "a|b"),
        ] {
            assert_eq!(after(before, &[key]), want, "{before:?} {key:?}");
        }
    }

    #[test]
    fn events() {
        let mut editor = Editor::default();
        assert_eq!(editor.press(Key::Ctrl('d')), EndOfInput);
        assert_eq!(editor.press(Key::Escape), NotMine(Key::Escape));
        assert_eq!(editor.press(Key::PageUp), NotMine(Key::PageUp));
        assert_eq!(editor.press(Key::Tab), CompleteWanted);
        assert_eq!(editor.press(Key::Ctrl('l')), ClearScreen);
        assert_eq!(editor.press(Key::Backspace), Refused);
        assert_eq!(editor.press(Key::Char('é')), Redraw);
        assert_eq!(editor.press(Key::Ctrl('d')), Refused);
        assert_eq!(editor.press(Key::Enter), Submitted("é".into()));
        assert_eq!(editor.press(Key::Enter), Submitted("".into()));
        editor.set_text("half");
        assert_eq!(editor.press(Key::Ctrl('c')), Interrupted);
        assert_eq!(editor.text(), "");
        assert_eq!(editor.press(Key::Ctrl('y')), Redraw);
        assert_eq!(editor.text(), "half");
    }

    #[test]
    fn killing_and_yanking() {
        use Key::*;
        let twice = [Ctrl('w'), Ctrl('w'), Home, Ctrl('y')];
        assert_eq!(after("one two three|", &twice), "two three|one ");
        let parted = [Ctrl('w'), Left, Ctrl('k'), Ctrl('y'), Ctrl('y')];
        assert_eq!(after("one two|", &parted), "one  |");
        let both = [Ctrl('u'), Ctrl('k'), Ctrl('y')];
        assert_eq!(after("one| two", &both), "one two|");
        assert_eq!(after("|", &[Ctrl('y')]), "|");
    }

    #[test]
    fn the_history_keeps_what_is_half_typed() {
        use Key::*;
        let mut editor = Editor::default();
        for line in ["first", "se\ncond"] {
            editor.set_text(line);
            editor.press(Enter);
        }
        let mut press = |key| {
            let event = editor.press(key);
            (event != Refused, shown(&editor))
        };
        press(Char('h'));
        assert_eq!(press(Up), (true, "se\ncond|".into()));
        assert_eq!(
            press(Up),
            (true, "first|".into()),
            "through an entry of two lines"
        );
        assert_eq!(press(Up), (false, "first|".into()));
        assert_eq!(press(Ctrl('n')), (true, "se\ncond|".into()));
        assert_eq!(press(Down), (true, "h|".into()));
        assert_eq!(press(Down), (false, "h|".into()));
        // A changed entry is a text like any other.
        press(Ctrl('p'));
        press(Char('!'));
        assert_eq!(press(Up), (true, "se|\ncond!".into()));
        assert_eq!(press(Down), (true, "se\nco|nd!".into()));
        assert_eq!(press(Down), (true, "h|".into()));
        press(Up);
        assert_eq!(press(Enter), (true, "|".into()));
        assert_eq!(editor.history().len(), 2, "the same twice in a row");
    }

    #[test]
    fn several_lines() {
        let mut editor = with("one\\|");
        assert_eq!(editor.press(Key::Enter), Redraw);
        editor.press(Key::Char('2'));
        assert_eq!(editor.press(Key::Enter), Submitted("one\n2".into()));
        let mut editor = with("one|\\");
        assert_eq!(editor.press(Key::Enter), Redraw);
        assert_eq!(shown(&editor), "one\n|");
        assert_eq!(
            with("C:\\\\|").press(Key::Enter),
            Submitted("C:\\\\".into())
        );
        let mut editor = with("a|");
        editor.press(Key::PasteBegin);
        for key in [
            Key::Enter,
            Key::Tab,
            Key::Char('/'),
            Key::Ctrl('u'),
            Key::Up,
            Key::Newline,
        ] {
            editor.press(key);
        }
        editor.press(Key::PasteEnd);
        assert_eq!(editor.press(Key::Enter), Submitted("a\n\t/\n".into()));
        editor.press(Key::PasteBegin);
        assert_eq!(editor.press(Key::Ctrl('c')), Interrupted);
        assert_eq!(
            editor.press(Key::Enter),
            Submitted("".into()),
            "the paste is over"
        );
    }

    #[test]
    fn a_full_line_refuses_and_loses_nothing() {
        let mut editor = Editor::new(7, History::default());
        for letter in "日本".chars() {
            assert_eq!(editor.press(Key::Char(letter)), Redraw);
        }
        assert_eq!(editor.press(Key::Char('é')), Refused);
        assert_eq!(editor.press(Key::Char('a')), Redraw);
        assert_eq!(editor.press(Key::Char('b')), Refused);
        assert_eq!(editor.text(), "日本a");
        assert!(!editor.replace(0..3, "four"));
        assert!(editor.replace(0..3, "abc"));
        assert!(!editor.replace(4..5, ""), "not between characters");
        assert!(!editor.replace(6..9, ""));
        assert_eq!(shown(&editor), "abc|本a");
        editor.set_text("日本語");
        assert_eq!(editor.text(), "日本");
    }

    #[test]
    fn completion_replaces() {
        let mut editor = with("/te|x");
        assert!(editor.replace(0..3, "/temp "));
        assert_eq!(shown(&editor), "/temp |x");
    }
}
