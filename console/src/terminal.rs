//! A [`Front`] on a terminal behind a byte stream: text, and the input line below it, in few bytes.

use alloc::{
    format,
    string::{String, ToString},
};

use crate::{
    ansi::{self, Ansi, PLAIN, sgr},
    front::{Bottom, Front, Menu, Style, styled},
    keys::Key,
    markdown::Markdown,
    view::{Prompt, lay_out},
    width::{self, is_plain},
    wrap::Wrap,
};

/// Empty prompt.
const NO_PROMPT: Prompt<'static> = Prompt {
    first: "",
    more: "",
};

/// Terminal output. Bytes to be sent are collected until [`Terminal::take`].
#[derive(Debug)]
pub struct Terminal {
    ansi: Ansi,
    /// Word wrap, if the terminal's width is certain.
    wrap: Option<Wrap>,
    columns: usize,
    /// True if colours are sent.
    colours: bool,
    /// Answer that grows, and its end on the terminal.
    answer: Option<Markdown>,
    tail: Ansi,
    /// True if the last line of the text has not ended.
    open: bool,
    out: String,
}

impl Terminal {
    /// Creates a terminal of this size. Without `colours`, only text, the sequences of the input
    /// line and those of Markdown are sent.
    pub const fn new(columns: usize, rows: usize, colours: bool) -> Terminal {
        Terminal {
            ansi: Ansi::new(rows, colours),
            wrap: None,
            columns,
            colours,
            answer: None,
            tail: Ansi::new(rows, colours),
            open: false,
            out: String::new(),
        }
    }

    /// Sets the terminal's size, which is now certain: from now on lines are wrapped between words,
    /// and Markdown is laid out. What is below the text has to be shown again.
    pub fn set_size(&mut self, columns: usize, rows: usize) {
        self.ansi.hide_in(columns, &mut self.out);
        self.columns = columns.max(8);
        self.ansi.set_height(rows);
        self.tail.set_height(rows);
        if let Some(answer) = &mut self.answer {
            answer.set_width(self.columns - 1);
        }
        let wrap = self.wrap.get_or_insert(Wrap::new(columns));
        // A character in the last column makes some terminals break the line by themselves.
        wrap.set_width(self.columns - 1);
    }

    /// Takes what is to be sent.
    pub fn take(&mut self) -> String {
        core::mem::take(&mut self.out)
    }

    /// Sends text without wrapping it.
    pub fn unbroken(&mut self, text: &str) {
        self.end_answer();
        self.ansi.hide(&mut self.out);
        self.put(&plain(text));
    }

    fn put(&mut self, text: &str) {
        for piece in text.split_inclusive('\n') {
            match piece.strip_suffix('\n') {
                Some(content) => {
                    self.out.push_str(content);
                    self.out.push_str("\r\n");
                }
                None => self.out.push_str(piece),
            }
        }
        if let Some(last) = text.chars().next_back() {
            self.open = last != '\n';
        }
    }

    fn write(&mut self, style: Style, text: &str) {
        let text = plain(text);
        let text = match &mut self.wrap {
            Some(wrap) => {
                let mut out = String::new();
                wrap.push(&text, &mut out);
                out
            }
            None => text,
        };
        if text.is_empty() {
            return;
        }
        self.put_in(style, &text);
    }

    fn put_in(&mut self, style: Style, text: &str) {
        let on = match self.colours {
            true => sgr(style, true),
            false => "",
        };
        self.out.push_str(on);
        self.put(text);
        self.out.push_str(if on.is_empty() { "" } else { PLAIN });
    }

    /// Appends to the answer that grows, or begins one.
    fn answer(&mut self, text: &str) {
        if self.answer.is_none() {
            self.end_line();
            self.answer = Some(Markdown::new(self.columns - 1));
        }
        if let Some(answer) = &mut self.answer {
            answer.push(text);
        }
        self.show_answer(true);
    }

