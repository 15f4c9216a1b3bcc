//! A conversation with a machine over its serial line: lines typed at its prompt, and what is said
//! to them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use xtask::{
    qemu::{Accel, End, Guest, Machine, PROMPT},
    terminal::Terminal,
};

use crate::boot::{Boot, PATIENCE};

/// A prompt behind which nothing comes for so long is one.
const SETTLED: Duration = Duration::from_millis(80);

/// A conversation under way. What was said is kept with the boot when it ends.
pub struct Dialog<'t> {
    boot: &'t mut Boot,
    pub guest: Guest,
    /// The row of the last prompt.
    row: usize,
}

impl Drop for Dialog<'_> {
    fn drop(&mut self) {
        self.boot.serial.clone_from(&self.guest.text);
    }
}

impl<'t> Dialog<'t> {
    /// Starts a machine.
    pub fn start(boot: &'t mut Boot, machine: &Machine) -> Result<Dialog<'t>> {
        Ok(Dialog {
            boot,
            guest: machine.start(Accel::Tcg)?,
            row: 0,
        })
    }

    /// Waits until `found` is content with what a terminal shows.
    pub fn until<T>(&mut self, what: &str, found: impl Fn(&Terminal) -> Option<T>) -> Result<T> {
        match self.guest.until(PATIENCE, |guest| found(&guest.terminal)) {
            Ok(found) => Ok(found),
            Err(End::Gone(words)) => bail!("QEMU ended: {words}"),
            Err(End::Off) => bail!("the machine was switched off"),
            Err(_) => bail!(
                "no {what} after {} s; the last row is {:?}",
                PATIENCE.as_secs(),
                self.guest.terminal.row(self.guest.terminal.cursor().0)
            ),
        }
    }

    /// Waits until a row below the last prompt holds this.
    pub fn shows(&mut self, words: &str) -> Result<()> {
        let from = self.row;
        self.until(words, |terminal| {
            let mut rows = from..terminal.count();
            rows.any(|row| terminal.row(row).contains(words))
                .then_some(())
        })
    }

    /// Waits for a prompt with nothing behind it, and gives what came since the one before, which
    /// is the first row.
    pub fn prompt(&mut self) -> Result<String> {
        let before = self.row;
        let ready = |terminal: &Terminal| {
            let (row, column) = terminal.cursor();
            let ready = row > before && column == PROMPT.len() && terminal.row(row) == PROMPT;
            (ready && row + 1 == terminal.count()).then_some(row)
        };
        let row = loop {
            let row = self.until("prompt", ready)?;
            // A loaded conversation has rows that begin so, and the line comes in pieces.
            let _ = self.guest.until(SETTLED, |_| None::<()>);
            if ready(&self.guest.terminal) == Some(row) {
                break row;
            }
        };
        self.row = row;
        Ok(self.guest.terminal.text(before..row))
    }

    /// Presses keys.
    pub fn keys(&mut self, keys: &str) -> Result<()> {
        self.guest.send(keys.as_bytes())
    }

    /// Waits until what is typed looks like this.
    pub fn typed(&mut self, line: &str) -> Result<()> {
        let want = format!("{PROMPT}{line}");
        self.until(&format!("{want:?} in the last row"), |terminal| {
            (terminal.row(terminal.cursor().0) == want).then_some(())
        })
    }

    /// Types a line, and gives what was said to it.
    pub fn say(&mut self, line: &str) -> Result<String> {
        self.keys(line)?;
        self.typed(line)?;
        self.enter()
    }

    /// Presses Return, and gives what was said to the line.
    pub fn enter(&mut self) -> Result<String> {
        self.keys("\r")?;
        let said = self.prompt()?;
        // Its last row is the first that came behind it.
        Ok(said
            .split_once('\n')
            .map_or(String::new(), |(_, said)| said.to_owned()))
    }

    /// Types a line to which this must be said.
    pub fn expect(&mut self, line: &str, words: &str) -> Result<()> {
        let said = self.say(line)?;
        ensure!(said.contains(words), "{line} said {said:?}, not {words:?}");
        Ok(())
    }

    /// Types a line, and gives the reply to it.
    pub fn ask(&mut self, line: &str) -> Result<Reply> {
        let said = self.say(line)?;
        Reply::of(&said)
    }

    /// Waits for a row with these words, to which a reply comes without our typing it.
    pub fn begun_at(&mut self, words: &str) -> Result<()> {
        let from = self.row;
        self.row = self.until(words, |terminal| {
            (from..terminal.count()).find(|&row| terminal.row(row).contains(words))
        })?;
        Ok(())
    }

    /// Waits until at least so many bytes of a reply have come.
    pub fn comes(&mut self, bytes: usize) -> Result<()> {
        let from = self.row + 1;
        self.until("reply", |terminal| {
            let text = terminal.text(from..terminal.count());
            (text.len() > bytes && !text.starts_with("reading ")).then_some(())
        })
    }

    /// Presses a key in the middle of a reply, of which so many bytes have come, and gives what
    /// there is of it, and how long it took to stop.
    pub fn stop(
        &mut self,
        bytes: usize,
        press: &dyn Fn(&mut Guest) -> Result<()>,
    ) -> Result<(Reply, Duration)> {
        let from = self.row + 1;
        self.comes(bytes)?;
        // Not in the moment in which something is shown: keys are looked at then anyway.
        std::thread::sleep(Duration::from_millis(110));
        let start = Instant::now();
        press(&mut self.guest)?;
        self.until("summary of a reply that was stopped", |terminal| {
            let mut rows = from..terminal.count();
            rows.any(|row| is_summary(&terminal.row(row))).then_some(())
        })?;
        let took = start.elapsed();
        let said = self.prompt()?;
        let said = said.split_once('\n').context("a line")?.1.to_owned();
        let reply = Reply::of(&said)?;
        ensure!(
            reply.summary.contains(", stopped, "),
            "it was not stopped: {}",
            reply.summary
        );
        Ok((reply, took))
    }

    /// Leaves by this line, and sees the application end well.
    pub fn leave(&mut self, line: &str) -> Result<()> {
        self.keys(line)?;
        self.keys("\r")?;
        // It may have ended before, and started again.
        let from = self.row;
        let last = self.until("last line", |terminal| {
            let mut rows = from..terminal.cursor().0;
            let last = rows.find(|&row| terminal.row(row).starts_with("llama2: exit "))?;
            Some(terminal.row(last))
        })?;
        ensure!(last == "llama2: exit 0", "it did not end well: {last}");
        Ok(())
    }
}

/// A reply, and the line about it.
pub struct Reply {
    pub text: String,
    pub summary: String,
}

fn is_summary(row: &str) -> bool {
    row.contains(" token") && row.contains(", first after ") && row.contains(", context ")
}

impl Reply {
    /// Finds the first reply in what was said.
    pub fn of(said: &str) -> Result<Reply> {
        let mut text = String::new();
        for row in said.lines() {
            if is_summary(row) {
                return Ok(Reply {
                    text,
                    summary: row.to_owned(),
                });
            }
            text += row;
            text.push('\n');
        }
        bail!("there is no line about a reply in {said:?}")
    }

    /// Compares it with a text, as far as every terminal shows that in one way.
    pub fn is(&self, want: &str) -> Result<()> {
        let (told, want) = (printable(&self.text), printable(want));
        ensure!(told == want, "it said:\n{told}\nand not:\n{want}");
        Ok(())
    }
}

/// The characters of a text that every terminal shows in one way.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
