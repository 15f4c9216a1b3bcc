//! Pictures of each view for inspection: `cargo run -p llama2-screen --example pictures` writes
//! them to `target/screen/`.

use std::{fs::File, io::BufWriter, path::PathBuf};

use llama2_console::{
    front::{Bottom, Front, Gauge, Menu, MenuRow, Style},
    keys::Key,
    status::{End, Phase, Status, Summary},
    view::Prompt,
};
use llama2_screen::{Area, Screen};

const PROMPT: Prompt<'static> = Prompt {
    first: "> ",
    more: ". ",
};

const STORY: &str = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park with her friends. One day, Lily saw a big, red ball in the sky. She wanted to catch it, but it was too high. Her friend Tom said, “Let’s climb the tree!” So they climbed, and climbed, until they could touch the clouds.";

const ANSWER: &str = "## Llamas and alpacas\n\nBoth are **camelids** from the *Andes*, but a llama is about twice as large. The differences that you see first:\n\n| | Llama | Alpaca |\n|---|---|---|\n| Weight | 130 to 200 kg | 48 to 84 kg |\n| Ears | long, like *bananas* | short and pointed |\n| Kept for | carrying loads, guarding sheep | its **wool**, finer than cashmere |\n\n1. Look at the ears.\n2. If there are none to be seen, look at the size:\n   - taller than you: a llama\n   - not taller than your shoulder: an alpaca, whose `wool` also covers most of its face\n\n```python\ndef is_llama(height):\n    return height > 1.5  # metres, head included\n```\n\n> They are said to hum when they are **content";

fn line(text: &str) -> Bottom<'_> {
    Bottom::Line {
        prompt: PROMPT,
        text,
        cursor: text.len(),
    }
}

fn banner(screen: &mut Screen) {
    screen.show(Style::Title, "llama2.efi 0.1.0\n");
    for (name, value) in [
        ("machine ", "4 of 8 cores, AVX2, 3.4 GHz"),
        ("memory  ", "15.6 GiB, 14.9 GiB free"),
        (
            "model   ",
            "stories15M.bin: 15 M parameters in F32, context 256",
        ),
    ] {
        screen.show(Style::Name, name);
        screen.show(Style::Info, value);
        screen.show(Style::Info, "\n");
    }
    screen.show(
        Style::Info,
        "Type /help for the commands. Esc stops a reply.\n\n",
    );
}

fn ask(screen: &mut Screen, question: &str, answer: &str) {
    screen.bottom(line(question));
    screen.keep_line();
    screen.show(Style::Answer, "\n");
    screen.show(Style::Answer, answer);
    screen.show(Style::Answer, "\n");
    let summary = Summary {
        decode: (129, 1_600_000),
        first: 250_000,
        context: (153, 2048),
        end: End::Own,
    };
    screen.show(Style::Summary, &summary.line(90));
    screen.show(Style::Summary, "\n\n");
}

fn gauge(screen: &mut Screen, model: &str) {
    for i in 0..30 {
        let wave = [0.0, 4.0, 9.0, 3.0, 1.0, 7.0, 5.0];
        screen.gauge(&Gauge {
            model,
            context: (1234, 2048),
            rate: Some(72.0 + wave[i % 7] - 60.0 / (i + 1) as f32),
        });
    }
}

fn talk(screen: &mut Screen) {
    banner(screen);
    ask(screen, "Tell me a story about a girl.", STORY);
    ask(
        screen,
        "Grüße aus Łódź! Что ты умеешь? Μιλάς ελληνικά;",
        "Ünïcode – “quoted”, ‘single’ … é e\u{301} ñ ő ș; Привет, мир; Καλημέρα κόσμε; 日本語 is a box of two columns each.\n\n  • bullets and → arrows ⇒ too, ½ × 4 ≤ 3 ± 1 ∞ √2\n  ┌──────┬──────┐  ╔══╦══╗  ╭───────────╮\n  │ one  │ two  │  ║  ║  ║  │ ▁▂▃▄▅▆▇█  │\n  └──────┴──────┘  ╚══╩══╝  ╰───────────╯",
    );
    screen.show(Style::Thought, "The person wants to know the difference between a llama and an alpaca. Size, ears, wool: three sentences will do.\n\n");
    screen.show(Style::Answer, "A llama is about twice as large.\n");
    screen.show(
        Style::Warning,
        "The context is nearly full: the oldest exchange will be left out.\n",
    );
    screen.show(
        Style::Error,
        "talk.jsonl: 4096 bytes do not fit on the volume, which has 512 left: delete a file.\n",
    );
}

