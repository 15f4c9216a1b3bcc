//! Emphasis, code and links within a line: CommonMark's rules (0.31, 6) in their simple form. What
//! is doubtful stays as it is written.
//!
//! A mark and its counterpart are at most [`SPAN`] bytes apart and in one line. So a line is
//! decided up to the first mark that may still find its counterpart, and what is decided is never
//! looked at again.

use alloc::vec::Vec;

use crate::style::Style;

/// Most bytes from a mark to its counterpart.
const SPAN: usize = 400;
/// Most marks within each other that the one which a mark belongs to is looked for among.
const DEPTH: usize = 32;

/// Kind of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Code,
    Faint,
    /// A mark that has found its counterpart, or may: it is not shown.
    Hidden,
}

/// Piece of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'t> {
    text: &'t str,
    /// Offset in the line behind it.
    pub end: usize,
    kind: Kind,
    is_strong: bool,
    is_emphasis: bool,
}

impl<'t> Piece<'t> {
    /// Text to be shown, and its style where other text has the style `base`.
    pub(super) fn shown(&self, base: Style) -> Option<(Style, &'t str)> {
        let style = match self.kind {
            Kind::Hidden => return None,
            Kind::Code => Style::Code,
            Kind::Faint => Style::Faint,
            Kind::Text if base != Style::Answer => base,
            Kind::Text if self.is_strong => Style::Strong,
            Kind::Text if self.is_emphasis => Style::Emphasis,
            Kind::Text => base,
        };
        Some((style, self.text))
    }
}

/// Mark that may find its counterpart.
struct Open {
    piece: usize,
    at: usize,
    mark: u8,
    count: usize,
}

/// Link whose text is being read: offsets in the line.
struct Link {
    /// Begin of its text, and its end.
    text: usize,
    close: usize,
    address: (usize, usize),
    end: usize,
}

/// Result of [`parse`].
pub(super) struct Parsed<'t> {
    pub pieces: Vec<Piece<'t>>,
    /// Bytes that are decided, whatever follows; a piece ends there.
    pub decided: usize,
}

/// Parses the rest of a line, behind the letter `before`. If it is not `whole`, marks without a
/// counterpart are taken as if it followed.
pub(super) fn parse(text: &str, before: Option<char>, whole: bool) -> Parsed<'_> {
    let mut parser = Parser {
        text,
        before,
        whole,
        pieces: Vec::new(),
        open: Vec::new(),
        decided: text.len(),
        link: None,
        spans: Vec::new(),
    };
    let mut at = 0;
    while at < text.len() {
        at = parser.next(at);
    }
    parser.end()
}

struct Parser<'t> {
    text: &'t str,
    before: Option<char>,
    whole: bool,
    pieces: Vec<Piece<'t>>,
    /// Marks that may find their counterparts, the first of them first.
    open: Vec<Open>,
    decided: usize,
    link: Option<Link>,
    /// Begin and end of what is decided as a whole; one may be within another.
    spans: Vec<(usize, usize)>,
}

impl<'t> Parser<'t> {
    fn push(&mut self, text: &'t str, end: usize, kind: Kind) {
        self.pieces.push(Piece {
            text,
            end,
            kind,
            is_strong: false,
            is_emphasis: false,
        });
    }

    fn text(&mut self, from: usize, to: usize) {
        self.push(&self.text[from..to], to, Kind::Text);
    }

    /// Knows that what begins at `at` hangs on what follows.
    fn undecided(&mut self, at: usize) {
        self.decided = self.decided.min(at);
    }

    /// Reads what begins at `at`. Returns the offset behind it.
    fn next(&mut self, at: usize) -> usize {
        // Code may go on behind what seemed to be the end of a link's text.
        self.link.take_if(|link| link.close < at);
        let bytes = self.text.as_bytes();
        let is_special = |byte: &u8| b"*_`[]\\".contains(byte);
        let run = |mark: u8| {
            let run = bytes[at..].iter().take(SPAN);
            run.take_while(|byte| **byte == mark).count()
        };
        match bytes[at] {
            mark @ (b'*' | b'_') => self.emphasis(at, mark, run(mark)),
            b'`' => self.code(at, run(b'`')),
            b'[' => self.bracket(at),
            b']' if self.link.as_ref().is_some_and(|link| link.close == at) => self.address(at),
            b'\\' => self.escape(at),
            _ => {
                // The first byte is no mark, or one that means nothing here.
                let more = bytes[at + 1..].iter().position(is_special);
                let to = more.map_or(bytes.len(), |more| at + 1 + more);
                self.text(at, to);
                to
            }
        }
    }

