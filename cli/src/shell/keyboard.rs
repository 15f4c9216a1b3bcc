//! What is typed: on Unix the terminal's bytes through the console's own decoder, elsewhere the
//! terminal library's events.
//!
//! The library takes a report that comes late for keys, or keys for a report, and drops what is no
//! UTF-8 with the letters beside it; a thread that notes when each byte came tells a paste from
//! hands, as firmware does for the serial line.

use std::sync::atomic::AtomicBool;

/// True if the terminal gives single keys now.
pub static RAW: AtomicBool = AtomicBool::new(false);
/// True if its size has changed.
pub static RESIZED: AtomicBool = AtomicBool::new(false);

#[cfg(not(unix))]
pub use events::Keyboard;
#[cfg(unix)]
pub use raw::Keyboard;

#[cfg(unix)]
mod raw {
    use std::{
        collections::VecDeque,
        io,
        sync::{Arc, Condvar, Mutex, PoisonError, atomic::Ordering::SeqCst},
        thread,
        time::{Duration, Instant},
    };

    use llama2_console::{decoder::Keys, keys::Key};

    use super::RAW;

    /// Time between two looks whether the terminal is ours again.
    const NAP: Duration = Duration::from_millis(20);
    /// Milliseconds that a hand may need for a key.
    const HAND: u64 = 40;
    /// Bytes that may wait until they are decoded: the rest waits in the system.
    const ROOM: usize = 1 << 20;

    #[derive(Default)]
    struct Received {
        /// Bytes, with the milliseconds when they came.
        bytes: VecDeque<(u8, u64)>,
        /// The terminal is gone.
        gone: bool,
    }

    #[derive(Default)]
    struct Line {
        received: Mutex<Received>,
        came: Condvar,
    }

    pub struct Keyboard {
        line: Arc<Line>,
        decoder: Keys,
        start: Instant,
    }

    impl Keyboard {
        /// Listens to standard input from now on, as long as it gives single keys.
        pub fn new() -> Keyboard {
            let line = Arc::new(Line::default());
            let start = Instant::now();
            let theirs = line.clone();
            thread::spawn(move || theirs.listen(start));
            Keyboard {
                line,
                decoder: Keys::new(),
                start,
            }
        }

        /// Hands over the keys that have come. False: there will be no more, the terminal is gone.
        pub fn read(&mut self, take: &mut dyn FnMut(Key)) -> bool {
            loop {
                let now = milliseconds(self.start);
                let (byte, gone) = {
                    let mut received = self.line.lock();
                    (received.bytes.pop_front(), received.gone)
                };
                let Some((byte, seen)) = byte else {
                    self.decoder.idle(now).for_each(take);
                    return !gone;
                };
                // However late it is looked at, what came after a while is no part of what came
                // before.
                self.decoder.idle(seen).for_each(&mut *take);
                self.decoder.byte(byte, seen).for_each(&mut *take);
            }
        }

        /// Rests until something may have come.
        pub fn rest(&self, time: Duration) {
            let received = self.line.lock();
            let quiet = |received: &mut Received| received.bytes.is_empty();
            drop(self.line.came.wait_timeout_while(received, time, quiet));
        }
    }

    /// Milliseconds since some time before the start.
    fn milliseconds(start: Instant) -> u64 {
        (1 << 32) + start.elapsed().as_millis() as u64
    }

    impl Line {
        fn lock(&self) -> std::sync::MutexGuard<'_, Received> {
            self.received.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn listen(&self, start: Instant) {
            let mut buffer = [0; 4096];
            // What is there at first was typed while nobody listened.
            let mut early = true;
            loop {
                let is_ours = RAW.load(SeqCst);
                early |= !is_ours;
                if !is_ours || self.lock().bytes.len() > ROOM {
                    thread::sleep(NAP);
                    continue;
                }
                let mut wanted = libc::pollfd {
                    fd: libc::STDIN_FILENO,
                    events: libc::POLLIN,
                    revents: 0,
                };
                // Safety: one descriptor to look at.
                let is_there = unsafe { libc::poll(&mut wanted, 1, if early { 0 } else { -1 }) };
                if is_there == 0 {
                    early = false;
                    continue;
                }
                // Meanwhile it may have been given back: what comes is somebody else's.
                if !RAW.load(SeqCst) {
                    continue;
                }
                // Safety: the buffer is this long.
                let read = unsafe {
                    libc::read(libc::STDIN_FILENO, buffer.as_mut_ptr().cast(), buffer.len())
                };
                let now = milliseconds(start);
                let interrupted =
                    || io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
                match usize::try_from(read) {
                    Ok(count @ 1..) => {
                        let gap = if early { HAND } else { 0 };
                        let bytes = buffer[..count].iter().zip((0..count as u64).rev());
                        let bytes = bytes.map(|(&byte, after)| (byte, now - gap * after));
                        self.lock().bytes.extend(bytes);
                    }
                    Err(_) if interrupted() => continue,
                    // A line that was ended while others had the terminal.
                    _ if !RAW.load(SeqCst) => continue,
                    _ => {
                        self.lock().gone = true;
                        self.came.notify_one();
                        return;
                    }
                }
                self.came.notify_one();
            }
        }
    }
}

