//! Appearance of the parts of the screen: rows of the conversation, the frame below it, the status
//! bar, menus.

use alloc::{
    collections::VecDeque,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use llama2_console::{
    front::{Below, Menu},
    row,
    view::{Prompt, View, lay_out},
    width,
};
use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Rect},
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::{
        Block, BorderType, Clear, Padding, Row, Scrollbar, ScrollbarOrientation, ScrollbarState,
        Sparkline, StatefulWidget, Table, TableState, Widget,
    },
};

use crate::theme::{self, ink, ink_on};

/// Contents of the status bar.
#[derive(Debug, Default)]
pub(crate) struct Bar {
    pub model: String,
    pub context: (usize, usize),
    pub rate: Option<f32>,
    pub rates: VecDeque<u64>,
    /// Note about what is served to others.
    pub serving: String,
}

/// Areas of the parts, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    /// Area of the conversation, including the margins of its text.
    pub pane: Rect,
    /// First column of text, and its width.
    pub left: u16,
    pub measure: u16,
    /// Frame around the input line.
    pub frame: Rect,
    /// Status bar.
    pub bar: Rect,
}

/// Draws a row of the conversation, or an empty one.
pub(crate) fn row(buffer: &mut Buffer, places: &Places, y: u16, row: Option<&row::Row>) {
    let columns = usize::from(places.pane.width);
    let begin = usize::from(y) * columns;
    if let Some(cells) = buffer.content.get_mut(begin..begin + columns) {
        cells.iter_mut().for_each(|cell| cell.reset());
    }
    let Some(row) = row else {
        return;
    };
    if let Some(mark) = row.style().and_then(theme::mark) {
        buffer.set_stringn(places.left - 2, y, "▎", 1, ink(mark));
    }
    let mut x = places.left;
    let end = places.left + places.measure;
    for (style, text) in row.runs() {
        let style = theme::style(style);
        for (cluster, columns) in width::clusters(text) {
            x = write(buffer, (x, y), end, (cluster, columns as u16), style);
        }
    }
}

/// Writes a cluster if it ends before the column `end`, and returns the column behind it. (For
/// ratatui, some clusters are wider than terminals show them.)
fn write(
    buffer: &mut Buffer,
    (x, y): (u16, u16),
    end: u16,
    (cluster, columns): (&str, u16),
    style: Style,
) -> u16 {
    if columns == 0 || x + columns > end {
        return x;
    }
    for column in x..x + columns {
        if let Some(cell) = buffer.cell_mut((column, y)) {
            match column == x {
                true => drop(cell.set_symbol(cluster).set_style(style)),
                false => cell.reset(),
            }
        }
    }
    x + columns
}

/// Input line, in rows.
pub(crate) fn typed(below: &Below, measure: u16) -> Option<View> {
    let Below::Line {
        first,
        more,
        text,
        cursor,
    } = below
    else {
        return None;
    };
    let prompt = Prompt { first, more };
    // It leaves a column for the cursor.
    Some(lay_out(prompt, text, *cursor, usize::from(measure) + 1))
}

/// Appearance of a frame, without its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    area: Rect,
    colour: u8,
    more: Option<usize>,
    /// Number of rows, if only some of them are visible.
    long: Option<usize>,
}

