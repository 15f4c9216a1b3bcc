//! Tests of the whole screen: conversations as text, and everything else shown in any order.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use llama2_console::{
    front::{Bottom, Front, Gauge, Menu, MenuRow, Style},
    keys::Key,
    status::{Phase, Status},
    view::Prompt,
};

use crate::{Area, FrameCost, Refused, Screen};

const PROMPT: Prompt<'static> = Prompt {
    first: "> ",
    more: ". ",
};

fn line(text: &str) -> Bottom<'_> {
    Bottom::Line {
        prompt: PROMPT,
        text,
        cursor: text.len(),
    }
}

fn screen(columns: usize, rows: usize) -> Screen {
    Screen::new(columns * 8, rows * 16).unwrap()
}

fn choice(cells: &[&str], grey: bool) -> MenuRow {
    MenuRow {
        cells: cells.iter().map(|cell| cell.to_string()).collect(),
        grey,
    }
}

/// Visible rows, without the frame below and the bar.
fn pane(screen: &mut Screen) -> Vec<String> {
    let cells = screen.cells();
    let height = screen.places().pane.bottom();
    cells
        .lines()
        .take(usize::from(height))
        .map(|row| row.trim().to_string())
        .collect()
}

/// Display that is only written to.
struct Display {
    width: usize,
    pixels: Vec<u32>,
}

impl Display {
    fn new(width: usize, height: usize) -> Display {
        let pixels = vec![0x00ff_00ff; width * height];
        Display { width, pixels }
    }

    fn draw(&mut self, screen: &mut Screen) -> FrameCost {
        let mut pixels = 0;
        let mut put = |area: Area, from: &[u32], stride: usize| {
            pixels += area.width * area.height;
            for y in area.y..area.y + area.height {
                let row = y * stride + area.x..y * stride + area.x + area.width;
                let to = y * self.width + area.x;
                self.pixels[to..to + area.width].copy_from_slice(&from[row]);
            }
        };
        let drawn = screen.draw(&mut put);
        assert_eq!(drawn.pixels, pixels);
        drawn
    }
}

#[test]
fn a_conversation() {
    let mut screen = screen(40, 16);
    screen.show(Style::Title, "llama2.efi\n");
    screen.gauge(&Gauge {
        model: "stories15M",
        context: (12, 256),
        rate: None,
    });
    screen.bottom(line("Tell me a story."));
    assert_eq!(
        screen.cells(),
        "  llama2.efi\n\n\n\n\n\n\n\n\n\n\n\n\
╭──────────────────────────────────────╮\n\
│ > Tell me a story.                   │\n\
╰──────────────────────────────────────╯\n  stories15M          context 12 / 256\n"
    );
    screen.keep_line();
    let status = Status {
        phase: Phase::Prefill {
            done: 50,
            total: 100,
        },
        microseconds: 1_000_000,
        context: (50, 256),
    };
    screen.bottom(Bottom::Status(&status));
    assert_eq!(
        screen.cells(),
        "  llama2.efi\n▎ > Tell me a story.\n\n\n\n\n\n\n\n\n\n\n\
╭──────────────────────────────────────╮\n\
│ reading, 50 / 100 tokens, 50.0 tok/s │\n\
╰──────────────────────────────────────╯\n  stories15M          context 12 / 256\n"
    );
    for word in [
        "Once",
        " upon",
        " a time, there",
        " was a lit",
        "tle girl.",
        "\n",
    ] {
        screen.show(Style::Answer, word);
    }
    screen.show(Style::Thought, "Hm.");
    screen.bottom(Bottom::Nothing);
    assert_eq!(
        screen.cells(),
        "  llama2.efi\n▎ > Tell me a story.\n  Once upon a time, there was a little\n  girl.\n▎ Hm.\n\n\n\n\n\n\n\n\
╭──────────────────────────────────────╮\n\
│                                      │\n\
╰──────────────────────────────────────╯\n  stories15M          context 12 / 256\n"
    );
    // An input line ends an unfinished line of text; the frame grows with it, to a third of the
    // screen.
    screen.bottom(line("a\nb"));
    screen.show(Style::Info, "said\n");
    let cells = screen.cells();
    assert!(cells.contains("▎ Hm.\n  said\n"), "{cells}");
    assert!(
        cells.contains("│ > a                                  │\n│ . b "),
        "{cells}"
    );
    screen.bottom(line(&"x\n".repeat(40)));
    assert_eq!(screen.places().frame.height, 5);
    assert!(screen.cells().contains("┃\n"));
    screen.bottom(line("x"));
    screen.clear();
    assert_eq!(pane(&mut screen), [""; 12]);
    screen.show(Style::Answer, "new\n");
    assert_eq!(pane(&mut screen)[0], "new");
    // Kept text is still there above.
    assert!(screen.scroll(Key::PageUp));
    assert_eq!(
        pane(&mut screen)[..2],
        ["llama2.efi", "▎ > Tell me a story."]
    );
    assert!(!screen.scroll(Key::PageUp));
}