    fn escape(&mut self, at: usize) -> usize {
        match self.text.as_bytes().get(at + 1) {
            Some(b'*' | b'_' | b'`' | b'#') => {
                self.push(&self.text[at + 1..at + 2], at + 2, Kind::Text);
                at + 2
            }
            other => {
                if other.is_none() && !self.whole {
                    self.undecided(at);
                }
                self.text(at, at + 1);
                at + 1
            }
        }
    }

    fn code(&mut self, at: usize, count: usize) -> usize {
        let bytes = self.text.as_bytes();
        let begin = at + count;
        let last = bytes.len().min(at + SPAN);
        let mut to = begin;
        let mut may_follow = !self.whole && bytes.len() - at <= SPAN;
        while to < last {
            let ticks = bytes[to..].iter().take_while(|byte| **byte == b'`').count();
            // More of them may follow.
            let is_cut = !self.whole && ticks > 0 && to + ticks == bytes.len();
            may_follow |= is_cut;
            if ticks == count && !is_cut {
                // Blanks that only part a tick of the code from the marks.
                let inner = &self.text[begin..to];
                let inner = match inner.strip_prefix(' ').and_then(|i| i.strip_suffix(' ')) {
                    Some(inside) if !inside.trim().is_empty() => inside,
                    _ => inner,
                };
                self.push("", begin, Kind::Hidden);
                self.push(inner, to + ticks, Kind::Code);
                return to + ticks;
            }
            to += ticks.max(1);
        }
        if may_follow {
            self.undecided(at);
            self.push("", begin, Kind::Hidden);
            let shown = self.text[begin..].trim_end_matches('`');
            self.push(shown, bytes.len(), Kind::Code);
            return bytes.len();
        }
        self.text(at, begin);
        begin
    }

    /// Finds the end of a link that begins at `at`; `None` if it may still follow.
    fn find_link(&self, at: usize) -> Option<Option<Link>> {
        let bytes = self.text.as_bytes();
        let end = bytes.len().min(at + SPAN);
        let missing = match self.whole || end < bytes.len() {
            true => Some(None),
            false => None,
        };
        let inside = &bytes[at + 1..end];
        let Some(close) = inside.iter().position(|byte| b"[]".contains(byte)) else {
            return missing;
        };
        let close = at + 1 + close;
        if bytes[close] == b'[' || close == at + 1 {
            return Some(None);
        }
        match bytes[..end].get(close + 1) {
            None => return missing,
            Some(b'(') => (),
            Some(_) => return Some(None),
        }
        let first = close + 2;
        let mut depth = 0;
        for (i, byte) in (first..).zip(&bytes[first..end]) {
            match byte {
                b'(' => depth += 1,
                b')' if depth == 0 => {
                    let address = (first, i);
                    let link = Link {
                        text: at + 1,
                        close,
                        address,
                        end: i + 1,
                    };
                    return Some((i > first).then_some(link));
                }
                b')' => depth -= 1,
                _ => (),
            }
        }
        missing
    }

    fn bracket(&mut self, at: usize) -> usize {
        match self.find_link(at) {
            Some(Some(link)) => {
                self.link = Some(link);
                self.push("", at + 1, Kind::Hidden);
            }
            found => {
                if found.is_none() {
                    self.undecided(at);
                }
                self.text(at, at + 1);
            }
        }
        at + 1
    }