    /// Shows the answer as it is now; a word that may go on is held back.
    fn show_answer(&mut self, holds: bool) {
        if let Some(answer) = &mut self.answer {
            let (rows, done) = answer.rows(holds);
            self.open = rows.last().is_some_and(|row| !row.text().is_empty());
            self.tail.grow(rows, done, &mut self.out);
        }
    }

    /// Ends the answer; the cursor is then at the beginning of a row.
    fn end_answer(&mut self) {
        if let Some(answer) = &mut self.answer {
            answer.finish();
            self.show_answer(false);
            self.answer = None;
            self.tail.forget();
            if let Some(wrap) = &mut self.wrap {
                wrap.push("\n", &mut String::new());
            }
        }
    }

    /// Sends the word that is held back, and a line end if there is none.
    fn end_line(&mut self) {
        self.end_answer();
        self.end_word();
        if self.open {
            self.put("\n");
            if let Some(wrap) = &mut self.wrap {
                wrap.push("\n", &mut String::new());
            }
        }
    }

    fn end_word(&mut self) {
        if let Some(wrap) = &mut self.wrap {
            let mut out = String::new();
            wrap.flush(&mut out);
            self.put(&out);
        }
    }
}

/// Removes what must not be sent to a terminal from a text of any origin: see [`is_plain`].
pub fn plain(text: &str) -> String {
    text.chars().filter(|&letter| is_plain(letter)).collect()
}

/// Puts a text such as a name or a sentence on one line: line ends and tabs become spaces.
pub fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

/// Formats a menu as at most `height` lines of text, and returns the cursor's position in it. Rows
/// that cannot be chosen are in brackets.
pub fn menu_text(menu: &Menu, columns: usize, height: usize) -> (String, usize) {
    let wide = menu.widths();
    let room = columns.saturating_sub(2);
    let cut = |line: &str| {
        let line = one_line(line);
        match width::text(&line) <= room {
            true => line,
            false => format!("{}…", width::cut(&line, room.saturating_sub(1))),
        }
    };
    // Title, note, and a row for the caller.
    let seen = height.saturating_sub(3).clamp(1, menu.rows.len().max(1));
    let first = menu.selected.saturating_sub(seen / 2);
    let first = first.min(menu.rows.len().saturating_sub(seen));
    let mut text = match seen < menu.rows.len() {
        true => cut(&format!(
            "{} ({} to {} of {})",
            menu.title,
            first + 1,
            first + seen,
            menu.rows.len()
        )),
        false => cut(&menu.title),
    };
    let mut cursor = 0;
    for (i, row) in menu.rows.iter().enumerate().skip(first).take(seen) {
        text.push('\n');
        if i == menu.selected {
            cursor = text.len();
        }
        let mut line = String::from(if i == menu.selected { "> " } else { "  " });
        for (cell, &wide) in row.cells.iter().zip(&wide) {
            let blanks = wide.saturating_sub(width::text(cell));
            line.push_str(cell);
            line.push_str(&" ".repeat(blanks + 2));
        }
        let line = line.trim_end();
        let line = match row.grey {
            true => format!("{}({})", &line[..1], &line[2..]),
            false => line.to_string(),
        };
        text.push_str(&cut(&line));
    }
    text.push('\n');
    text.push_str(&cut(&menu.note));
    (text, cursor)
}

impl Front for Terminal {
    fn show(&mut self, style: Style, text: &str) {
        // What is below an answer stands on a row of its own.
        self.ansi.hide(&mut self.out);
        if style == Style::Markdown && self.wrap.is_some() {
            return self.answer(text);
        }
        self.end_answer();
        self.write(style, text);
    }

    fn lay_out(&mut self, style: Style, make: &dyn Fn(usize) -> String) {
        self.ansi.hide(&mut self.out);
        self.end_line();
        styled(style, &make(self.columns), &mut |style, text| {
            self.put_in(style, &plain(text));
        });
    }