#[test]
fn an_answer_in_markdown_is_laid_out_as_it_comes() {
    let mut screen = screen(40, 20);
    let mut display = Display::new(320, 320);
    screen.show(Style::Info, "before");
    screen.show(Style::Markdown, "## Title\n**bold");
    display.draw(&mut screen);
    assert_eq!(pane(&mut screen)[..3], ["before", "Title", "bold"]);
    // The stars are there again when it is certain that they mean nothing; a table moves as it
    // grows, and may become shorter on the screen when it is one.
    screen.show(Style::Markdown, "\n| A long header | B |");
    assert_eq!(
        pane(&mut screen)[2..5],
        ["**bold", "| A long header | B |", ""]
    );
    screen.show(Style::Markdown, "\n|---|---|\n| 1 | 2");
    display.draw(&mut screen);
    assert_eq!(
        pane(&mut screen)[3..7],
        [
            "A long header │ B",
            "──────────────┼──",
            "1             │ 2",
            ""
        ]
    );
    screen.show(Style::Markdown, " |\n\nx");
    display.draw(&mut screen);
    // A word more is a word more to draw.
    screen.show(Style::Markdown, "y");
    assert_eq!(display.draw(&mut screen).cells, 1);
    screen.show(Style::Markdown, "\n");
    screen.show(Style::Info, "after");
    let seen = pane(&mut screen);
    assert_eq!(seen[5..10], ["1             │ 2", "", "xy", "after", ""]);
}

#[test]
fn progress_is_a_bar() {
    let mut screen = screen(60, 12);
    screen.bottom(Bottom::Note("Loading [####......] 45 % 93 MB/s"));
    let cells = screen.cells();
    assert!(
        cells.contains("│ Loading ━━━━━━━━━━ 45 % 93 MB/s "),
        "{cells}"
    );
    for note in [
        "[",
        "a [#",
        "[]",
        "[x]",
        "[#.#]",
        "b [##",
        &"[#.....]".repeat(20),
    ] {
        screen.bottom(Bottom::Note(note));
        screen.cells();
    }
    screen.bottom(Bottom::Note("no bar [1] here"));
    assert!(screen.cells().contains("│ no bar [1] here "));
}

#[test]
fn a_menu_lies_over_the_conversation() {
    let mut screen = screen(60, 14);
    screen.show(Style::Answer, "behind\n");
    let mut menu = Menu {
        title: "Models".into(),
        rows: vec![
            choice(&["a.gguf", "Q8_0", "fits"], false),
            choice(&["longer.gguf", "F32", "too large"], true),
        ],
        selected: 1,
        note: "10 s".into(),
    };
    screen.bottom(Bottom::Menu(&menu));
    let cells = screen.cells();
    for row in [
        "behind",
        "╭ Models ────────────────────────╮",
        "│   a.gguf       Q8_0  fits      │",
        "│ ▸ longer.gguf  F32   too large │",
        "╰────────────────────────── 10 s ╯",
    ] {
        assert!(cells.contains(row), "{cells}");
    }
    menu.note = "9 s".into();
    screen.bottom(Bottom::Menu(&menu));
    assert!(screen.cells().contains(" 9 s ╯"));
    // Text that is too long for its row is marked.
    menu.rows[1].cells[2] =
        "ends at byte 3000000, in the middle of its description: it is cut short".into();
    screen.bottom(Bottom::Menu(&menu));
    let cells = screen.cells();
    assert!(
        cells.contains("ends at byte") && cells.contains("… │"),
        "{cells}"
    );
    // New text does not cover it.
    screen.show(Style::Info, &"more\n".repeat(30));
    assert!(screen.cells().contains("│ ▸ longer.gguf"));
    screen.bottom(line(""));
    assert!(!screen.cells().contains("gguf"));
    menu.rows = (0..300)
        .map(|i| choice(&[&format!("model {i}"), "x"], false))
        .collect();
    for selected in [0, 150, 299, 1000] {
        menu.selected = selected;
        screen.bottom(Bottom::Menu(&menu));
        let wanted = format!("▸ model {} ", selected.min(299));
        assert!(screen.cells().contains(&wanted));
    }
}

