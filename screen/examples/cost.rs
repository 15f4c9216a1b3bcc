//! Cost of drawing in microseconds: `cargo run --release -p llama2-screen --example cost`.
//!
//! The display is a second copy of the pixels in memory; writing to a real one may be slower or
//! faster.

use std::time::Instant;

use llama2_console::{
    front::{Bottom, Front, Gauge, Style},
    keys::Key,
    status::{Phase, Status},
};
use llama2_screen::{Area, FrameCost, Screen};

const WORDS: &str = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park with her friends.";

struct Display {
    stride: usize,
    pixels: Vec<u32>,
}

impl Display {
    fn draw(&mut self, screen: &mut Screen) -> FrameCost {
        screen.draw(&mut |area: Area, pixels: &[u32], stride: usize| {
            for y in area.y..area.y + area.height {
                let from = y * stride + area.x;
                let to = y * self.stride + area.x;
                self.pixels[to..to + area.width].copy_from_slice(&pixels[from..from + area.width]);
            }
        })
    }
}

/// Median time of drawing after `prepare`; the first runs are not counted.
fn median(
    screen: &mut Screen,
    display: &mut Display,
    mut prepare: impl FnMut(&mut Screen, usize),
    wanted: impl Fn(FrameCost) -> bool,
) -> (f64, FrameCost) {
    let mut times = Vec::new();
    for i in 0..2000 {
        let begin = Instant::now();
        prepare(screen, i);
        let drawn = display.draw(screen);
        let time = begin.elapsed().as_secs_f64() * 1e6;
        if wanted(drawn) && i > 100 {
            times.push((time, drawn));
        }
        if times.len() == 300 {
            break;
        }
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn main() {
    for (width, height) in [(800, 600), (1920, 1080), (3840, 2160)] {
        let begin = Instant::now();
        let mut screen = Screen::new(width, height).expect("a screen");
        let made = begin.elapsed().as_secs_f64() * 1e6;
        let mut display = Display {
            stride: width,
            pixels: vec![0; width * height],
        };
        for _ in 0..50 {
            screen.show(Style::Answer, WORDS);
            screen.show(Style::Answer, "\n\n");
        }
        let begin = Instant::now();
        display.draw(&mut screen);
        let first = begin.elapsed().as_secs_f64() * 1e6;
        println!("{width} x {height}: made in {made:.0} us, first drawn in {first:.0} us");
        let report = |what: &str, (time, drawn): (f64, FrameCost)| {
            println!(
                "  {what}: {time:.1} us ({} cells, {} areas, {} pixels)",
                drawn.cells, drawn.areas, drawn.pixels
            );
        };
        let words: Vec<&str> = WORDS.split_inclusive(' ').collect();
        let few = 40 + width / 60;
        let token =
            |screen: &mut Screen, i: usize| screen.show(Style::Answer, words[i % words.len()]);
        report(
            "a word",
            median(&mut screen, &mut display, token, |drawn| drawn.cells < few),
        );
        let all = |screen: &mut Screen, i: usize| {
            screen.show(Style::Answer, words[i % words.len()]);
            screen.gauge(&Gauge {
                model: "stories15M.bin",
                context: (i, 2048),
                rate: Some(70.0 + (i % 7) as f32),
            });
            screen.bottom(Bottom::Status(&Status {
                phase: Phase::Decode { tokens: i },
                microseconds: 12_000 * i as u64,
                context: (i, 2048),
            }));
        };
        report(
            "a word, status and gauge",
            median(&mut screen, &mut display, all, |drawn| drawn.cells < 200),
        );
        let row = |screen: &mut Screen, i: usize| {
            let line = format!(
                "{} {}\n",
                words[i % words.len()].repeat(8),
                &WORDS[i % 20..]
            );
            screen.lay_out(Style::Answer, &|columns| {
                line.chars().take(columns - 1).collect()
            });
        };
        report(
            "a row more: a scroll",
            median(&mut screen, &mut display, row, |_| true),
        );
        let page = |screen: &mut Screen, i: usize| {
            screen.scroll(if i.is_multiple_of(2) {
                Key::PageUp
            } else {
                Key::PageDown
            });
        };
        report("a page", median(&mut screen, &mut display, page, |_| true));
        while screen.scroll(Key::PageDown) {}
        display.draw(&mut screen);
        // The first ideographs also unpack a part of their font.
        for (what, text) in [
            ("an ideograph", "中".into()),
            ("another one", "丰".into()),
            ("1000 more", ('\u{5000}'..'\u{53e8}').collect::<String>()),
        ] {
            screen.show(Style::Answer, &text);
            let begin = Instant::now();
            let drawn = display.draw(&mut screen);
            report(what, (begin.elapsed().as_secs_f64() * 1e6, drawn));
        }
        let all = |screen: &mut Screen, _| screen.forget();
        report(
            "all put again",
            median(&mut screen, &mut display, all, |_| true),
        );
    }
}
