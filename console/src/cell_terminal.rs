//! A [`Front`] on a console of cells with colours, such as UEFI's text output: text above, and
//! below it the input line, a menu or the progress.

use alloc::string::{String, ToString};

use crate::{
    front::{Bottom, Front, Style, styled},
    grid::{CellScreen, Grid},
    markdown::Markdown,
    terminal::{menu_text, plain},
    view::{Prompt, lay_out},
    width,
    wrap::Wrap,
};

/// Empty prompt.
const NO_PROMPT: Prompt<'static> = Prompt {
    first: "",
    more: "",
};

/// Console of cells that also prints running text.
pub trait CellTerminal: CellScreen {
    /// Position of the cursor: column and row.
    fn place(&self) -> (usize, usize);

    /// Sets the style of what is written next.
    fn style(&mut self, style: Style);

    /// Writes text at the cursor. A line feed goes to the beginning of the next row and scrolls if
    /// there is none, a carriage return to the beginning of the row, a backspace one column back.
    /// No row reaches the last column.
    fn print(&mut self, text: &str);

    /// Empties the console and moves the cursor to the first cell.
    fn clear(&mut self);
}

/// Front on a console of cells.
#[derive(Debug)]
pub struct Places<C> {
    console: C,
    wrap: Wrap,
    /// Input line or other content below the text.
    grid: Option<Grid>,
    /// Answer that grows, and its end on the console.
    answer: Option<(Markdown, Grid)>,
    /// True if the last line of the text has not ended.
    open: bool,
}

impl<C: CellTerminal> Places<C> {
    /// Creates a front on this console; it assumes 80 columns until [`Places::measure`] is called.
    pub const fn new(console: C) -> Places<C> {
        Places {
            console,
            wrap: Wrap::new(79),
            grid: None,
            answer: None,
            open: false,
        }
    }

    /// The console itself.
    pub fn console(&mut self) -> &mut C {
        &mut self.console
    }

    /// Updates the size from the console.
    pub fn measure(&mut self) {
        let (columns, _) = self.console.size();
        // A character in the last column makes some consoles break the line by themselves.
        self.wrap.set_width(columns.saturating_sub(1));
    }

    /// Prints text with control characters: backspace and carriage return move the cursor back.
    /// `whole` is true if the text does not end within a word.
    pub fn raw(&mut self, style: Style, text: &str, whole: bool) {
        self.end_answer();
        self.hide();
        let mut out = String::new();
        self.wrap.push(text, &mut out);
        if whole {
            self.wrap.flush(&mut out);
        }
        self.put(style, &out);
    }

    /// Rewrites the row of the cursor.
    pub fn redraw(&mut self, style: Style, line: &str) {
        self.end_answer();
        self.hide();
        self.console.style(style);
        self.console.print("\r");
        self.console.print(line);
        self.open = !line.is_empty();
    }

    fn put(&mut self, style: Style, text: &str) {
        if let Some(last) = text.chars().next_back() {
            self.console.style(style);
            self.console.print(text);
            self.open = !matches!(last, '\n' | '\r');
        }
    }

    /// Removes what is below the text; the cursor is then at the end of the text.
    fn hide(&mut self) {
        if let Some(mut grid) = self.grid.take() {
            grid.hide(&mut self.console);
        }
    }

    /// Appends to the answer that grows, or begins one.
    fn answer(&mut self, text: &str) {
        self.hide();
        if self.answer.is_none() {
            self.end_line(Style::Answer);
            let (columns, _) = self.console.size();
            let answer = Markdown::new(columns.saturating_sub(1));
            let (_, row) = self.console.place();
            self.answer = Some((answer, Grid::new(row)));
        }
        if let Some((answer, _)) = &mut self.answer {
            answer.push(text);
        }
        self.show_answer(true);
    }

    /// Shows the answer as it is now; a word that may go on is held back.
    fn show_answer(&mut self, holds: bool) {
        if let Some((answer, grid)) = &mut self.answer {
            let (rows, done) = answer.rows(holds);
            self.open = rows.last().is_some_and(|row| !row.text().is_empty());
            grid.grow(rows, done, &mut self.console);
        }
    }

    /// Ends the answer; the cursor is then at the beginning of a row.
    fn end_answer(&mut self) {
        if let Some((answer, _)) = &mut self.answer {
            answer.finish();
            self.show_answer(false);
            self.answer = None;
            self.wrap.push("\n", &mut String::new());
        }
    }

    /// Prints the word that was held back.
    fn end_word(&mut self, style: Style) {
        let mut out = String::new();
        self.wrap.flush(&mut out);
        self.put(style, &out);
    }

