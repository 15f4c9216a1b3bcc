//! The boots that look at the screen: pictures compared with stored ones, and that nothing flickers
//! while a story is told.
//!
//! `LLAMA2_PICTURES=write` stores what is seen instead, in `boot-tests/pictures/`; look at it
//! before it is committed.

use std::{fs, time::Duration};

use anyhow::{Context, Result, bail};
use xtask::{
    image::From,
    qemu::Machine,
    shell::{root, target},
};

use crate::{
    Check,
    boot::{Boot, Suite},
    dialog::Dialog,
    fixtures,
    hands::Hands,
    picture::{Area, Picture, steady},
};

/// Levels of a colour by which a pixel may be off.
const TOLERANCE: u8 = 8;
/// Share of a picture's pixels, outside of masks, that may be off by more: at 800 x 600 that is
/// about a letter.
const MOST: f64 = 0.0001;

/// All of them, by name.
pub const BOOTS: [(&str, Check); 3] = [
    ("pictures: text, 800 x 600", |suite, boot| {
        look(suite, boot, &TEXT, (800, 600))
    }),
    ("pictures: full screen, 800 x 600", |suite, boot| {
        look(suite, boot, &SCREEN, (800, 600))
    }),
    ("pictures: full screen, 1920 x 1080", |suite, boot| {
        look(suite, boot, &WIDE, (1920, 1080))
    }),
];

/// A kind of display, and what is looked at on it.
struct Display {
    /// Its name in `LLAMA2.CFG`.
    name: &'static str,
    /// Pixels of a letter, and of a row of text.
    cell: (usize, usize),
    /// Pixels above the place where text grows, and below it.
    margins: (usize, usize),
    /// Rows at the bottom in which numbers stand.
    bar: usize,
    /// The place in a menu where memory is told: the first row, and from which column on.
    memory: (usize, usize),
}

/// The firmware's text console. Its letters are 8 x 19 pixels (EDK2's), its rows lie in the
/// screen's middle.
const TEXT: Display = Display {
    name: "text",
    cell: (8, 19),
    margins: (5, 6),
    bar: 0,
    memory: (2, 49),
};

/// The whole screen: a row is empty above the text; below it are the frame, an empty row, and the
/// status bar.
const SCREEN: Display = Display {
    name: "screen",
    cell: (8, 16),
    margins: (20, 68),
    bar: 36,
    memory: (14, 56),
};

/// The whole screen in larger letters.
const WIDE: Display = Display {
    name: "screen",
    cell: (12, 24),
    margins: (24, 96),
    bar: 48,
    memory: (18, 81),
};

impl Display {
    fn conversation(&self, width: usize, height: usize) -> Area {
        let (above, below) = self.margins;
        Area {
            x: 0,
            y: above,
            width,
            height: height - above - below,
        }
    }

    /// The parts of a view that hang on the machine.
    fn masks(&self, view: &View, width: usize, height: usize) -> Vec<Area> {
        let area = self.conversation(width, height);
        let rows = |first: usize, count: usize, column: usize| Area {
            x: column * self.cell.0,
            y: area.y + first * self.cell.1,
            width: width - column * self.cell.0,
            height: count * self.cell.1,
        };
        let bar = Area {
            x: 0,
            y: height - self.bar,
            width,
            height: self.bar,
        };
        let own = match view.varies {
            Varies::Nothing => None,
            Varies::Rows(first, count) => Some(rows(first, count, 0)),
            Varies::Memory => Some(rows(self.memory.0, 3, self.memory.1)),
        };
        [bar].into_iter().chain(own).collect()
    }
}

