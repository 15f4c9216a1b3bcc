//! State of the screen, and its drawing: [`Screen`].

use alloc::string::{String, ToString};
use core::fmt;

use llama2_console::{
    front::{Below, Bottom, Front, Gauge, Style},
    keys::Key,
};
use ratatui::{buffer::Buffer, layout::Rect, widgets::TableState};

use crate::{
    picture::{Area, FrameCost, Picture},
    text::Text,
    views::{self, Bar, Places},
};

/// Number of rates kept for the status bar.
const RATES: usize = 24;
/// Largest width of text that is comfortable to read, in columns.
const MEASURE: u16 = 120;

/// Reason why there is no screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The display is too small: its width and height in pixels.
    Small(usize, usize),
    /// There is no memory for this many pixels: width and height.
    Memory(usize, usize),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Small(width, height) => write!(
                f,
                "a display of {width} x {height} pixels is too small for the full-screen interface, which needs 200 x 160: use display = \"text\""
            ),
            Refused::Memory(width, height) => write!(
                f,
                "the full-screen interface needs {} MiB for {width} x {height} pixels, but the memory could not be allocated: use display = \"text\"",
                width
                    .saturating_mul(*height)
                    .saturating_mul(4)
                    .div_ceil(1 << 20)
            ),
        }
    }
}

impl core::error::Error for Refused {}

/// A screen of pixels.
pub struct Screen {
    picture: Picture,
    /// Cells as last drawn by the views. Rows that only moved are moved in the picture, not here.
    buffer: Buffer,
    text: Text,
    pub(crate) below: Below,
    /// Typed text at the last drawing.
    typed: String,
    /// First visible row of the typed text, if it is longer than its frame.
    typed_top: usize,
    bar: Bar,
    /// First visible row, if scrolled back from the end.
    back: Option<usize>,
    /// Rows before this one are visible only by scrolling back.
    floor: usize,
    /// True if a key could not be handled.
    bell: bool,
    menu: TableState,
    /// Parts that must be redrawn: the frame, the bar, everything.
    frame_due: bool,
    bar_due: bool,
    all_due: bool,
    /// Places of everything, and first row, at the last drawing.
    drawn: Option<(Places, usize)>,
    /// Appearance of the frame at the last drawing.
    look: Option<views::Look>,
    /// Number of hidden rows below, as last shown.
    hinted: Option<usize>,
}

impl Screen {
    /// Creates a screen for a display of this size in pixels. The font is chosen so that there are
    /// about 45 rows and at least 80 columns, if that many fit with cells of 8x16 pixels.
    ///
    /// # Errors
    ///
    /// The display is smaller than 200 x 160 pixels, or there is no memory for 4 bytes a pixel.
    pub fn new(width: usize, height: usize) -> Result<Screen, Refused> {
        if width < 200 || height < 160 {
            return Err(Refused::Small(width, height));
        }
        let cell = cell(width, height);
        // The views count cells in 16 bits.
        if width.max(height) > 1 << 15 {
            return Err(Refused::Memory(width, height));
        }
        let picture = Picture::new(width, height, cell).ok_or(Refused::Memory(width, height))?;
        let area = Rect::new(0, 0, picture.columns as u16, picture.rows as u16);
        let mut screen = Screen {
            picture,
            buffer: Buffer::empty(area),
            text: Text::new(1),
            below: Below::Nothing,
            typed: String::new(),
            typed_top: 0,
            bar: Bar::default(),
            back: None,
            floor: 0,
            bell: false,
            menu: TableState::default(),
            frame_due: true,
            bar_due: true,
            all_due: true,
            drawn: None,
            look: None,
            hinted: None,
        };
        screen.text = Text::new(usize::from(screen.places().measure));
        Ok(screen)
    }

    /// Columns and rows of cells.
    pub fn size(&self) -> (usize, usize) {
        (self.picture.columns, self.picture.rows)
    }

    /// Marks the contents of the display as unknown: the next [`Screen::draw`] copies everything.
    pub fn forget(&mut self) {
        self.picture.forget();
    }

    /// Draws what was shown since the last call into pixels (0x00RRGGBB, as for a `Blt` of the
    /// Graphics Output Protocol) and calls `put` for each rectangle that changed, with all pixels
    /// of the screen and their number per row.
    pub fn draw(&mut self, put: &mut dyn FnMut(Area, &[u32], usize)) -> FrameCost {
        self.render();
        if self.picture.tiles.is_full() {
            self.picture.clear_glyphs();
            self.all_due = true;
            self.render();
        }
        if !self.picture.is_due() {
            return FrameCost::default();
        }
        self.picture.flush(put)
    }