fn models(count: usize) -> Menu {
    let row = |cells: [&str; 4], grey| MenuRow {
        cells: cells.iter().map(|cell| cell.to_string()).collect(),
        grey,
    };
    let mut rows = vec![
        row(
            [
                "stories15M.bin",
                "F32",
                "58 MiB",
                "needs 71 MiB of 1.9 GiB free",
            ],
            false,
        ),
        row(
            [
                "tinyllama-1.1b-chat.Q4_K_M.gguf",
                "Q4_K_M",
                "638 MiB",
                "needs 762 MiB of 1.9 GiB free",
            ],
            false,
        ),
        row(
            [
                "smollm2-360m-instruct-q8_0.gguf",
                "Q8_0",
                "369 MiB",
                "needs 451 MiB of 1.9 GiB free",
            ],
            false,
        ),
        row(
            [
                "llama-2-7b-chat.Q4_0.gguf",
                "Q4_0",
                "3.6 GiB",
                "too large: needs 4.1 GiB of 1.9 GiB free",
            ],
            true,
        ),
    ];
    for i in rows.len()..count {
        rows.push(row(
            [
                &format!("model-{i:03}.gguf"),
                "Q8_0",
                "1.1 GiB",
                "needs 1.2 GiB of 1.9 GiB free",
            ],
            i % 5 == 0,
        ));
    }
    Menu {
        title: "Which model?".into(),
        rows,
        selected: 1,
        note: "↑ ↓ choose, Return takes it; in 7 s the first is taken".into(),
    }
}

/// An answer in many scripts, with emoji.
const HELLO: &str = "\
Here is how people greet each other 🌍:

🇨🇳 Chinese: 你好，很高兴认识你！
🇯🇵 Japanese: こんにちは、お元気ですか？ 日本語の漢字とカタカナ。
🇰🇷 Korean: 안녕하세요, 만나서 반갑습니다.
🇮🇳 Hindi: नमस्ते, आप कैसे हैं?
🇹🇭 Thai: สวัสดีครับ
🇬🇷 Greek: Γειά σου κόσμε!
🇷🇺 Russian: Здравствуй, мир!
🇫🇷 French: Ça va très bien au café, merci ☕
🇬🇪 Georgian: გამარჯობა, Armenian: Բարեւ, Amharic: ሰላም

- A heart ❤️, a family 👨‍👩‍👧, thumbs 👍🏽, a coder 👩‍💻, a key 1️⃣, a rocket 🚀 and a warning ⚠️
- 1 日元 ≈ 0.05 元, ∀x ∈ ℝ: 𝑥² ≥ 0, ⟨ψ|φ⟩, ⌘ ⏎ ✓ ✗ ★ ☂ ♞ ⚛ ☯
";

struct Display {
    width: usize,
    height: usize,
    pixels: Vec<u32>,
}

impl Display {
    fn put(&mut self, area: Area, pixels: &[u32], stride: usize) {
        for y in area.y..area.y + area.height {
            let row = y * stride + area.x..y * stride + area.x + area.width;
            let to = y * self.width + area.x;
            self.pixels[to..to + area.width].copy_from_slice(&pixels[row]);
        }
    }

