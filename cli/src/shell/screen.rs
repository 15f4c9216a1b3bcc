//! A terminal: its keys one by one, what is shown on it in colours, and its old state again
//! whatever happens.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use crossterm::terminal;
use llama2_app::platform::Console;
use llama2_console::{
    ansi::{PASTE_OFF, PASTE_ON},
    front::{Below, Bottom, Front, Gauge, Style},
    keys::Key,
    terminal::Terminal,
    typeahead::{Typeahead, Typed},
};

use super::keyboard::{Keyboard, RAW, RESIZED};

/// True if the command was stopped and goes on: somebody else has had the terminal.
static CONTINUED: AtomicBool = AtomicBool::new(false);

/// Has it give single keys, and pastes in one piece.
fn take() -> io::Result<()> {
    terminal::enable_raw_mode()?;
    RAW.store(true, SeqCst);
    send(PASTE_ON);
    Ok(())
}

/// Gives it back as it was.
pub fn restore() {
    if RAW.swap(false, SeqCst) {
        send(PASTE_OFF);
        let _ = terminal::disable_raw_mode();
    }
}

/// A terminal that is gone hears nothing; a signal follows, or the end of its keys.
fn send(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Has the terminal restored before a panic is told and before a signal ends the command.
fn protect() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            hook(info);
        }));
        signals();
    });
}

#[cfg(unix)]
fn signals() {
    use signal_hook::{
        consts::{SIGCONT, SIGWINCH},
        iterator::Signals,
    };
    let all = crate::output::ending()
        .into_iter()
        .chain([SIGCONT, SIGWINCH]);
    let Ok(mut signals) = Signals::new(all) else {
        return;
    };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGCONT => CONTINUED.store(true, SeqCst),
                SIGWINCH => RESIZED.store(true, SeqCst),
                signal => {
                    restore();
                    crate::output::end(signal);
                }
            }
        }
    });
}

#[cfg(not(unix))]
fn signals() {
    crate::interrupt::listen();
}

/// The terminal that the command was started in.
pub struct TerminalScreen {
    terminal: Terminal,
    keyboard: Keyboard,
    /// Keys that have come, and those that came while something went on.
    keys: VecDeque<Key>,
    ahead: Typeahead,
    /// In the middle of a paste, which may hold any character.
    pasting: bool,
    /// Shown again when the terminal's size changes, or somebody else has had it.
    below: Below,
    drawing: Duration,
}

impl TerminalScreen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn enter() -> io::Result<TerminalScreen> {
        protect();
        take()?;
        let (columns, rows) = size();
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let mut screen = TerminalScreen {
            terminal: Terminal::new(columns, rows, colours),
            keyboard: Keyboard::new(),
            keys: VecDeque::new(),
            ahead: Typeahead::new(),
            pasting: false,
            below: Below::Nothing,
            drawing: Duration::ZERO,
        };
        screen.terminal.set_size(columns, rows);
        Ok(screen)
    }

    /// Takes the terminal again.
    fn again(&mut self) -> io::Result<()> {
        CONTINUED.store(false, SeqCst);
        // Whoever had it may have changed it: what is the case is not known.
        restore();
        take()?;
        self.resize(size());
        Ok(())
    }

    fn resize(&mut self, (columns, rows): (usize, usize)) {
        self.terminal.set_size(columns, rows);
        self.redraw();
        self.flush();
    }

    /// Ctrl-Z: stops the command, with whoever was started together with it, as the terminal itself
    /// does.
    #[cfg(unix)]
    fn stop(&mut self) {
        self.terminal.bottom(Bottom::Nothing);
        self.flush();
        restore();
        // Safety: a signal to this process group.
        unsafe { libc::kill(0, libc::SIGTSTP) };
        // It comes at its own time.
        std::thread::sleep(Duration::from_millis(50));
        // Without a terminal there is nobody to tell it to.
        let _ = self.again();
    }

    #[cfg(not(unix))]
    fn stop(&mut self) {}

    /// Keeps the keys that have come for whoever asks.
    fn listen(&mut self) {
        let mut keys = Vec::new();
        // The terminal is gone: whatever is going on ends.
        if !self.keyboard.read(&mut |key| keys.push(key)) && self.keys.is_empty() {
            keys.extend([Key::Ctrl('c'), Key::Ctrl('d')]);
        }
        for key in keys {
            match key {
                Key::PasteBegin => self.pasting = true,
                Key::PasteEnd => self.pasting = false,
                Key::Ctrl('z') if cfg!(unix) && !self.pasting => {
                    self.stop();
                    continue;
                }
                _ => (),
            }
            self.keys.push_back(key);
        }
    }

    /// Shows what stands below the text again.
    fn redraw(&mut self) {
        let below = std::mem::replace(&mut self.below, Below::Nothing);
        self.terminal.bottom(below.bottom());
        self.below = below;
    }

    fn draw(&mut self, draw: impl FnOnce(&mut Terminal)) {
        let start = Instant::now();
        draw(&mut self.terminal);
        self.drawing += start.elapsed();
    }
}

impl Drop for TerminalScreen {
    fn drop(&mut self) {
        self.bottom(Bottom::Nothing);
        self.flush();
        restore();
    }
}

/// The terminal's columns and rows; where it does not say, the usual ones.
fn size() -> (usize, usize) {
    match terminal::size() {
        Ok((columns @ 1.., rows @ 1..)) => (columns.into(), rows.into()),
        _ => (80, 24),
    }
}

impl Front for TerminalScreen {
    fn show(&mut self, style: Style, text: &str) {
        self.draw(|terminal| terminal.show(style, text));
    }

    fn lay_out(&mut self, style: Style, make: &dyn Fn(usize) -> String) {
        self.draw(|terminal| terminal.lay_out(style, make));
    }

    fn bottom(&mut self, bottom: Bottom<'_>) {
        self.below = bottom.into();
        self.draw(|terminal| terminal.bottom(bottom));
    }

    fn keep_line(&mut self) {
        self.below = Below::Nothing;
        self.draw(Terminal::keep_line);
    }

    fn gauge(&mut self, gauge: &Gauge<'_>) {
        self.terminal.gauge(gauge);
    }

    fn bell(&mut self) {
        self.terminal.bell();
    }

    fn clear(&mut self) {
        self.draw(Terminal::clear);
    }
}

impl Console for TerminalScreen {
    fn key(&mut self) -> Option<Key> {
        self.ahead.take().or_else(|| self.pressed())
    }

    fn keep(&mut self, key: Key) -> Typed {
        self.ahead.press(key)
    }

    fn kept(&self) -> String {
        self.ahead.preview()
    }

    fn pressed(&mut self) -> Option<Key> {
        if CONTINUED.swap(false, SeqCst) {
            let _ = self.again();
        }
        if RESIZED.swap(false, SeqCst) {
            self.resize(size());
        }
        if self.keys.is_empty() {
            self.listen();
        }
        self.keys.pop_front()
    }

    fn rest(&mut self, milliseconds: u64) {
        self.keyboard.rest(Duration::from_millis(milliseconds));
    }

    fn flush(&mut self) {
        let text = self.terminal.take();
        if !text.is_empty() {
            let start = Instant::now();
            send(&text);
            self.drawing += start.elapsed();
        }
    }

    fn drawing(&self) -> u64 {
        self.drawing.as_nanos() as u64
    }
}