#[test]
fn a_reader_stays_where_he_is() {
    let mut screen = screen(40, 16);
    for i in 0..100 {
        screen.show(Style::Answer, &format!("row {i}\n"));
    }
    screen.bottom(line(""));
    assert_eq!(pane(&mut screen)[11], "row 99");
    assert!(!screen.scroll(Key::PageDown) && !screen.scroll(Key::Up));
    assert!(screen.scroll(Key::PageUp));
    assert_eq!(pane(&mut screen)[0], "row 78");
    screen.show(Style::Answer, "row 100\n");
    assert_eq!(pane(&mut screen)[0], "row 78");
    assert!(screen.cells().contains("▼ 11 more rows below, PgDn"));
    // A line that is as it was is no reason to go.
    screen.bottom(line(""));
    assert_eq!(pane(&mut screen)[0], "row 78");
    screen.bottom(line("t"));
    assert_eq!(pane(&mut screen)[11], "row 100");
    screen.scroll(Key::PageUp);
    assert!(screen.scroll(Key::PageDown));
    assert_eq!(pane(&mut screen)[11], "row 100");
    assert!(!screen.cells().contains("more"));
    screen.scroll(Key::PageUp);
    screen.keep_line();
    assert_eq!(pane(&mut screen)[11], "▎ > t");
    // Rows that are gone cannot be read on.
    while screen.scroll(Key::PageUp) {}
    screen.show(Style::Answer, &"x\n".repeat(crate::text::ROWS));
    assert_eq!(pane(&mut screen)[0], "x");
}

#[test]
fn only_what_changed_is_drawn() {
    let mut screen = screen(100, 37);
    let mut display = Display::new(800, 592);
    screen.show(Style::Answer, &"word ".repeat(2000));
    screen.gauge(&Gauge::default());
    assert_eq!(display.draw(&mut screen).pixels, 800 * 592);
    assert_eq!(display.draw(&mut screen), FrameCost::default());
    screen.show(Style::Answer, "ab");
    let drawn = display.draw(&mut screen);
    assert_eq!((drawn.cells, drawn.areas, drawn.pixels), (2, 1, 2 * 128));
    screen.bottom(line("x"));
    display.draw(&mut screen);
    screen.bottom(line("xy"));
    let drawn = display.draw(&mut screen);
    assert_eq!((drawn.cells, drawn.areas, drawn.pixels), (2, 1, 2 * 128));
    screen.bell();
    assert!(display.draw(&mut screen).cells > 100);
    screen.bottom(line("xy"));
    assert!(display.draw(&mut screen).cells > 100);
    screen.forget();
    let drawn = display.draw(&mut screen);
    assert_eq!((drawn.cells, drawn.pixels), (0, 800 * 592));
}

#[test]
fn tables_know_their_width() {
    let mut screen = screen(60, 12);
    screen.show(Style::Answer, "open");
    screen.lay_out(Style::Info, &|columns| {
        format!("{}\na  b\n", "-".repeat(columns - 1))
    });
    let pane = pane(&mut screen);
    assert_eq!(pane[..4], ["open", &"-".repeat(56), "a  b", ""]);
}

