//! Beginning of a line: what kind of line it is.

/// Bytes within which a line must show what it is; else it is a paragraph.
const MOST: usize = 200;
/// Most quotes within each other.
const QUOTES: usize = 8;

/// Kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'t> {
    /// Part of a paragraph.
    Text,
    Heading,
    /// Item of a list, with its number or its mark.
    Item(&'t str),
    Rule,
    /// Begin of code: the mark, how many, and the language.
    Fence(char, usize, &'t str),
    /// Row of a table.
    Table,
    Blank,
}

/// Beginning of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start<'t> {
    pub kind: Kind<'t>,
    /// Number of `>` before it.
    pub quotes: usize,
    /// Blanks before it.
    pub indent: usize,
    /// Bytes that are no part of the text.
    pub taken: usize,
}

/// Recognises a line, or what has come of it; `None` if that hangs on what follows.
pub(super) fn start(line: &str, whole: bool) -> Option<Start<'_>> {
    let head = &line[..line.floor_char_boundary(MOST)];
    let found = look(head, whole && head.len() == line.len());
    let text = Start {
        kind: Kind::Text,
        quotes: 0,
        indent: 0,
        taken: 0,
    };
    found.or((head.len() < line.len()).then_some(text))
}

/// Counts blanks, and their columns.
pub(super) fn blanks(text: &str) -> (usize, usize) {
    let mut columns = 0;
    let len = text.bytes().take_while(|byte| match byte {
        b' ' => {
            columns += 1;
            true
        }
        b'\t' => {
            columns += 4 - columns % 4;
            true
        }
        _ => false,
    });
    (len.count(), columns)
}

/// Offset behind quote marks, and how many there are.
fn quotes(line: &str) -> (usize, usize) {
    let (mut at, mut count) = (0, 0);
    while count < QUOTES {
        let rest = &line[at..];
        let (len, columns) = blanks(rest);
        if columns > 3 || !rest[len..].starts_with('>') {
            break;
        }
        at += len + 1;
        at += usize::from(line[at..].starts_with(' '));
        count += 1;
    }
    (at, count)
}

fn look(line: &str, whole: bool) -> Option<Start<'_>> {
    let (quoted, quotes) = quotes(line);
    let (len, indent) = blanks(&line[quoted..]);
    let begin = quoted + len;
    let rest = &line[begin..];
    let start = |kind, behind: usize| {
        Some(Start {
            kind,
            quotes,
            indent,
            taken: begin + behind,
        })
    };
    let text = start(Kind::Text, 0);
    let Some(first) = rest.chars().next() else {
        return start(Kind::Blank, 0).filter(|_| whole);
    };
    let count = rest.chars().take_while(|letter| *letter == first).count();
    // Behind a mark, at least one blank and then a letter.
    let behind = |mark: usize| {
        let (len, _) = blanks(&rest[mark..]);
        match (rest.len() == mark + len, len) {
            (true, _) => (!whole).then_some(None),
            (false, 0) => None,
            (false, _) => Some(Some(mark + len)),
        }
    };
    match first {
        '|' => start(Kind::Table, 0),
        '#' if count <= 6 => match behind(count) {
            None => text,
            Some(None) => None,
            Some(Some(taken)) => start(Kind::Heading, taken),
        },
        '`' | '~' => {
            let info = &rest[count..];
            let is_fence = count >= 3 && !(first == '`' && info.contains('`'));
            match (whole, is_fence) {
                (true, true) => start(Kind::Fence(first, count, info.trim()), rest.len()),
                (false, true) => None,
                (false, false) if info.is_empty() => None,
                _ => text,
            }
        }
        '-' | '*' | '+' | '_' => {
            let is_rule = first != '+' && rest.chars().all(|l| l == first || l == ' ');
            let marks = rest.chars().filter(|letter| *letter == first).count();
            match (is_rule, whole) {
                (true, true) if marks >= 3 => return start(Kind::Rule, rest.len()),
                (true, false) => return None,
                _ if first == '_' => return text,
                _ => (),
            }
            match behind(1) {
                None => text,
                Some(None) => None,
                Some(Some(taken)) => start(Kind::Item("•"), taken),
            }
        }
        '0'..='9' => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            match rest.as_bytes().get(digits) {
                _ if digits > 9 => text,
                None if !whole => None,
                Some(b'.' | b')') => match behind(digits + 1) {
                    None => text,
                    Some(None) => None,
                    Some(Some(taken)) => start(Kind::Item(&rest[..=digits]), taken),
                },
                _ => text,
            }
        }
        _ => text,
    }
}

/// Line within code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodeLine {
    /// End of the code.
    End,
    /// The quote that the code is in has ended.
    Leaves,
    /// Code, behind so many bytes.
    Code(usize),
}

/// Code between fences.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fence {
    pub mark: char,
    pub count: usize,
    pub quotes: usize,
    pub indent: usize,
}

impl Fence {
    /// Recognises a line within the code; `None` if that hangs on what follows.
    pub(super) fn line(&self, line: &str, whole: bool) -> Option<CodeLine> {
        let head = &line[..line.floor_char_boundary(MOST)];
        let is_cut = head.len() < line.len();
        self.look(head, whole && !is_cut, is_cut)
    }

    fn look(&self, line: &str, whole: bool, is_cut: bool) -> Option<CodeLine> {
        let (quoted, quotes) = match self.quotes {
            0 => (0, 0),
            _ => quotes(line),
        };
        let (len, columns) = blanks(&line[quoted..]);
        let rest = &line[quoted + len..];
        if rest.is_empty() && !whole && !is_cut {
            return None;
        }
        if quotes < self.quotes {
            return Some(CodeLine::Leaves);
        }
        let marks = rest
            .chars()
            .take_while(|letter| *letter == self.mark)
            .count();
        let is_end = columns <= self.indent + 3 && rest[marks..].trim().is_empty();
        match is_end && !rest.is_empty() {
            true if !whole && !is_cut => return None,
            true if whole && marks >= self.count => return Some(CodeLine::End),
            _ => (),
        }
        // The code is indented as its fence is.
        let (mut taken, mut column) = (quoted, 0);
        for byte in line[quoted..quoted + len].bytes() {
            column += if byte == b' ' { 1 } else { 4 };
            if column > self.indent {
                break;
            }
            taken += 1;
        }
        Some(CodeLine::Code(taken))
    }
}