/// Draws the contents of the frame, and the frame itself if its appearance differs from `look`,
/// which is updated. Returns true if it was drawn.
pub(crate) fn frame(
    buffer: &mut Buffer,
    places: &Places,
    below: &Below,
    top: &mut usize,
    (more, bell): (Option<usize>, bool),
    look: &mut Option<Look>,
) -> bool {
    let area = places.frame;
    let colour = match below {
        _ if bell => theme::WARNING,
        Below::Line { .. } => theme::GAUGE,
        _ => theme::LINE,
    };
    let view = typed(below, places.measure);
    let rows = view.as_ref().map_or(1, |view| view.rows.len());
    let mut block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(ink(colour))
        .padding(Padding::horizontal(1));
    let inner = block.inner(area);
    let wanted = Look {
        area,
        colour,
        more,
        long: (rows > usize::from(inner.height)).then_some(rows),
    };
    // A scroll bar moves within its frame.
    let fresh = wanted.long.is_some() || *look != Some(wanted);
    *look = Some(wanted);
    match fresh {
        true => {
            Clear.render(area, buffer);
            if let Some(more) = more {
                let rows = if more == 1 { "row" } else { "rows" };
                let hint = format!(" ▼ {more} more {rows} below, PgDn ");
                let hint = Span::styled(hint, ink(theme::WARNING));
                block = block.title(Line::from(hint).right_aligned());
            }
            block.render(area, buffer);
        }
        false => Clear.render(inner, buffer),
    }
    match below {
        Below::Nothing | Below::Menu(_) => {}
        Below::Line { .. } => {
            let Some(mut view) = view else {
                return fresh;
            };
            let all = view.rows.len();
            view.cut(top, usize::from(inner.height));
            for (y, row) in (inner.y..).zip(&view.rows) {
                let mut x = inner.x;
                for cell in row.cells() {
                    let content = (cell.text, cell.columns as u16);
                    let style = theme::style(cell.style);
                    x = write(buffer, (x, y), inner.right(), content, style);
                }
            }
            let cursor = (inner.x + view.column as u16, inner.y + view.row as u16);
            if let Some(cell) = buffer.cell_mut(cursor) {
                cell.set_style(ink_on(theme::GROUND, theme::USER));
            }
            if all > usize::from(inner.height) {
                scrollbar(buffer, area, all, usize::from(inner.height), *top);
            }
        }
        Below::Status(status) => {
            let line = status.line(usize::from(inner.width) + 1);
            progress(buffer, inner, &line);
        }
        Below::Note(note) => progress(buffer, inner, note),
    }
    fresh
}

/// Draws a line; a bar of `#` and `.` in brackets in it is drawn as a bar of the same length.
fn progress(buffer: &mut Buffer, area: Rect, line: &str) {
    let style = ink(theme::DIM);
    let bar = line.find('[').and_then(|from| {
        let behind = line.get(from + 1..)?;
        let content = behind.get(..behind.find(']')?)?;
        let full = content.bytes().take_while(|&byte| byte == b'#').count();
        let empty = content.get(full..)?;
        (content.len() > 1 && empty.bytes().all(|byte| matches!(byte, b'.' | b'-' | b' ')))
            .then_some((from, full, content.len()))
    });
    let put = |buffer: &mut Buffer, x: u16, text: &str, style| {
        let room = usize::from(area.right().saturating_sub(x));
        buffer.set_stringn(x, area.y, text, room, style).0
    };
    let Some((from, full, length)) = bar else {
        put(buffer, area.x, line, style);
        return;
    };
    let x = put(buffer, area.x, &line[..from], style);
    let room = usize::from(area.right().saturating_sub(x));
    let length = length.min(room);
    meter(
        buffer,
        (x, area.y),
        2 * full,
        length,
        (theme::GAUGE, theme::GROUND),
    );
    let x = x + length as u16 + 1;
    put(
        buffer,
        x,
        line[from + 1..].trim_start_matches(['#', '.', '-', ' ', ']']),
        style,
    );
}

/// Draws a scrollbar on the right edge of a frame.
fn scrollbar(buffer: &mut Buffer, frame: Rect, all: usize, seen: usize, top: usize) {
    let area = Rect {
        y: frame.y + 1,
        height: frame.height.saturating_sub(2),
        ..frame
    };
    let mut state = ScrollbarState::new(all.saturating_sub(seen) + 1)
        .viewport_content_length(seen)
        .position(top);
    Scrollbar::new(ScrollbarOrientation::VerticalRight)
        .begin_symbol(None)
        .end_symbol(None)
        .track_symbol(Some("│"))
        .track_style(ink(theme::LINE))
        .thumb_symbol("┃")
        .thumb_style(ink(theme::DIM))
        .render(area, buffer, &mut state);
}