#[test]
fn displays_of_all_sizes() {
    for (size, cells) in [
        ((640, 480), (80, 30)),
        ((800, 600), (100, 37)),
        ((1024, 768), (128, 48)),
        ((1366, 768), (170, 48)),
        ((1280, 1024), (116, 46)),
        ((1920, 1080), (160, 45)),
        ((2560, 1440), (160, 45)),
        ((3840, 2160), (160, 45)),
        ((200, 160), (25, 10)),
        ((1080, 1920), (83, 73)),
    ] {
        assert_eq!(
            Screen::new(size.0, size.1).unwrap().size(),
            cells,
            "{size:?}"
        );
    }
    assert_eq!(
        Screen::new(199, 1000).err(),
        Some(Refused::Small(199, 1000))
    );
    assert_eq!(
        Screen::new(usize::MAX, 600).err(),
        Some(Refused::Memory(usize::MAX, 600))
    );
    assert!(Refused::Memory(1920, 1080).to_string().contains("8 MiB"));
}

#[test]
fn whatever_is_shown_in_whatever_order() {
    let mut state = 11u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    const STYLES: [Style; 6] = [
        Style::Title,
        Style::User,
        Style::Thought,
        Style::Error,
        Style::Answer,
        Style::Markdown,
    ];
    const PIECES: [&str; 18] = [
        "a",
        " ",
        "word",
        "\n",
        "日本",
        "e\u{301}",
        "🙂",
        "\t",
        "\u{200b}",
        "─",
        "\u{7}",
        "क्षि",
        "👨\u{200d}👩\u{200d}👧",
        "averyveryverylongwordthatdoesnotfitintoanarrowscreenatall",
        "**",
        "`",
        "\n```\n",
        "\n| a | b |\n|--|--|\n| c |",
    ];
    for round in 0..60 {
        let (width, height) = (200 + random(700), 160 + random(500));
        let mut screen = Screen::new(width, height).unwrap();
        let mut display = Display::new(width, height);
        for step in 0..120 {
            let mut text = String::new();
            for _ in 0..random(12) {
                text.push_str(PIECES[random(PIECES.len())]);
            }
            let number = [0, 1, 77, usize::MAX][random(4)];
            match random(14) {
                // An answer goes on for a while.
                0..=3 if random(2) == 0 => screen.show(Style::Markdown, &text),
                0..=3 => screen.show(STYLES[random(6)], &text),
                4 => screen.lay_out(Style::Info, &|columns| {
                    format!("{}\n{text}\n", "=".repeat(columns + 3))
                }),
                5 => {
                    let text = match random(9) {
                        0 => text.repeat(80),
                        _ => text,
                    };
                    let cursor = text.len() / 2;
                    let cursor = (0..=cursor).rev().find(|&at| text.is_char_boundary(at));
                    screen.bottom(Bottom::Line {
                        prompt: PROMPT,
                        text: &text,
                        cursor: cursor.unwrap_or(0),
                    });
                }
                6 => screen.bottom(Bottom::Note(&text)),
                7 => screen.bottom(Bottom::Status(&Status {
                    phase: [
                        Phase::Prefill {
                            done: number,
                            total: 77,
                        },
                        Phase::Thinking { tokens: number },
                        Phase::Decode { tokens: number },
                    ][random(3)],
                    microseconds: number as u64,
                    context: (number, 2048),
                })),
                8 => {
                    let rows = (0..random(60)).map(|i| {
                        let name = format!("{i}{text}");
                        choice(&[&name, &text, "x"][..random(4)], random(2) == 0)
                    });
                    screen.bottom(Bottom::Menu(&Menu {
                        rows: rows.collect(),
                        selected: random(70),
                        title: text.clone(),
                        note: text.clone(),
                    }));
                }
                9 => screen.gauge(&Gauge {
                    model: &text,
                    context: (number, [0, 5, usize::MAX][random(3)]),
                    rate: [None, Some(0.1), Some(f32::NAN), Some(1e9)][random(4)],
                }),
                10 => drop(screen.scroll([Key::PageUp, Key::PageDown, Key::End][random(3)])),
                11 => screen.keep_line(),
                12 => screen.bell(),
                _ if random(8) == 0 => screen.clear(),
                _ => screen.bottom(Bottom::Nothing),
            }
            if random(3) == 0 {
                continue;
            }
            display.draw(&mut screen);
            // Most frames are also drawn over what was drawn piece by piece.
            if random(3) > 0 {
                continue;
            }
            // The pieces put one by one equal the whole.
            let (pieces, cells) = (display.pixels.clone(), screen.cells());
            screen.draw_all_anew();
            display.draw(&mut screen);
            assert_eq!(screen.cells(), cells, "round {round}, step {step}");
            assert!(display.pixels == pieces, "round {round}, step {step}");
        }
    }
}