    fn bottom(&mut self, bottom: Bottom<'_>) {
        let (prompt, text, cursor) = match bottom {
            Bottom::Nothing => {
                self.show_answer(false);
                self.end_word();
                return self.ansi.hide(&mut self.out);
            }
            Bottom::Line {
                prompt,
                text,
                cursor,
            } => (prompt, text.to_string(), cursor),
            // In the middle of a line there is no place for these.
            Bottom::Status(_) | Bottom::Note(_) if self.open => return,
            Bottom::Status(status) => {
                let line = status.line(self.columns);
                let end = line.len();
                (NO_PROMPT, line, end)
            }
            Bottom::Note(note) => {
                let line = width::cut(note, self.columns.saturating_sub(1)).to_string();
                let end = line.len();
                (NO_PROMPT, line, end)
            }
            Bottom::Menu(menu) => {
                let (text, cursor) = menu_text(menu, self.columns, self.ansi.height());
                (NO_PROMPT, text, cursor)
            }
        };
        if !self.ansi.is_shown() {
            self.end_line();
        }
        let view = lay_out(prompt, &text, cursor, self.columns);
        self.ansi.draw(view, &mut self.out);
    }

    fn keep_line(&mut self) {
        self.ansi.leave(&mut self.out);
    }

    fn scroll(&mut self, _: Key) -> bool {
        false
    }

    fn bell(&mut self) {
        self.out.push_str(ansi::BELL);
    }

    fn clear(&mut self) {
        self.ansi.forget();
        self.answer = None;
        self.tail.forget();
        self.out.push_str(ansi::CLEAR);
        if let Some(wrap) = &mut self.wrap {
            wrap.push("\n", &mut String::new());
        }
        self.open = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ansi::tests::Terminal as Simulated,
        front::MenuRow,
        status::{Phase, Status},
    };