/// Width of the context's bar, in columns.
const GAUGE: usize = 12;

/// Draws a thin bar, filled in halves of a column.
fn meter(
    buffer: &mut Buffer,
    (x, y): (u16, u16),
    halves: usize,
    columns: usize,
    (colour, ground): (u8, u8),
) {
    buffer.set_stringn(
        x,
        y,
        "━".repeat(columns),
        columns,
        ink_on(theme::EMPTY, ground),
    );
    let full = "━".repeat((halves / 2).min(columns));
    let x = buffer
        .set_stringn(x, y, full, columns, ink_on(colour, ground))
        .0;
    if halves % 2 == 1 && halves < 2 * columns {
        buffer.set_stringn(x, y, "╾", 1, ink_on(colour, ground));
    }
}

/// Draws the status bar: the model on the left, rate and context on the right. Less important parts
/// are left out first.
pub(crate) fn bar(buffer: &mut Buffer, places: &Places, bar: &Bar) {
    let area = places.bar;
    Clear.render(area, buffer);
    buffer.set_style(area, ink_on(theme::DIM, theme::BAR));
    let (used, all) = bar.context;
    let mut left = usize::from(area.width).saturating_sub(4);
    let name = width::text(&bar.model);
    left -= name.min(left / 2);
    let mut right = area.right().saturating_sub(2);
    // Takes room on the right, if there is so much and a gap.
    let mut take = |columns: usize| {
        if columns + 3 > left {
            return None;
        }
        left -= columns + 3;
        right = right.saturating_sub(columns as u16);
        let place = right;
        right = right.saturating_sub(3);
        Some(place)
    };
    if all > 0 {
        let context = format!("context {used} / {all}");
        if let Some(x) = take(width::text(&context)) {
            buffer.set_string(x, area.y, context, ink_on(theme::TEXT, theme::BAR));
        }
        if let Some(x) = take(GAUGE) {
            // In halves of a column; a context in use shows one at least.
            let halves = (used.min(all) as u128 * 2 * GAUGE as u128).div_ceil(all as u128) as usize;
            let colour = match halves {
                ..22 => theme::GAUGE,
                _ => theme::WARNING,
            };
            meter(buffer, (x + 1, area.y), halves, GAUGE, (colour, theme::BAR));
        }
    }
    if !bar.serving.is_empty()
        && let Some(x) = take(width::text(&bar.serving))
    {
        buffer.set_string(x, area.y, &bar.serving, ink_on(theme::TEXT, theme::BAR));
    }
    if !bar.rates.is_empty() {
        // While nothing is said the last rate stays, dim.
        let last = bar.rates.back().copied().unwrap_or(0) as f32 / 100.0;
        let rate = match last {
            ..10.0 => format!("{last:.2} tok/s"),
            10.0..1000.0 => format!("{last:.1} tok/s"),
            _ => format!("{last:.0} tok/s"),
        };
        let colour = match bar.rate {
            Some(_) => theme::TEXT,
            None => theme::DIM,
        };
        // As wide as it may become, so that nothing moves.
        if let Some(x) = take(width::text(&rate).max(11)) {
            buffer.set_string(x, area.y, format!("{rate:>11}"), ink_on(colour, theme::BAR));
        }
        // The sparkline begins well below the slowest rate, so that a steady one is not a wall.
        let most = bar.rates.iter().max().copied().unwrap_or(0).max(1);
        let least = bar.rates.iter().min().copied().unwrap_or(0) * 3 / 4;
        for columns in [24usize, 16, 8] {
            let Some(x) = take(columns) else {
                continue;
            };
            let skipped = bar.rates.len().saturating_sub(columns);
            let rates: Vec<u64> = bar
                .rates
                .iter()
                .skip(skipped)
                .map(|rate| rate - least)
                .collect();
            let empty = columns - rates.len();
            Sparkline::default()
                .data(&rates)
                .max((most - least) * 5 / 4 + 1)
                .style(ink_on(theme::RATE, theme::BAR))
                .render(
                    Rect::new(x + 2 + empty as u16, area.y, rates.len() as u16, 1),
                    buffer,
                );
            break;
        }
    }
    let room = usize::from(right.saturating_sub(area.x + 1));
    let name = width::cut(&bar.model, room);
    let style = ink_on(theme::TITLE, theme::BAR).add_modifier(Modifier::BOLD);
    buffer.set_stringn(area.x + 2, area.y, name, room, style);
}

