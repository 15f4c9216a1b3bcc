//! Colour theme: few, calm colours on a dark background.

use llama2_console::front;
use ratatui::style::{Color, Modifier, Style};

/// Colours as 0x00RRGGBB, by number.
pub(crate) const COLOURS: [u32; 17] = [
    0x0010_1419, // ground
    0x001b_212a, // the bar's ground
    0x00d6_dbe1, // text
    0x0085_8f9c, // dim
    0x003b_4552, // lines
    0x0082_b7f0, // the person's
    0x0086_a882, // done
    0x00e3_bd70, // warning
    0x00ec_737b, // error
    0x00ff_ffff, // title
    0x0027_4668, // chosen
    0x0091_8fb5, // thoughts
    0x0078_bcc0, // names
    0x0057_89c2, // gauges
    0x005a_6472, // what cannot be chosen
    0x002c_3541, // what a gauge is not filled with
    0x003d_6190, // rates
];

pub(crate) const GROUND: u8 = 0;
pub(crate) const BAR: u8 = 1;
pub(crate) const TEXT: u8 = 2;
pub(crate) const DIM: u8 = 3;
pub(crate) const LINE: u8 = 4;
pub(crate) const USER: u8 = 5;
const DONE: u8 = 6;
pub(crate) const WARNING: u8 = 7;
const ERROR: u8 = 8;
pub(crate) const TITLE: u8 = 9;
pub(crate) const CHOSEN: u8 = 10;
const THOUGHT: u8 = 11;
const NAME: u8 = 12;
pub(crate) const GAUGE: u8 = 13;
pub(crate) const GREY: u8 = 14;
pub(crate) const EMPTY: u8 = 15;
pub(crate) const RATE: u8 = 16;

/// Style of a text in this colour.
pub(crate) const fn ink(colour: u8) -> Style {
    Style::new().fg(Color::Indexed(colour))
}

/// Style of a text in this colour on that background.
pub(crate) const fn ink_on(colour: u8, ground: u8) -> Style {
    ink(colour).bg(Color::Indexed(ground))
}

/// Number of a colour; `instead` if it has none.
pub(crate) fn number(colour: Color, instead: u8) -> u8 {
    match colour {
        Color::Indexed(number) if usize::from(number) < COLOURS.len() => number,
        _ => instead,
    }
}

/// Style of a piece of the conversation.
pub(crate) fn style(style: front::Style) -> Style {
    match style {
        front::Style::Title => ink(TITLE).add_modifier(Modifier::BOLD),
        front::Style::Info => ink(DIM),
        front::Style::Name => ink(NAME),
        front::Style::Warning => ink(WARNING),
        front::Style::Error => ink(ERROR),
        front::Style::User => ink(USER),
        front::Style::Thought => ink(THOUGHT).add_modifier(Modifier::ITALIC),
        front::Style::Answer | front::Style::Markdown => ink(TEXT),
        front::Style::Strong => ink(TEXT).add_modifier(Modifier::BOLD),
        front::Style::Emphasis => ink(TEXT).add_modifier(Modifier::ITALIC),
        front::Style::Code | front::Style::Listing => ink(NAME),
        front::Style::Faint => ink(DIM),
        front::Style::Prompt => ink(USER).add_modifier(Modifier::BOLD),
        front::Style::Typed => ink(TITLE),
        front::Style::Summary => ink(DONE),
    }
}

/// Colour of the mark beside a row that begins with this style: it shows the author, and highlights
/// warnings.
pub(crate) fn mark(style: front::Style) -> Option<u8> {
    match style {
        front::Style::User => Some(USER),
        front::Style::Warning => Some(WARNING),
        front::Style::Error => Some(ERROR),
        front::Style::Thought => Some(LINE),
        _ => None,
    }
}