    /// Shows the address of a link whose text ends at `at`.
    fn address(&mut self, at: usize) -> usize {
        let Some(link) = self.link.take() else {
            return at + 1;
        };
        self.open.retain(|open| open.at < link.text);
        self.spans.push((link.text - 1, link.end));
        let address = &self.text[link.address.0..link.address.1];
        if &self.text[link.text..at] != address {
            self.push(" (", at + 1, Kind::Faint);
            self.push(address, link.address.1, Kind::Faint);
            self.push(")", link.end, Kind::Faint);
        } else {
            self.push("", link.end, Kind::Hidden);
        }
        link.end
    }

    fn emphasis(&mut self, at: usize, mark: u8, count: usize) -> usize {
        let end = at + count;
        let before = self.text[..at].chars().next_back().or(self.before);
        let after = self.text[end..].chars().next();
        if after.is_none() && !self.whole {
            // It may be longer, and close something or open it.
            self.undecided(at);
            self.push("", end, Kind::Hidden);
            return end;
        }
        let is_mark = match mark {
            b'*' => count <= 3,
            _ => count == 1,
        };
        let word = |letter: Option<char>| match count {
            // Chinese puts `**` between its letters.
            2.. => letter.is_some_and(|letter| letter.is_ascii_alphanumeric()),
            _ => letter.is_some_and(char::is_alphanumeric),
        };
        let blank = |letter: Option<char>| letter.is_none_or(char::is_whitespace);
        let can = |behind, beyond| match count {
            2.. => !(blank(beyond) || word(behind) && word(beyond)),
            _ => !blank(beyond) && !word(behind),
        };
        let (opens, closes) = (can(before, after), can(after, before));
        // What is within a link's text is closed there.
        let first = self.link.as_ref().map_or(0, |link| link.text);
        let first = first.max(at.saturating_sub(SPAN));
        let mut left = if is_mark { count } else { 0 };
        while closes && left > 0 {
            let near = self.open.iter().enumerate().rev().take(DEPTH);
            let mut near = near.filter(|(_, open)| open.at >= first && open.mark == mark);
            // Three close one and two, too.
            let found = near.clone().find(|(_, open)| open.count == left);
            let found = found.or_else(|| near.find(|_| left == 3));
            let Some((found, _)) = found else {
                break;
            };
            let open = self.open.split_off(found).swap_remove(0);
            left -= open.count;
            self.spans.push((open.at, end));
            self.pieces[open.piece].kind = Kind::Hidden;
            for piece in &mut self.pieces[open.piece..] {
                piece.is_strong |= open.count >= 2;
                piece.is_emphasis |= open.count == 1;
            }
        }
        if left > 0 && left == count && opens {
            let piece = self.pieces.len();
            self.open.push(Open {
                piece,
                at,
                mark,
                count,
            });
        }
        let shown = if is_mark { left } else { count };
        if shown > 0 {
            self.text(end - shown, end);
        } else {
            self.push("", end, Kind::Hidden);
        }
        end
    }

    fn end(mut self) -> Parsed<'t> {
        if let Some(link) = self.link.take().filter(|_| !self.whole) {
            // What is undecided began in its text.
            self.undecided(link.text - 1);
        }
        // From here on all may be different.
        let first = self.decided;
        let may_close = |open: &&Open| !self.whole && first.saturating_sub(open.at) <= SPAN;
        let mut open = self.open.iter().filter(may_close).peekable();
        self.decided = open.peek().map_or(first, |open| first.min(open.at));
        let (mut is_strong, mut is_emphasis) = (false, false);
        for (i, piece) in self.pieces.iter_mut().enumerate() {
            if let Some(open) = open.next_if(|open| open.piece == i) {
                piece.kind = Kind::Hidden;
                is_strong |= open.count >= 2;
                is_emphasis |= open.count == 1;
            }
            piece.is_strong |= is_strong;
            piece.is_emphasis |= is_emphasis;
        }
        let cut = |&&(begin, end): &&(usize, usize)| begin < self.decided && self.decided < end;
        let cut = self.spans.iter().filter(cut).map(|span| span.0).min();
        let decided = cut.unwrap_or(self.decided);
        Parsed {
            pieces: self.pieces,
            decided,
        }
    }
}