/// Draws a menu in the middle of the pane, over the conversation.
pub(crate) fn menu(buffer: &mut Buffer, places: &Places, menu: &Menu, state: &mut TableState) {
    let wide = menu.widths();
    // The mark before the chosen row is as wide as the gaps.
    let table: usize = wide.iter().map(|wide| wide + 2).sum();
    let titles = width::text(&menu.title).max(width::text(&menu.note)) + 2;
    let most = places.frame.width.min(places.pane.width);
    let columns = (table.max(titles) + 4).min(usize::from(most)) as u16;
    let rows = (menu.rows.len() + 4).min(usize::from(places.pane.height)) as u16;
    let area = Rect {
        x: (places.pane.width - columns) / 2,
        y: places.pane.y + (places.pane.height - rows) / 2,
        width: columns,
        height: rows,
    };
    Clear.render(area, buffer);
    let padding = u16::from(rows > 5);
    let mut block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(ink(theme::GAUGE))
        .padding(Padding::new(1, 1, padding, padding));
    if !menu.title.is_empty() {
        let title = Span::styled(
            format!(" {} ", menu.title),
            ink(theme::TITLE).add_modifier(Modifier::BOLD),
        );
        block = block.title(title);
    }
    if !menu.note.is_empty() {
        let note = Span::styled(format!(" {} ", menu.note), ink(theme::DIM));
        block = block.title_bottom(Line::from(note).right_aligned());
    }
    let inner = block.inner(area);
    block.render(area, buffer);
    let mut widths = vec![];
    // Columns as wide as they are, as long as they fit.
    let mut room = usize::from(inner.width).saturating_sub(2);
    for wide in &wide {
        let taken = (*wide).min(room);
        widths.push(taken);
        room = room.saturating_sub(taken + 2);
    }
    let fit = |cell: &str, wide: usize| match width::text(cell) <= wide {
        true => cell.to_string(),
        false => format!("{}…", width::cut(cell, wide.saturating_sub(1))),
    };
    let shown = menu.rows.iter().enumerate().map(|(i, choice)| {
        let style = match (choice.grey, i == menu.selected) {
            (true, _) => ink(theme::GREY),
            (false, true) => ink(theme::TITLE),
            (false, false) => ink(theme::TEXT),
        };
        // Only the name is highlighted; its description is dimmer.
        let cells = choice.cells.iter().enumerate().map(|(column, cell)| {
            let style = match column {
                0 => style,
                _ if choice.grey || i == menu.selected => style,
                _ => ink(theme::DIM),
            };
            Span::styled(fit(cell, widths[column]), style)
        });
        Row::new(cells.collect::<Vec<_>>())
    });
    state.select(Some(menu.selected.min(menu.rows.len().saturating_sub(1))));
    let rows: Vec<Row<'_>> = shown.collect();
    let columns = widths.iter().map(|&wide| Constraint::Length(wide as u16));
    let table = Table::new(rows, columns)
        .column_spacing(2)
        .highlight_symbol("▸ ")
        .row_highlight_style(ink_on(theme::TITLE, theme::CHOSEN));
    StatefulWidget::render(table, inner, buffer, state);
    if menu.rows.len() > usize::from(inner.height) {
        scrollbar(
            buffer,
            area,
            menu.rows.len(),
            usize::from(inner.height),
            state.offset(),
        );
    }
}
