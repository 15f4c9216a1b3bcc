//! Display of a session: serial line and screen together, and the choice between the full screen
//! and the firmware's console.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
};

use llama2_app::platform::Console;
use llama2_console::{
    front::{Bottom, Front, Gauge, Style},
    keys::Key,
    typeahead::Typed,
};
use llama2_screen::Screen;
use llama2_settings::{Display, Overrides, Param};

use super::{
    clock,
    frame::{Frame, Rect},
    terminal::{self, FirmwareTerminal, Picture},
};

/// Milliseconds between two frames; a higher rate is not visible.
const PERIOD: u64 = 25;

/// Prepares screen and serial line for a session.
///
/// # Errors
/// A sentence, if the full screen is requested and there is none.
pub fn begin(options: &Overrides) -> Result<(), String> {
    terminal::interactive(true);
    let wanted = match options.choice(Param::Display).unwrap_or_default() {
        Display::Text => {
            terminal::show_on(None);
            return Ok(());
        }
        Display::Auto => false,
        Display::Screen => true,
    };
    let refused = |why: String| match wanted {
        true => Err(format!(
            "display = \"screen\" is not possible: {why}; leave it out, or say \"text\""
        )),
        // The firmware's console shows the same.
        false => {
            terminal::show_on(None);
            terminal::record(&format!("No full screen: {why}"));
            Ok(())
        }
    };
    let Some(frame) = Frame::open() else {
        return refused("the firmware has no frame buffer".into());
    };
    let (width, height) = frame.size();
    match Screen::new(width, height) {
        Ok(screen) => {
            terminal::record(&format!("Full screen: {width} x {height}"));
            terminal::show_on(Some(Box::new(Shown {
                screen,
                frame,
                drawn: 0,
            })));
            Ok(())
        }
        Err(error) => refused(error.to_string()),
    }
}

/// Full screen on the firmware's frame buffer.
struct Shown {
    screen: Screen,
    frame: Frame,
    /// Time of the last frame.
    drawn: u64,
}

impl Picture for Shown {
    fn draw(&mut self) {
        let now = clock::milliseconds();
        if now.saturating_sub(self.drawn) < PERIOD {
            return;
        }
        self.drawn = now;
        let Shown { screen, frame, .. } = self;
        screen.draw(&mut |area, pixels, stride| {
            let rect = Rect {
                x: area.x,
                y: area.y,
                width: area.width,
                height: area.height,
            };
            // A failing frame buffer is ignored: the serial line has everything.
            frame.put(rect, pixels, stride);
        });
    }
}

impl Front for Shown {
    fn show(&mut self, style: Style, text: &str) {
        self.screen.show(style, text);
    }

    fn lay_out(&mut self, style: Style, make: &dyn Fn(usize) -> String) {
        self.screen.lay_out(style, make);
    }

    fn bottom(&mut self, bottom: Bottom<'_>) {
        self.screen.bottom(bottom);
    }

    fn keep_line(&mut self) {
        self.screen.keep_line();
    }

    fn waiting(&mut self, text: &str) {
        self.screen.waiting(text);
    }

    fn gauge(&mut self, gauge: &Gauge<'_>) {
        self.screen.gauge(gauge);
    }

    fn serving(&mut self, note: &str) {
        self.screen.serving(note);
    }

    fn scroll(&mut self, key: Key) -> bool {
        self.screen.scroll(key)
    }

    fn bell(&mut self) {
        self.screen.bell();
    }

    fn clear(&mut self) {
        self.screen.clear();
    }
}

impl Console for FirmwareTerminal {
    fn key(&mut self) -> Option<Key> {
        terminal::key()
    }

    fn pressed(&mut self) -> Option<Key> {
        terminal::pressed()
    }

    fn keep(&mut self, key: Key) -> Typed {
        terminal::keep(key)
    }

    fn kept(&self) -> String {
        terminal::kept()
    }

    fn table(&mut self, table: &str, _short: &str) {
        terminal::table(table);
    }

    fn rest(&mut self, milliseconds: u64) {
        terminal::rest(milliseconds);
    }

    fn flush(&mut self) {
        terminal::draw();
    }

    fn drawing(&self) -> u64 {
        terminal::drawing()
    }

    fn record(&mut self, line: &str) {
        terminal::record(line);
    }
}