/// Something to look at.
struct View {
    name: &'static str,
    /// Brings it onto the screen, after the view before it.
    show: fn(&mut Dialog<'_>) -> Result<()>,
    varies: Varies,
}

/// A part of a view that hangs on the machine.
#[derive(Clone, Copy)]
enum Varies {
    Nothing,
    /// Numbers, or how much there is of a text: the first row, and how many.
    Rows(usize, usize),
    /// How much memory is free, in a menu.
    Memory,
}

const VIEWS: [View; 6] = [
    View {
        name: "menu",
        show: menu,
        varies: Varies::Memory,
    },
    View {
        name: "story",
        show: story,
        varies: Varies::Rows(2, 1),
    },
    View {
        name: "help",
        show: help,
        varies: Varies::Nothing,
    },
    View {
        name: "stopped",
        show: stopped,
        varies: Varies::Rows(1, 8),
    },
    View {
        name: "long",
        show: long,
        varies: Varies::Nothing,
    },
    View {
        name: "error",
        show: error,
        varies: Varies::Nothing,
    },
];

/// The menu, as there is one at boot, without a countdown.
fn menu(dialog: &mut Dialog<'_>) -> Result<()> {
    clear(dialog)?;
    dialog.keys("/model\r")?;
    dialog.shows("Esc cancels")
}

/// Empties the screen, so that what is seen does not hang on what was before.
fn clear(dialog: &mut Dialog<'_>) -> Result<()> {
    dialog.keys("\x0c")?;
    dialog.prompt().map(|_| ())
}

/// A story, and the prompt below it.
fn story(dialog: &mut Dialog<'_>) -> Result<()> {
    // The menu goes.
    dialog.keys("\x1b")?;
    dialog.prompt()?;
    clear(dialog)?;
    dialog.ask("Tim found a key").map(|_| ())
}

fn help(dialog: &mut Dialog<'_>) -> Result<()> {
    clear(dialog)?;
    dialog.say("/help").map(|_| ())
}

/// A story that a key has stopped.
fn stopped(dialog: &mut Dialog<'_>) -> Result<()> {
    dialog.say("/max 0")?;
    clear(dialog)?;
    dialog.keys("Once upon a time\r")?;
    dialog.stop(60, &|guest| guest.send(b"\x1b"))?;
    dialog.keys("/max 24\r")?;
    dialog.prompt().map(|_| ())
}

/// A line that needs several rows.
fn long(dialog: &mut Dialog<'_>) -> Result<()> {
    clear(dialog)?;
    let line = "there was a dog who ran after a ball, ".repeat(8);
    dialog.keys(&line)?;
    dialog.shows(line[line.len() - 20..].trim_end())
}

fn error(dialog: &mut Dialog<'_>) -> Result<()> {
    dialog.keys("\x15")?;
    clear(dialog)?;
    dialog.say("/temp -1").map(|_| ())
}

/// Looks at all views in one boot, and at a story that grows.
fn look(
    suite: &Suite,
    boot: &mut Boot,
    display: &Display,
    size: (u32, u32),
) -> Result<Option<String>> {
    let name = display.name;
    let config = format!("display = \"{name}\"\r\ntemperature = 0\r\nsteps = 24\r\n");
    let big = suite.folder.join(format!("picture{}.bin", boot.number));
    fixtures::hollow_checkpoint(&big, &fixtures::STORIES110M)?;
    let files = [
        ("STORIES0.BIN", From::File(big)),
        (
            "STORIES1.GGUF",
            From::File(suite.models("stories7M-Q4_0.gguf")),
        ),
    ];
    let image = boot.image(suite, &config, &files)?;
    let machine = Machine {
        memory: 256,
        resolution: Some(size),
        ..Machine::new(&image)
    };
    let mut dialog = Dialog::start(boot, &machine)?;
    dialog.shows("loading this one in")?;
    dialog.keys("\r")?;
    dialog.prompt()?;
    let mut notes = Vec::new();
    for view in &VIEWS {
        (view.show)(&mut dialog).with_context(|| format!("the view {:?}", view.name))?;
        // What was sent over the line is on the screen soon.
        std::thread::sleep(Duration::from_millis(500));
        let seen = dialog.guest.picture()?;
        let note = compare(display, view, &seen)
            .with_context(|| format!("the view {:?} of {name}", view.name))?;
        notes.push(note);
    }
    frames(&mut dialog, display)?;
    dialog.leave("/exit")?;
    Ok(Some(notes.join(", ")))
}

/// Looks at the help on a full screen of 800 x 600, which is the same on every machine.
pub fn help_on_screen(dialog: &mut Dialog<'_>) -> Result<String> {
    let view = VIEWS.iter().find(|view| view.name == "help");
    let view = view.context("there is a view of the help")?;
    (view.show)(dialog)?;
    std::thread::sleep(Duration::from_millis(500));
    compare(&SCREEN, view, &dialog.guest.picture()?)
}

/// Compares a picture with the stored one, or stores it.
fn compare(display: &Display, view: &View, seen: &Picture) -> Result<String> {
    let masks = display.masks(view, seen.width, seen.height);
    let file = format!(
        "{}-{}-{}x{}.png",
        display.name, view.name, seen.width, seen.height
    );
    let stored = root().join("boot-tests/pictures").join(&file);
    if std::env::var("LLAMA2_PICTURES").is_ok_and(|wish| wish == "write") {
        fs::create_dir_all(root().join("boot-tests/pictures"))?;
        seen.write(&stored)?;
        let bytes = fs::metadata(&stored)?.len();
        return Ok(format!("{file} written, {bytes} bytes"));
    }
    let differs = Picture::read(&stored)
        .context("LLAMA2_PICTURES=write stores pictures anew")
        .and_then(|stored| seen.difference(&stored, &masks, TOLERANCE));
    match differs {
        Ok(differs) if differs <= MOST => Ok(format!("{} {:.4} %", view.name, differs * 100.0)),
        failed => {
            let folder = target().join("test-logs");
            fs::create_dir_all(&folder)?;
            seen.write(&folder.join(&file))?;
            bail!(
                "{:.3} % of the pixels are not as in {}; what was seen is in {}",
                failed? * 100.0,
                stored.display(),
                folder.join(&file).display()
            )
        }
    }
}

/// Twenty pictures in a row while a story is told: they must be [`steady`].
fn frames(dialog: &mut Dialog<'_>, display: &Display) -> Result<()> {
    const FRAMES: usize = 20;
    dialog.say("/max 0")?;
    clear(dialog)?;
    dialog.keys("Once upon a time\r")?;
    dialog.comes(10)?;
    let mut frames = Vec::new();
    for _ in 0..FRAMES {
        frames.push(dialog.guest.picture()?);
    }
    // It may be over by now: then the key does nothing.
    dialog.keys("\x1b")?;
    dialog.prompt()?;
    let area = display.conversation(frames[0].width, frames[0].height);
    steady(&frames, area, display.cell.1)
}