    const PROMPT: Prompt<'static> = Prompt {
        first: "> ",
        more: ". ",
    };

    fn line(text: &str) -> Bottom<'_> {
        Bottom::Line {
            prompt: PROMPT,
            text,
            cursor: text.len(),
        }
    }

    /// Rows shown by a terminal of 20 columns.
    fn seen(terminal: &mut Terminal, simulated: &mut Simulated) -> Vec<String> {
        simulated.feed(&terminal.take());
        let mut rows = simulated.seen();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    #[test]
    fn text_grows_above_the_line_being_typed() {
        let mut terminal = Terminal::new(20, 10, false);
        let mut simulated = Simulated::new(20, 10);
        terminal.set_size(20, 10);
        terminal.bottom(line("wo"));
        assert_eq!(seen(&mut terminal, &mut simulated), ["> wo"]);
        terminal.bottom(line("word"));
        terminal.keep_line();
        let status = Status {
            phase: Phase::Prefill { done: 1, total: 2 },
            microseconds: 1,
            context: (1, 9),
        };
        terminal.bottom(Bottom::Status(&status));
        assert_eq!(seen(&mut terminal, &mut simulated).len(), 2);
        terminal.show(Style::Answer, "an answer that is lon");
        assert_eq!(
            seen(&mut terminal, &mut simulated),
            ["> word", "an answer that is"]
        );
        // A word that still grows waits, and a status has no place in the middle of a line.
        terminal.bottom(Bottom::Status(&status));
        terminal.show(Style::Answer, "g.");
        terminal.bottom(line(""));
        assert_eq!(
            seen(&mut terminal, &mut simulated),
            ["> word", "an answer that is", "long.", ">"]
        );
        terminal.show(Style::Info, "said\n");
        terminal.bottom(line(""));
        assert_eq!(
            seen(&mut terminal, &mut simulated)[2..],
            ["long.", "said", ">"]
        );
        terminal.clear();
        terminal.bottom(line("a"));
        assert_eq!(terminal.take(), "\x1b[H\x1b[2J> a");
    }

    #[test]
    fn a_terminal_of_another_width_has_broken_the_line_anew() {
        let mut terminal = Terminal::new(40, 10, false);
        terminal.set_size(40, 10);
        terminal.bottom(line("thirty letters and a few, or so\nand more"));
        terminal.take();
        // Its first row, of 33 columns, takes two rows of 20 now.
        terminal.set_size(20, 10);
        assert_eq!(terminal.take(), "\x1b[2A\r\x1b[J");
        terminal.bottom(line("a"));
        assert_eq!(terminal.take(), "> a");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut terminal = Terminal::new(80, 24, false);
        terminal.show(Style::Answer, "a\x1b[2Jb\x07\tc\r\n");
        assert_eq!(terminal.take(), "a[2Jb\tc\r\n");
        terminal.show(
            Style::Answer,
            "\u{9b}31m\u{202e}x\u{2066}y\u{2069}\u{200f}\u{7f}\n",
        );
        assert_eq!(terminal.take(), "31mxy\u{200f}\r\n");
        terminal.unbroken("\\evil\x1b]0;PWN\x07.gguf\n");
        assert_eq!(terminal.take(), "\\evil]0;PWN.gguf\r\n");
        terminal.lay_out(Style::Info, &|columns| format!("{columns}\x1b\n"));
        assert_eq!(terminal.take(), "80\r\n");
        // Names in a menu, a question, a note, a line that was completed.
        let name = "a\x1b]0;b\x07\u{202e}c\u{9b}d";
        assert_eq!(one_line("x\nllama2: y\r\t.gguf"), "x llama2: y  .gguf");
        let row = MenuRow {
            cells: [name.into()].into(),
            grey: true,
        };
        let menu = Menu {
            title: name.into(),
            rows: [row].into(),
            selected: 0,
            note: name.into(),
        };
        let prompt = Prompt {
            first: name,
            more: name,
        };
        for bottom in [
            Bottom::Menu(&menu),
            Bottom::Note(name),
            Bottom::Line {
                prompt,
                text: name,
                cursor: name.len(),
            },
        ] {
            terminal.bottom(bottom);
            let sent = terminal.take();
            for bad in ["\x1b]", "\x07", "\u{202e}", "\u{9b}"] {
                assert!(!sent.contains(bad), "{sent:?}");
            }
            assert!(
                sent.contains("a\u{fffd}]0;b\u{fffd}\u{fffd}c\u{fffd}d"),
                "{sent:?}"
            );
            terminal.bottom(Bottom::Nothing);
            terminal.take();
        }
    }

    #[test]
    fn a_menu_is_rows_of_columns() {
        let choice = |cells: &[&str], grey| MenuRow {
            cells: cells.iter().map(|cell| cell.to_string()).collect(),
            grey,
        };
        let mut menu = Menu {
            title: "Models".into(),
            rows: [
                choice(&["a.gguf", "Q8_0", "fits"], false),
                choice(&["longer", "F32", "too large"], true),
            ]
            .into(),
            selected: 1,
            note: "10 s".into(),
        };
        let (text, cursor) = menu_text(&menu, 80, 24);
        assert_eq!(
            text,
            "Models\n  a.gguf  Q8_0  fits\n>(longer  F32   too large)\n10 s"
        );
        assert_eq!(&text[cursor..=cursor], ">");
        let (text, _) = menu_text(&menu, 16, 4);
        assert_eq!(
            text, "Models (2 to …\n>(longer  F32…\n10 s",
            "rows that fit"
        );
        let mut terminal = Terminal::new(40, 10, false);
        let mut simulated = Simulated::new(40, 10);
        terminal.bottom(Bottom::Menu(&menu));
        menu.selected = 0;
        terminal.bottom(Bottom::Menu(&menu));
        assert_eq!(
            seen(&mut terminal, &mut simulated),
            [
                "Models",
                "> a.gguf  Q8_0  fits",
                " (longer  F32   too large)",
                "10 s"
            ]
        );
    }
}