    fn save(&self, name: &str) {
        let folder = PathBuf::from("target/screen");
        std::fs::create_dir_all(&folder).expect("a folder for the pictures");
        let path = folder.join(format!("{name}-{}x{}.png", self.width, self.height));
        let file = BufWriter::new(File::create(&path).expect("a picture's file"));
        let mut encoder = png::Encoder::new(file, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let bytes: Vec<u8> = self
            .pixels
            .iter()
            .flat_map(|pixel| pixel.to_be_bytes()[1..].to_vec())
            .collect();
        let mut writer = encoder.write_header().expect("a picture's header");
        writer.write_image_data(&bytes).expect("a picture's pixels");
        println!("{}", path.display());
    }
}

/// Name of a view, and the function that shows it.
type View = (&'static str, fn(&mut Screen));

fn main() {
    let views: [View; 10] = [
        ("talk", |screen| {
            talk(screen);
            gauge(screen, "tinyllama-1.1b-chat.Q4_K_M.gguf");
            screen.bottom(Bottom::Line {
                prompt: PROMPT,
                text: "And what do they eat, then?",
                cursor: 13,
            });
        }),
        ("markdown", |screen| {
            screen.show(Style::Title, "llama2.efi 0.1.0\n\n");
            screen.bottom(line(
                "What is the difference between a llama and an alpaca?",
            ));
            screen.keep_line();
            screen.show(Style::Markdown, ANSWER);
            gauge(screen, "Qwen3-8B-Q4_K_M.gguf");
        }),
        ("menu", |screen| {
            banner(screen);
            screen.bottom(Bottom::Menu(&models(4)));
        }),
        ("many", |screen| {
            talk(screen);
            gauge(screen, "stories15M.bin");
            let mut menu = models(300);
            menu.selected = 57;
            screen.bottom(Bottom::Menu(&menu));
        }),
        ("loading", |screen| {
            banner(screen);
            screen.bottom(Bottom::Note(
                "Loading [#########...........] 45 % of 638 MiB at 93 MB/s",
            ));
        }),
        ("reading", |screen| {
            banner(screen);
            ask(screen, "Tell me a story.", STORY);
            gauge(screen, "stories15M.bin");
            screen.bottom(line("Another one, please."));
            screen.keep_line();
            screen.bottom(Bottom::Status(&Status {
                phase: Phase::Prefill {
                    done: 700,
                    total: 1024,
                },
                microseconds: 2_000_000,
                context: (700, 2048),
            }));
        }),
        ("back", |screen| {
            for _ in 0..4 {
                talk(screen);
            }
            gauge(screen, "stories15M.bin");
            screen.draw(&mut |_, _, _| ());
            screen.scroll(Key::PageUp);
            screen.show(Style::Answer, "More text comes meanwhile.\n");
            screen.bottom(Bottom::Status(&Status {
                phase: Phase::Decode { tokens: 77 },
                microseconds: 1_000_000,
                context: (700, 2048),
            }));
        }),
        ("typing", |screen| {
            banner(screen);
            gauge(screen, "stories15M.bin");
            screen.bottom(line(&format!(
                "{STORY}\nA second line, which the person began with Alt-Enter\nand a third"
            )));
        }),
        ("long", |screen| {
            banner(screen);
            gauge(screen, "stories15M.bin");
            screen.bottom(line(&STORY.repeat(13)));
        }),
        ("unicode", |screen| {
            ask(screen, "How do people say hello? 👋🏽", HELLO);
            gauge(screen, "Qwen3-4B-Instruct.Q4_K_M.gguf");
            screen.bottom(line("谢谢！再来一个 🙂"));
        }),
    ];
    for (width, height) in [
        (640, 480),
        (800, 600),
        (1366, 768),
        (1920, 1080),
        (3840, 2160),
    ] {
        for (name, view) in &views {
            if !matches!(width, 800 | 1920) && !["talk", "unicode"].contains(name) {
                continue;
            }
            let mut screen = Screen::new(width, height).expect("a screen");
            let mut display = Display {
                width,
                height,
                pixels: vec![0x00ff_00ff; width * height],
            };
            view(&mut screen);
            screen.forget();
            screen.draw(&mut |area, pixels, stride| display.put(area, pixels, stride));
            display.save(name);
        }
    }
}
