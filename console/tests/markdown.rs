//! Answers in Markdown on terminals: what a VT100's successor shows at each moment.

use std::num::NonZero;

use llama2_console::{
    front::{Bottom, Front, Style},
    terminal::Terminal,
    view::Prompt,
};
use vt100::Parser;

const ANSWER: &str = "# Llamas\n\nA **llama** is *larger*; use `spin()`:\n\n- wool\n  - fine and \
    soft, more than that of sheep\n1. one\n\n```python\ndef spin():\n    return \"wool\" # a long \
    comment\n```\n\n| What | kg |\n|---|--:|\n| llama | 200 |\n| **alpaca** | 84 |\n\n> So be it.\n";

fn parser(rows: u16, columns: u16, scrollback: usize) -> Parser {
    let [rows, columns] = [rows, columns].map(|size| NonZero::new(size).unwrap());
    Parser::new(rows, columns, scrollback)
}

fn screen(parser: &Parser) -> String {
    let rows: Vec<String> = parser.screen().rows(0, 200).collect();
    let rows = rows.iter().map(|row| row.trim_end());
    rows.collect::<Vec<_>>().join("\n").trim_end().to_string()
}

/// Shows a text in pieces, and calls `each` after each of them.
fn play(
    terminal: &mut Terminal,
    parser: &mut Parser,
    (text, cut): (&str, usize),
    each: &mut dyn FnMut(&Parser),
) {
    let letters: Vec<char> = text.chars().collect();
    for piece in letters.chunks(cut) {
        terminal.show(Style::Markdown, &piece.iter().collect::<String>());
        parser.process(terminal.take().as_bytes());
        each(parser);
    }
}

fn typing(text: &str) -> Bottom<'_> {
    let prompt = Prompt {
        first: "> ",
        more: ". ",
    };
    Bottom::Line {
        prompt,
        text,
        cursor: text.len(),
    }
}

#[test]
fn an_answer_is_laid_out() {
    for colours in [true, false] {
        for cut in [1, 3, 1000] {
            let mut terminal = Terminal::new(80, 24, colours);
            let mut parser = parser(40, 30, 100);
            terminal.set_size(30, 40);
            play(&mut terminal, &mut parser, (ANSWER, cut), &mut |_| ());
            terminal.bottom(typing("next"));
            parser.process(terminal.take().as_bytes());
            let seen = screen(&parser);
            assert_eq!(
                seen,
                "Llamas\n\nA llama is larger; use\nspin():\n\n• wool\n  • fine and soft, more than\n    \
                 that of sheep\n1. one\n\n── python ───────────────────\ndef spin():\n    return \
                 \"wool\" # a long co\nmment\n─────────────────────────────\n\nWhat   │  kg\n\
                 ───────┼────\nllama  │ 200\nalpaca │  84\n\n│ So be it.\n> next",
                "{cut}"
            );
            let cell = |row, column| parser.screen().cell(row, column).unwrap();
            assert!(cell(0, 0).bold(), "a heading");
            assert!(!cell(2, 0).bold() && cell(2, 2).bold() && cell(2, 11).italic());
            assert!(cell(5, 0).dim(), "a bullet");
            let plain = vt100::Color::Default;
            let code = cell(11, 0);
            assert_eq!(code.fgcolor() != plain, colours);
            assert!(!code.bold(), "code can be copied as it is");
        }
    }
}

#[test]
fn each_moment_is_right_and_little_is_sent() {
    let mut terminal = Terminal::new(80, 24, true);
    let mut parser = parser(24, 40, 0);
    terminal.set_size(40, 24);
    let mut seen = Vec::new();
    let text = "It is **very bold** or **not\n";
    play(&mut terminal, &mut parser, (text, 1), &mut |parser| {
        let bold = parser.screen().cell(0, 6).unwrap().bold();
        seen.push((screen(parser), bold));
    });
    let at = |text: &str| {
        seen.iter()
            .find(|(seen, _)| seen == text)
            .map(|(_, bold)| *bold)
    };
    // A word that may go on is held back.
    assert_eq!(at("It is very"), Some(true));
    assert_eq!(at("It is very bold or not"), None);
    assert_eq!(seen.last().unwrap().0, "It is very bold or **not");
    // Words without marks are only sent.
    let words = "word ".repeat(100);
    let mut sent = 0;
    for word in words.split_inclusive(' ') {
        terminal.show(Style::Markdown, word);
        sent += terminal.take().len();
    }
    assert!(sent <= words.len() + 2 * 13 + 2, "{sent}");
}

/// On a terminal that has fewer rows than change, those that have left it stay as they are.
#[test]
fn nothing_above_the_screen_is_written() {
    let mut terminal = Terminal::new(80, 24, false);
    let mut parser = parser(6, 30, 100);
    terminal.set_size(30, 6);
    terminal.show(Style::Info, "before\n");
    let mut table = String::from("| A | B |\n|---|---|\n");
    (0..11).for_each(|i| table.push_str(&format!("| {i} | row |\n")));
    table.push_str("| a wide cell | row |\n\nbehind **x**");
    play(&mut terminal, &mut parser, (&table, 1), &mut |parser| {
        assert!(parser.screen().scrollback() == 0);
    });
    terminal.bottom(Bottom::Nothing);
    terminal.show(Style::Markdown, "\n");
    terminal.bottom(typing(""));
    parser.process(terminal.take().as_bytes());
    assert_eq!(
        screen(&parser),
        "9           │ row\n10          │ row\na wide cell │ row\n\nbehind x\n>"
    );
}

#[test]
fn without_a_known_width_and_for_other_texts_nothing_is_laid_out() {
    let mut terminal = Terminal::new(80, 24, false);
    terminal.show(Style::Markdown, "**a**\n- b\n");
    assert_eq!(terminal.take(), "**a**\r\n- b\r\n");
    terminal.set_size(80, 24);
    terminal.show(Style::Answer, "**a** ");
    assert_eq!(terminal.take(), "**a** ");
}