    /// Prints the word that was held back, and ends the line unless it has ended.
    fn end_line(&mut self, style: Style) {
        self.end_answer();
        self.end_word(style);
        if self.open {
            self.raw(style, "\n", true);
        }
    }
}

impl<C: CellTerminal> Front for Places<C> {
    fn show(&mut self, style: Style, text: &str) {
        match style {
            Style::Markdown => self.answer(text),
            _ => self.raw(style, &plain(text), false),
        }
    }

    fn lay_out(&mut self, style: Style, make: &dyn Fn(usize) -> String) {
        self.hide();
        self.end_line(style);
        let (columns, _) = self.console.size();
        styled(style, &make(columns), &mut |style, text| {
            self.put(style, &plain(text));
        });
    }

    fn bottom(&mut self, bottom: Bottom<'_>) {
        let (columns, rows) = self.console.size();
        // In the colour of answers, whose end it most often is.
        const HELD: Style = Style::Answer;
        let note = |line: String| {
            let end = line.len();
            (NO_PROMPT, line, end)
        };
        let (prompt, text, cursor) = match bottom {
            Bottom::Nothing => {
                self.show_answer(false);
                self.end_word(HELD);
                return self.hide();
            }
            Bottom::Line {
                prompt,
                text,
                cursor,
            } => (prompt, text.to_string(), cursor),
            // In the middle of a line there is no place for these.
            Bottom::Status(_) | Bottom::Note(_) if self.open => return,
            Bottom::Status(status) => note(status.line(columns)),
            Bottom::Note(line) => note(width::cut(line, columns.saturating_sub(1)).to_string()),
            Bottom::Menu(menu) => {
                let (text, cursor) = menu_text(menu, columns, rows);
                (NO_PROMPT, text, cursor)
            }
        };
        if self.grid.is_none() {
            self.end_line(HELD);
        }
        let (_, row) = self.console.place();
        let grid = self.grid.get_or_insert_with(|| Grid::new(row));
        grid.draw(lay_out(prompt, &text, cursor, columns), &mut self.console);
    }

    fn keep_line(&mut self) {
        if let Some(mut grid) = self.grid.take() {
            grid.leave(&mut self.console);
        }
    }

    fn clear(&mut self) {
        (self.grid, self.answer) = (None, None);
        self.console.clear();
        self.wrap.push("\n", &mut String::new());
        self.open = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ansi::tests::Terminal,
        front::{Menu, MenuRow},
        status::{Phase, Status},
    };

    impl CellTerminal for Terminal {
        fn place(&self) -> (usize, usize) {
            (self.column, self.row)
        }

        fn style(&mut self, _: Style) {}

        fn print(&mut self, text: &str) {
            self.feed(&text.replace('\n', "\r\n"));
        }

        fn clear(&mut self) {
            *self = Terminal::new(self.cells[0].len(), self.cells.len());
        }
    }

    fn places(columns: usize, rows: usize) -> Places<Terminal> {
        let mut places = Places::new(Terminal::new(columns, rows));
        places.measure();
        places
    }

    /// Rows shown, without the empty ones at the end.
    fn seen(places: &mut Places<Terminal>) -> Vec<String> {
        let mut rows = places.console().seen();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    fn line(text: &str) -> Bottom<'_> {
        Bottom::Line {
            prompt: Prompt {
                first: "> ",
                more: ". ",
            },
            text,
            cursor: text.len(),
        }
    }

    const STATUS: Status = Status {
        phase: Phase::Prefill { done: 1, total: 2 },
        microseconds: 1,
        context: (1, 9),
    };

    #[test]
    fn text_grows_above_the_line_being_typed() {
        let mut places = places(20, 6);
        places.bottom(line("wo"));
        assert_eq!(seen(&mut places), ["> wo"]);
        places.bottom(line("word"));
        places.keep_line();
        places.bottom(Bottom::Status(&STATUS));
        assert_eq!(seen(&mut places).len(), 2);
        places.show(Style::Answer, "an answer that is lon");
        assert_eq!(seen(&mut places), ["> word", "an answer that is"]);
        // A word that still grows waits, and a status has no place in the middle of a line.
        places.bottom(Bottom::Status(&STATUS));
        places.show(Style::Answer, "g.");
        places.bottom(line("a"));
        assert_eq!(
            seen(&mut places),
            ["> word", "an answer that is", "long.", "> a"]
        );
        // Something is said while a line is being typed.
        places.show(Style::Warning, "said\x1b[2J\n");
        places.bottom(line("a"));
        assert_eq!(seen(&mut places)[2..], ["long.", "said[2J", "> a"]);
        // At the console's end everything moves up.
        places.show(Style::Info, "1\n2\n3\n");
        places.bottom(line("a\nb"));
        assert_eq!(seen(&mut places), ["said[2J", "1", "2", "3", "> a", ". b"]);
        places.keep_line();
        places.show(Style::Info, "4");
        places.bottom(Bottom::Nothing);
        assert_eq!(seen(&mut places), ["1", "2", "3", "> a", ". b", "4"]);
        places.lay_out(Style::Info, &|columns| format!("{columns}\n"));
        assert_eq!(seen(&mut places)[2..], [". b", "4", "20"]);
        places.clear();
        places.bottom(line("a"));
        assert_eq!(seen(&mut places), ["> a"]);
    }