#[test]
fn what_is_typed_for_later_is_seen_below_the_reply() {
    let mut screen = Screen::new(800, 600).unwrap();
    screen.show(Style::Answer, "A reply that is still");
    screen.waiting("and then?⏎");
    screen.show(Style::Answer, " made");
    let seen = screen.cells();
    assert!(seen.contains("A reply that is still made") && seen.contains("and then?⏎"));
    assert!(crate::font::Font::new(8, 16).has('⏎'));
    screen.bottom(Bottom::Nothing);
    assert!(!screen.cells().contains("and then"));
}

/// Pixels of the whole screen.
fn pixels(screen: &mut Screen, width: usize, height: usize) -> Vec<u32> {
    let mut display = Display::new(width, height);
    screen.forget();
    display.draw(screen);
    display.pixels
}

#[test]
fn writing_systems_side_by_side() {
    let mut screen = screen(40, 16);
    // As tokens come: also parts of what will be one character to a reader.
    let text = "日本語 🙂 café नमस्ते 🇩🇪 👩\u{200d}💻 ❤\u{fe0f} 한국어, ไทย";
    for letter in text.chars() {
        screen.show(Style::Answer, &letter.to_string());
        screen.draw(&mut |_, _, _| ());
    }
    assert_eq!(
        pane(&mut screen)[..2],
        [
            "日本語 🙂 café नमस्ते 🇩🇪 👩\u{200d}💻 ❤\u{fe0f} 한국어,",
            "ไทย"
        ]
    );
    // Each character is drawn, no two of a row are alike, and none is the box of what is missing.
    let cells: Vec<String> = screen
        .symbols(0)
        .into_iter()
        .filter(|cell| cell != " ")
        .collect();
    let image = |symbol: &str| {
        let mut screen = self::screen(40, 16);
        screen.show(Style::Answer, symbol);
        pixels(&mut screen, 320, 256)
    };
    let boxes = [image(" "), image("\u{e000}"), image("\u{20000}")];
    let mut seen = boxes.to_vec();
    let mut columns = 0;
    for cell in cells {
        columns += llama2_console::width::cluster(&cell);
        let image = image(&cell);
        assert!(!seen.contains(&image), "{cell}");
        seen.push(image);
    }
    assert_eq!(columns, 6 + 2 + 4 + 4 + 2 + 2 + 2 + 7);
    // Rows break before a wide character that does not fit, never within it.
    for columns in 26..40 {
        let mut screen = self::screen(columns, 16);
        screen.show(Style::Answer, &"日本a語🙂".repeat(30));
        let rows = pane(&mut screen);
        for row in &rows[..6] {
            let wide = llama2_console::width::text(row);
            assert!(
                (columns - 5..=columns - 4).contains(&wide),
                "{columns}: {row}"
            );
        }
    }
}

#[test]
fn more_characters_than_are_kept_are_seen_all_the_same() {
    let mut screen = screen(60, 20);
    let mut display = Display::new(480, 320);
    let han: String = ('\u{4e00}'..'\u{6000}').collect();
    let mut shown = 0;
    for part in han.chars().collect::<Vec<_>>().chunks(100) {
        screen.show(Style::Answer, &part.iter().collect::<String>());
        display.draw(&mut screen);
        shown += part.len();
    }
    assert_eq!(shown, 0x1200);
    let mut fresh = self::screen(60, 20);
    fresh.show(Style::Answer, &han);
    assert_eq!(fresh.cells(), screen.cells());
    assert!(pixels(&mut fresh, 480, 320) == display.pixels);
}
