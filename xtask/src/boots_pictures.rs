//! The boots that look at the screen: pictures compared with stored ones, and that nothing flickers while a story is told.
//!
//! `LLAMA2_PICTURES=write` stores what is seen instead, in `xtask/pictures/`; look at it before it is committed.

use std::{fs, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{
    boots::Check,
    dialog::Dialog,
    image::From,
    maker,
    picture::{Area, Picture, steady},
    qemu::Machine,
    shell::{root, target},
    trial::{Bench, Trial},
};

/// Whether the full screen is looked at, too.
const FULL_SCREEN: bool = false;

/// Levels of a colour by which a pixel may be off.
const TOLERANCE: u8 = 8;
/// Share of a picture's pixels, outside of masks, that may be off by more: at 800 x 600 that is about a letter.
const MOST: f64 = 0.0001;

/// All of them, by name.
pub fn boots() -> Vec<(&'static str, Check)> {
    let text: [(&'static str, Check); 1] = [("pictures: text, 800 x 600", |bench, trial| {
        look(bench, trial, &TEXT, (800, 600))
    })];
    let screen: [(&'static str, Check); 2] = [
        ("pictures: full screen, 800 x 600", |bench, trial| {
            look(bench, trial, &SCREEN, (800, 600))
        }),
        ("pictures: full screen, 1920 x 1080", |bench, trial| {
            look(bench, trial, &SCREEN, (1920, 1080))
        }),
    ];
    let screen = screen.into_iter().filter(|_| FULL_SCREEN);
    text.into_iter().chain(screen).collect()
}

/// A kind of display, and what is looked at on it.
struct Display {
    /// Its name in `LLAMA2.CFG`.
    name: &'static str,
    /// Pixels of a letter, and of a row of text.
    column: usize,
    row: usize,
    /// Where text grows, in a picture of this size.
    conversation: fn(usize, usize) -> Area,
    views: &'static [View],
}

/// Something to look at.
struct View {
    name: &'static str,
    /// Brings it onto the screen, after the view before it.
    show: fn(&mut Dialog<'_>) -> Result<()>,
    /// Where numbers, or how much there is of a text, depend on the machine: the first row of text, how many, and from which column on.
    varies: &'static [(usize, usize, usize)],
}

/// The firmware's text console. Its letters are 8 x 19 pixels (EDK2's), its rows lie in the screen's middle.
const TEXT: Display = Display {
    name: "text",
    column: 8,
    row: 19,
    conversation: |width, height| {
        let rows = height / 19;
        Area {
            x: 0,
            y: (height - rows * 19) / 2,
            width,
            height: rows * 19,
        }
    },
    views: &[
        View {
            name: "menu",
            show: menu,
            varies: &[(2, 3, 49)],
        },
        View {
            name: "story",
            show: story,
            varies: &[(2, 1, 0)],
        },
        View {
            name: "help",
            show: help,
            varies: &[],
        },
        View {
            name: "stopped",
            show: stopped,
            varies: &[(1, 8, 0)],
        },
        View {
            name: "long",
            show: long,
            varies: &[],
        },
        View {
            name: "error",
            show: error,
            varies: &[],
        },
    ],
};

/// The whole screen. The masks are to be set when its pictures are written.
const SCREEN: Display = Display {
    name: "screen",
    column: 10,
    row: 20,
    conversation: |width, height| Area {
        x: 0,
        y: 0,
        width,
        height: height - 100,
    },
    views: &[
        View {
            name: "menu",
            show: menu,
            varies: &[(2, 3, 49)],
        },
        View {
            name: "story",
            show: story,
            varies: &[(2, 1, 0)],
        },
        View {
            name: "help",
            show: help,
            varies: &[],
        },
        View {
            name: "stopped",
            show: stopped,
            varies: &[(1, 8, 0)],
        },
        View {
            name: "long",
            show: long,
            varies: &[],
        },
        View {
            name: "error",
            show: error,
            varies: &[],
        },
    ],
};

/// The menu, as there is one at boot, without a countdown.
fn menu(dialog: &mut Dialog<'_>) -> Result<()> {
    clear(dialog)?;
    dialog.keys("/model\r")?;
    dialog.shows("Esc leaves it")
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
    dialog.say("/temp 11").map(|_| ())
}

/// Looks at all views in one boot, and at a story that grows.
fn look(
    bench: &Bench,
    trial: &mut Trial,
    display: &Display,
    size: (u32, u32),
) -> Result<Option<String>> {
    let name = display.name;
    let config = format!("display = \"{name}\"\r\ntemperature = 0\r\nsteps = 24\r\n");
    let big = bench.folder.join(format!("picture{}.bin", trial.number));
    maker::hollow_checkpoint(&big, &maker::STORIES110M)?;
    let files = [
        ("STORIES0.BIN", From::File(big)),
        ("STORIES1.BIN", From::File(bench.models("stories1M.bin"))),
        ("TOKENIZER.BIN", From::File(bench.models("tokenizer.bin"))),
    ];
    let image = trial.image(bench, &config, &files)?;
    let machine = Machine {
        memory: 256,
        resolution: Some(size),
        ..Machine::new(&image)
    };
    let mut dialog = Dialog::start(trial, &machine)?;
    dialog.shows("this one is taken in")?;
    dialog.keys("\r")?;
    dialog.prompt()?;
    let mut notes = Vec::new();
    for view in display.views {
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

/// Compares a picture with the stored one, or stores it.
fn compare(display: &Display, view: &View, seen: &Picture) -> Result<String> {
    let area = (display.conversation)(seen.width, seen.height);
    let masks: Vec<Area> = view
        .varies
        .iter()
        .map(|&(row, count, column)| Area {
            x: area.x + column * display.column,
            y: area.y + row * display.row,
            width: area.width - column * display.column,
            height: count * display.row,
        })
        .collect();
    let file = format!(
        "{}-{}-{}x{}.png",
        display.name, view.name, seen.width, seen.height
    );
    let stored = root().join("xtask/pictures").join(&file);
    if std::env::var("LLAMA2_PICTURES").is_ok_and(|wish| wish == "write") {
        fs::create_dir_all(root().join("xtask/pictures"))?;
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
    let area = (display.conversation)(frames[0].width, frames[0].height);
    steady(&frames, area, display.row)
}