// On Unix its tests alone.
#[cfg(any(not(unix), test))]
#[cfg_attr(unix, allow(dead_code))]
mod events {
    use std::{sync::atomic::Ordering::SeqCst, time::Duration};

    use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
    use llama2_console::keys::{Key, Modifiers};

    use super::RESIZED;

    pub struct Keyboard;

    impl Keyboard {
        pub fn new() -> Keyboard {
            Keyboard
        }

        /// Hands over the keys that have come. False: there will be no more, the terminal is gone.
        pub fn read(&mut self, take: &mut dyn FnMut(Key)) -> bool {
            loop {
                let event = match event::poll(Duration::ZERO) {
                    Ok(true) => event::read(),
                    Ok(false) => return true,
                    Err(_) => return false,
                };
                match event {
                    Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => take(key_of(key)),
                    Ok(Event::Paste(text)) => {
                        take(Key::PasteBegin);
                        pasted(&text).into_iter().for_each(&mut *take);
                        take(Key::PasteEnd);
                    }
                    Ok(Event::Resize(..)) => RESIZED.store(true, SeqCst),
                    Ok(_) => (),
                    Err(_) => return false,
                }
            }
        }

        /// Rests until something may have come.
        pub fn rest(&self, time: Duration) {
            // Where that fails, the next key says so.
            if event::poll(time).is_err() {
                std::thread::sleep(time);
            }
        }
    }

    /// A key as conversations know it.
    fn key_of(event: KeyEvent) -> Key {
        let held = |modifier| event.modifiers.contains(modifier);
        let mut modifiers = Modifiers {
            shift: held(KeyModifiers::SHIFT),
            ctrl: held(KeyModifiers::CONTROL),
            alt: held(KeyModifiers::ALT) || held(KeyModifiers::META),
            alt_gr: false,
        };
        // Windows says so of the key that gives some layouts their third letters.
        if cfg!(windows)
            && modifiers.ctrl
            && modifiers.alt
            && matches!(event.code, KeyCode::Char(_))
        {
            (modifiers.ctrl, modifiers.alt, modifiers.alt_gr) = (false, false, true);
        }
        let key = match event.code {
            KeyCode::Char(letter) => match Key::from_char(letter) {
                Key::Char(letter) => Key::Char(letter),
                other => other,
            },
            KeyCode::Enter => Key::Enter,
            KeyCode::Backspace => Key::Backspace,
            KeyCode::Delete => Key::Delete,
            KeyCode::Left => Key::Left,
            KeyCode::Right => Key::Right,
            KeyCode::Up => Key::Up,
            KeyCode::Down => Key::Down,
            KeyCode::Home => Key::Home,
            KeyCode::End => Key::End,
            KeyCode::PageUp => Key::PageUp,
            KeyCode::PageDown => Key::PageDown,
            KeyCode::Tab => Key::Tab,
            KeyCode::BackTab => Key::BackTab,
            KeyCode::Esc => Key::Escape,
            _ => Key::Other,
        };
        key.with(modifiers)
    }

    /// The keys of a pasted text. Terminals send line breaks as carriage returns.
    fn pasted(text: &str) -> Vec<Key> {
        let text = text.replace("\r\n", "\n");
        text.chars()
            .map(|letter| match letter {
                '\n' | '\r' => Key::Newline,
                letter => Key::Char(letter),
            })
            .collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn keys_of_the_terminal_library() {
            let key = |code, modifiers| key_of(KeyEvent::new(code, modifiers));
            let (none, ctrl, alt, shift) = (
                KeyModifiers::NONE,
                KeyModifiers::CONTROL,
                KeyModifiers::ALT,
                KeyModifiers::SHIFT,
            );
            for (code, modifiers, want) in [
                (KeyCode::Char('é'), none, Key::Char('é')),
                (KeyCode::Char('A'), shift, Key::Char('A')),
                (KeyCode::Char('c'), ctrl, Key::Ctrl('c')),
                (KeyCode::Char('h'), ctrl, Key::Backspace),
                (KeyCode::Char('j'), ctrl, Key::Enter),
                (KeyCode::Char('b'), alt, Key::WordLeft),
                (KeyCode::Left, ctrl, Key::WordLeft),
                (KeyCode::Backspace, alt, Key::DeleteWordLeft),
                (KeyCode::Enter, alt, Key::Newline),
                (KeyCode::BackTab, shift, Key::BackTab),
                (KeyCode::Esc, none, Key::Escape),
                (KeyCode::F(1), none, Key::Other),
            ] {
                assert_eq!(key(code, modifiers), want, "{code:?} {modifiers:?}");
            }
            assert_eq!(
                pasted("a\r\nb\rc\t"),
                [
                    Key::Char('a'),
                    Key::Newline,
                    Key::Char('b'),
                    Key::Newline,
                    Key::Char('c'),
                    Key::Char('\t')
                ]
            );
        }
    }
}