    /// An answer in pieces, on a console of cells and on a terminal: what is seen is the end of
    /// what it is laid out as.
    #[test]
    fn answers_in_markdown_grow_as_they_are_laid_out() {
        const PIECES: [&str; 18] = [
            "word ",
            "a",
            "**",
            "*",
            "`",
            "[x](y)",
            "日本 ",
            "🙂",
            "e\u{301}",
            "\n",
            "\n\n",
            "- ",
            "# ",
            "> ",
            "\n```\n",
            "\n| a | b |\n|--|--|\n",
            "| cell | c |\n",
            "longerword",
        ];
        let mut random = crate::random(3);
        for round in 0..300 {
            let (columns, rows) = (20 + random(20), 40);
            let mut places = places(columns, rows);
            let mut wire = crate::terminal::Terminal::new(columns, rows, round % 2 == 0);
            let mut shown = Terminal::new(columns, rows);
            wire.set_size(columns, rows);
            let mut markdown = Markdown::new(columns - 1);
            for front in [&mut places as &mut dyn Front, &mut wire] {
                front.show(Style::Info, "before");
            }
            for _ in 0..=random(150) {
                let piece = PIECES[random(PIECES.len())];
                markdown.push(piece);
                for front in [&mut places as &mut dyn Front, &mut wire] {
                    front.show(Style::Markdown, piece);
                    if round % 3 == 0 {
                        front.bottom(Bottom::Nothing);
                    }
                }
                shown.feed(&wire.take());
            }
            markdown.finish();
            for front in [&mut places as &mut dyn Front, &mut wire] {
                front.show(Style::Info, "after");
                front.bottom(Bottom::Nothing);
            }
            shown.feed(&wire.take());
            let mut want = Vec::from(["before".to_string()]);
            let (rows_laid_out, done) = markdown.rows(false);
            let laid_out = rows_laid_out.iter().take(done);
            want.extend(laid_out.map(|row| row.text().trim_end().to_string()));
            want.push("after".into());
            let first = want.len().saturating_sub(rows);
            for seen in [seen(&mut places), shown.seen()] {
                let seen: Vec<String> = seen.into_iter().take(want.len() - first).collect();
                assert_eq!(seen, want[first..], "{round}");
            }
        }
    }

    #[test]
    fn a_menu_stands_below_and_goes_again() {
        let mut places = places(30, 8);
        places.show(Style::Info, "There are two.\n");
        let choice = |name: &str, grey| MenuRow {
            cells: [name.into(), "Q8_0".into()].into(),
            grey,
        };
        let mut menu = Menu {
            title: "Models".into(),
            rows: [choice("a.gguf", false), choice("b", true)].into(),
            selected: 0,
            note: "10 s".into(),
        };
        places.bottom(Bottom::Menu(&menu));
        menu.selected = 1;
        places.bottom(Bottom::Menu(&menu));
        assert_eq!(
            seen(&mut places),
            [
                "There are two.",
                "Models",
                "  a.gguf  Q8_0",
                ">(b       Q8_0)",
                "10 s"
            ]
        );
        places.bottom(Bottom::Nothing);
        assert_eq!(seen(&mut places), ["There are two."]);
        places.bottom(Bottom::Note(
            "a note that is longer than the row has places",
        ));
        assert_eq!(seen(&mut places)[1], "a note that is longer than th");
        places.show(Style::Info, "word ");
        assert_eq!(seen(&mut places), ["There are two.", "word"]);
    }

    #[test]
    fn what_was_written_plainly_stays_as_it_was() {
        let mut places = places(10, 4);
        places.raw(Style::Answer, "abc", true);
        places.raw(Style::Answer, "\u{8} \u{8}", true);
        assert_eq!(seen(&mut places), ["ab"]);
        places.raw(Style::Info, "\n", true);
        places.redraw(Style::Info, "50 %");
        places.redraw(Style::Info, "60 %");
        assert_eq!(seen(&mut places), ["ab", "60 %"]);
        places.bottom(line(""));
        assert_eq!(seen(&mut places), ["ab", "60 %", ">"]);
    }
}
