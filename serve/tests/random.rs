//! Requests that come and go by chance: each gets the text that it gets alone, whatever the others
//! do, and nothing is left in the end.

use std::collections::HashMap;

mod bench;
mod bytes;

use bench::{Bench, act, seeds};
use llama2_serve::Config;
use llama2_testing::{kept::replay, random::Random};

/// A client's request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wish {
    prompt: &'static str,
    tokens: u64,
    /// 0: the most likely token each time.
    seed: u64,
}

impl Wish {
    fn random(random: &mut Random) -> Wish {
        const PROMPTS: [&str; 8] = [
            "a",
            "abcdefgh",
            "abcdefghijklmnop",
            "abcdefgh ijklmnop",
            "zyxw",
            "abcdefgh zyxw",
            "hello there",
            "hello there and again",
        ];
        Wish {
            prompt: PROMPTS[random.next() as usize % PROMPTS.len()],
            tokens: 1 + random.next() % 12,
            seed: random.next() % 4,
        }
    }

    fn request(&self, streams: bool, cache: bool) -> String {
        let Wish {
            prompt,
            tokens,
            seed,
        } = self;
        let temperature = if *seed == 0 { 0.0 } else { 1.5 };
        let body = format!(
            r#"{{"prompt":"{prompt}","n_predict":{tokens},"seed":{seed},"ignore_eos":true,
            "temperature":{temperature},"stream":{streams},"cache_prompt":{cache}}}"#
        );
        let length = body.len();
        format!("POST /completion HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
    }
}

/// The text of an answer, if all of it has come.
fn text(answer: &[u8]) -> Option<String> {
    let answer = String::from_utf8_lossy(answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    let contents = |text: &str| -> String {
        let values = text.split(r#""content":""#).skip(1);
        values
            .filter_map(|rest| Some(rest.split_once(r#"","tokens""#)?.0))
            .collect()
    };
    match head.contains("chunked") {
        true => body.ends_with("0\r\n\r\n").then(|| contents(body)),
        false => {
            let length = head
                .split_once("Content-Length: ")?
                .1
                .lines()
                .next()?
                .parse::<usize>()
                .ok()?;
            (body.len() == length).then(|| contents(body))
        }
    }
}

/// The text of a request that is alone.
fn alone(wish: &Wish) -> String {
    let mut bench = Bench::new(Config::default(), 1, 64);
    let id = bench.lines.open(1 << 20);
    let request = wish.request(false, false);
    bench
        .lines
        .all
        .get_mut(&id)
        .unwrap()
        .to_server
        .extend(request.bytes());
    bench.turn();
    bench.finish();
    text(&bench.lines.all[&id].to_client).unwrap()
}

#[test]
fn each_request_gets_its_text_whatever_the_others_do() {
    // More by hand: LLAMA2_MANY=100000.
    let many = std::env::var("LLAMA2_MANY")
        .ok()
        .and_then(|many| many.parse().ok());
    let many: u64 = many.unwrap_or(1_500);
    let mut want: HashMap<Wish, String> = HashMap::new();
    for (seed, clears_idle, kept) in [(1, false, 0), (2, false, 2), (3, true, 2)] {
        let random = &mut Random(seed);
        let config = Config {
            clears_idle,
            kept,
            ..Config::default()
        };
        let mut bench = Bench::new(config, 3, 64);
        let mut open: Vec<(usize, Wish)> = Vec::new();
        let (mut whole, mut left) = (0, 0);
        for _ in 0..many {
            match random.next() % 4 {
                0 | 1 if open.len() < 12 => {
                    let wish = Wish::random(random);
                    let id = bench.lines.open(1 + random.next() as usize % 400);
                    let request = wish.request(random.next() & 1 == 0, random.next() & 3 > 0);
                    let line = bench.lines.all.get_mut(&id).unwrap();
                    line.to_server.extend(request.bytes());
                    open.push((id, wish));
                }
                2 if !open.is_empty() && random.next().is_multiple_of(3) => {
                    let (id, _) = open.swap_remove(random.next() as usize % open.len());
                    let line = bench.lines.all.get_mut(&id).unwrap();
                    match random.next() % 2 {
                        0 => line.is_lost = true,
                        _ => line.has_ended = true,
                    }
                    left += 1;
                }
                _ => bench.turn(),
            }
            open.retain(|(id, wish)| {
                let line = bench.lines.all.get_mut(id).unwrap();
                let Some(said) = text(&line.to_client) else {
                    return true;
                };
                let want = want.entry(wish.clone()).or_insert_with(|| alone(wish));
                assert_eq!(&said, want, "{wish:?}");
                line.has_ended = true;
                whole += 1;
                false
            });
            bench.lines.all.retain(|_, line| !line.is_closed);
        }
        bench.finish();
        assert!(
            whole > many / 8 && left > many / 50,
            "{whole} whole, {left} left"
        );
        for (id, wish) in open {
            let want = want.entry(wish.clone()).or_insert_with(|| alone(&wish));
            let line = &bench.lines.all[&id];
            assert_eq!(text(&line.to_client).as_ref(), Some(&*want), "{wish:?}");
        }
    }
}

#[test]
fn clients_may_do_what_they_like() {
    replay("serve", seeds(), act);
    let random = &mut Random(9);
    for _ in 0..300 {
        let length = random.next() % 300;
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        act(&bytes);
    }
}

#[test]
fn bytes_may_be_what_they_like() {
    replay("http", bytes::seeds("http"), bytes::run);
    let random = &mut Random(10);
    for _ in 0..2000 {
        let length = random.next() % 300;
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        bytes::run(&bytes);
    }
}