    /// Cells as text, one line per row; for tests. Lays everything out again.
    pub fn cells(&mut self) -> String {
        self.all_due = true;
        self.render();
        let mut out = String::new();
        for row in self.buffer.content.chunks(self.picture.columns) {
            let mut line = String::new();
            let mut skipped = 0;
            for cell in row {
                if skipped > 0 {
                    skipped -= 1;
                    continue;
                }
                line.push_str(cell.symbol());
                skipped = llama2_console::width::text(cell.symbol()).saturating_sub(1);
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    /// Clusters in the cells of a row of the conversation.
    #[cfg(test)]
    pub(crate) fn symbols(&mut self, row: u16) -> alloc::vec::Vec<String> {
        self.cells();
        let places = self.places();
        let cells = places.left..places.left + places.measure;
        let cell = |x| self.buffer[(x, places.pane.y + row)].symbol().to_string();
        cells.map(cell).collect()
    }

    /// Lays out and copies everything again.
    #[cfg(test)]
    pub(crate) fn draw_all_anew(&mut self) {
        self.all_due = true;
        self.forget();
    }

    pub(crate) fn places(&self) -> Places {
        let (columns, rows) = (self.picture.columns as u16, self.picture.rows as u16);
        let measure = (columns - 4).min(MEASURE);
        let left = (columns - measure) / 2;
        // A frame as high as the typed text, but at most a third of the screen.
        let most = (rows / 3).saturating_sub(2).max(1);
        let wanted = match &self.below {
            Below::Line { .. } => {
                views::typed(&self.below, measure).map_or(1, |view| view.rows.len())
            }
            _ => 1,
        };
        let frame = (wanted.min(usize::from(most)) as u16) + 2;
        // An empty row above, if there are enough rows.
        let air = u16::from(rows >= 30);
        let pane = rows - 1 - frame - air;
        Places {
            pane: Rect::new(0, air, columns, pane),
            left,
            measure,
            frame: Rect::new(left - 2, air + pane, measure + 4, frame),
            bar: Rect::new(0, rows - 1, columns, 1),
        }
    }

    /// First visible row if not scrolled back.
    fn end_top(&self, height: usize) -> usize {
        let end = self.text.end().saturating_sub(height);
        end.max(self.floor).max(self.text.first())
    }

    /// First visible row.
    fn top(&self, height: usize) -> usize {
        let end = self.end_top(height);
        let back = self.back.map(|top| top.clamp(self.text.first(), end));
        back.unwrap_or(end)
    }

    /// Updates the cells.
    fn render(&mut self) {
        let places = match self.drawn {
            // The places depend only on the typed text.
            Some((places, ..)) if !self.frame_due && !self.all_due => places,
            _ => self.places(),
        };
        let height = usize::from(places.pane.height);
        let top = self.top(height);
        let changed = self.text.changed();
        let end = self.text.end();
        let below = end.saturating_sub(top + height);
        let hint = (below > 0).then_some(below);
        // A menu covers the conversation, which is redrawn together with it.
        let menu = matches!(self.below, Below::Menu(_));
        let was = self.drawn.filter(|&(was, was_top)| {
            let under = menu && (self.frame_due || changed != usize::MAX || was_top != top);
            !self.all_due && was == places && !under
        });
        if was.is_none() {
            self.frame_due = true;
            self.bar_due = true;
            self.look = None;
            self.buffer.reset();
        }
        // Rows before this one are drawn, once they are moved up.
        let kept = match was {
            Some((_, was_top)) if was_top <= top && top < was_top + height => {
                if top > was_top {
                    let rows = (places.pane.y.into(), places.pane.bottom().into());
                    self.picture.move_up(rows, top - was_top);
                }
                was_top + height
            }
            _ => top,
        };
        for number in top..top + height {
            // Behind the last one, too: an answer's end may have become shorter.
            if number >= kept || number >= changed {
                let y = usize::from(places.pane.y) + number - top;
                views::row(&mut self.buffer, &places, y as u16, self.text.row(number));
                self.picture.take(&self.buffer, y);
            }
        }
        if self.hinted != hint {
            self.hinted = hint;
            self.frame_due = true;
        }
        let mut framed = false;
        if self.frame_due {
            framed = views::frame(
                &mut self.buffer,
                &places,
                &self.below,
                &mut self.typed_top,
                (hint, self.bell),
                &mut self.look,
            );
        }
        if self.bar_due {
            views::bar(&mut self.buffer, &places, &self.bar);
        }
        if let (Below::Menu(menu), true) = (&self.below, self.frame_due) {
            views::menu(&mut self.buffer, &places, menu, &mut self.menu);
            (0..self.picture.rows).for_each(|row| self.picture.take(&self.buffer, row));
        } else {
            if self.frame_due {
                let frame = places.frame;
                let edge = u16::from(!framed);
                let rows = usize::from(frame.y + edge)..usize::from(frame.bottom() - edge);
                rows.for_each(|row| self.picture.take(&self.buffer, row));
            }
            if self.bar_due {
                self.picture.take(&self.buffer, usize::from(places.bar.y));
            }
        }
        (self.frame_due, self.bar_due, self.all_due) = (false, false, false);
        self.drawn = Some((places, top));
    }

    /// Scrolls to the end of the text.
    fn go_to_end(&mut self) {
        self.back = None;
    }

    fn set_below(&mut self, below: Below) {
        if self.below == below && !self.bell {
            return;
        }
        if matches!(self.below, Below::Menu(_)) || matches!(below, Below::Menu(_)) {
            self.all_due = true;
        }
        if !matches!(self.below, Below::Menu(_)) {
            self.menu = TableState::default();
        }
        self.below = below;
        self.bell = false;
        self.frame_due = true;
    }
}

/// Size of a cell: for about 45 rows and 80 columns if possible, and at least 8x16 pixels.
fn cell(width: usize, height: usize) -> (usize, usize) {
    let wanted = (height / 45).clamp(16, 64) / 2;
    let across = wanted.min(width / 80).max(8);
    (across, 2 * across)
}

impl Front for Screen {
    fn show(&mut self, style: Style, text: &str) {
        self.text.push(style, text);
    }

    fn lay_out(&mut self, style: Style, make: &dyn Fn(usize) -> String) {
        // Text laid out for a number of columns stays below it.
        let columns = usize::from(self.places().measure) + 1;
        self.text.lay_out(style, &make(columns));
    }

    fn bottom(&mut self, bottom: Bottom<'_>) {
        match bottom {
            Bottom::Line { text, .. } => {
                self.text.end_row();
                if self.typed != text {
                    self.typed = text.to_string();
                    self.go_to_end();
                }
            }
            Bottom::Menu(_) => self.text.end_row(),
            _ => (),
        }
        self.set_below(bottom.into());
    }

    fn waiting(&mut self, text: &str) {
        // The reply continues in its line.
        self.set_below(Below::Line {
            first: String::new(),
            more: String::new(),
            text: text.to_string(),
            cursor: text.len(),
        });
    }

    fn keep_line(&mut self) {
        match core::mem::replace(&mut self.below, Below::Nothing) {
            Below::Line {
                first, more, text, ..
            } => {
                self.text.end_row();
                for (i, line) in text.split('\n').enumerate() {
                    let prompt = if i == 0 { &first } else { &more };
                    self.text.push(Style::User, prompt);
                    self.text.push(Style::User, line);
                    self.text.push(Style::User, "\n");
                }
            }
            Below::Note(note) => {
                self.text.end_row();
                self.text.push(Style::Info, &note);
                self.text.push(Style::Info, "\n");
            }
            Below::Menu(_) => self.all_due = true,
            Below::Status(_) | Below::Nothing => {}
        }
        self.typed.clear();
        self.typed_top = 0;
        self.frame_due = true;
        self.go_to_end();
    }

    fn gauge(&mut self, gauge: &Gauge<'_>) {
        let bar = &mut self.bar;
        if bar.model == gauge.model
            && bar.context == gauge.context
            && bar.rate == gauge.rate
            && gauge.rate.is_none()
        {
            return;
        }
        if bar.model != gauge.model {
            bar.model = gauge.model.to_string();
            bar.rates.clear();
        }
        bar.context = gauge.context;
        bar.rate = gauge.rate;
        if let Some(rate) = gauge.rate.filter(|rate| rate.is_finite() && *rate >= 0.0) {
            if bar.rates.len() == RATES {
                bar.rates.pop_front();
            }
            // In hundredths, since slow machines make one token in some seconds.
            bar.rates.push_back((rate * 100.0) as u64);
        }
        self.bar_due = true;
    }

    fn serving(&mut self, note: &str) {
        if self.bar.serving != note {
            self.bar.serving = note.to_string();
            self.bar_due = true;
        }
    }

    fn scroll(&mut self, key: Key) -> bool {
        let height = usize::from(self.places().pane.height);
        let (top, end) = (self.top(height), self.end_top(height));
        // Two rows are seen again.
        let page = height.saturating_sub(2).max(1);
        match key {
            Key::PageUp => {
                let to = top.saturating_sub(page).max(self.text.first());
                if to < top {
                    self.back = Some(to);
                }
                to < top
            }
            Key::PageDown => {
                let to = top + page;
                self.back = (to < end).then_some(to);
                top < end
            }
            _ => false,
        }
    }

    fn bell(&mut self) {
        self.bell = true;
        self.frame_due = true;
    }

    fn clear(&mut self) {
        self.text.end_row();
        self.floor = self.text.end();
        self.go_to_end();
        self.all_due = true;
    }
}
