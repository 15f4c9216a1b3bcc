//! A server in memory: connections that lose bytes and clients as tests want them, a clock that
//! stands still, and a tiny model. The fuzzer `serve` includes this file, too.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Arguments,
    net::IpAddr,
    sync::OnceLock,
    time::Duration,
};

use llama2_engine::{
    chat::{DateTime, NO_CLOCK},
    layout::Encoding,
    model::Model,
    session::{Options, Session},
    tokenizer::Tokenizer,
};
use llama2_serve::{Config, ConnectionId, Lost, Machine, Network, Received, Server};

use llama2_testing::{
    family,
    kept::{Seed, seed},
    load,
};

/// A tiny model and its tokenizer, made once.
pub fn tiny() -> &'static (Model, Tokenizer) {
    static TINY: OnceLock<(Model, Tokenizer)> = OnceLock::new();
    TINY.get_or_init(|| {
        let found = family::FAMILIES.iter().find(|found| found.name == "llama");
        let mut file = found.unwrap().make(7, &|_| Encoding::F32);
        file.speak_with(&["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]);
        let bytes = file.bytes();
        let tokenizer = Tokenizer::from_gguf(&mut &bytes[..]).unwrap();
        (load(&bytes).unwrap().0, tokenizer)
    })
}

/// A connection, as its client sees it.
#[derive(Debug, Default)]
pub struct Line {
    /// Bytes that the server has not taken yet.
    pub to_server: VecDeque<u8>,
    /// Bytes that it has sent.
    pub to_client: Vec<u8>,
    /// The client has closed its side.
    pub has_ended: bool,
    /// The connection is lost.
    pub is_lost: bool,
    /// The server has closed it.
    pub is_closed: bool,
    /// Most bytes that go through at once.
    pub width: usize,
}

/// Connections.
#[derive(Debug, Default)]
pub struct Lines {
    pub all: BTreeMap<usize, Line>,
    fresh: VecDeque<usize>,
    next: usize,
}

impl Lines {
    /// Opens a connection on which at most `width` bytes go through at once.
    pub fn open(&mut self, width: usize) -> usize {
        let line = Line {
            width: width.max(1),
            ..Line::default()
        };
        self.next += 1;
        self.all.insert(self.next, line);
        self.fresh.push_back(self.next);
        self.next
    }
}

impl Network for Lines {
    fn accept(&mut self) -> Option<ConnectionId> {
        self.fresh.pop_front().map(ConnectionId)
    }

    fn receive(&mut self, ConnectionId(id): ConnectionId, buffer: &mut [u8]) -> Received {
        let line = self
            .all
            .get_mut(&id)
            .expect("the server knows its connections");
        assert!(!line.is_closed, "it was closed");
        if line.is_lost {
            return Received::Lost;
        }
        let count = line.to_server.len().min(buffer.len()).min(line.width);
        for (place, byte) in buffer.iter_mut().zip(line.to_server.drain(..count)) {
            *place = byte;
        }
        match count {
            0 if line.has_ended => Received::End,
            0 => Received::Nothing,
            count => Received::Bytes(count),
        }
    }

    fn send(&mut self, ConnectionId(id): ConnectionId, bytes: &[u8]) -> Result<usize, Lost> {
        let line = self
            .all
            .get_mut(&id)
            .expect("the server knows its connections");
        assert!(!line.is_closed, "it was closed");
        if line.is_lost {
            return Err(Lost);
        }
        let count = bytes.len().min(line.width);
        line.to_client.extend(&bytes[..count]);
        Ok(count)
    }

    fn close(&mut self, ConnectionId(id): ConnectionId, _: bool) {
        let line = self
            .all
            .get_mut(&id)
            .expect("the server knows its connections");
        assert!(!line.is_closed, "it was closed twice");
        line.is_closed = true;
    }

    fn peer(&self, _: ConnectionId) -> Option<IpAddr> {
        None
    }
}

/// A machine whose time passes when a test says so.
#[derive(Debug, Default)]
pub struct Still {
    pub now: Duration,
    drawn: u64,
    files: BTreeMap<String, Vec<u8>>,
}

impl Machine for Still {
    fn now(&self) -> Duration {
        self.now
    }

    fn unix_time(&self) -> u64 {
        1_700_000_000 + self.now.as_secs()
    }

    fn date(&self) -> DateTime {
        NO_CLOCK
    }

    fn random(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn save(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.files.insert(name.into(), bytes.into());
        Ok(())
    }

    fn load(&mut self, name: &str) -> Result<Vec<u8>, String> {
        self.files
            .get(name)
            .cloned()
            .ok_or_else(|| "there is none".into())
    }

    fn log(&mut self, _: Arguments<'_>) {}
}

/// A server with everything around it.
pub struct Bench {
    pub server: Server<'static>,
    session: Session<'static>,
    pub lines: Lines,
    pub machine: Still,
}

impl Bench {
    /// A server with `slots` slots, in a session whose first sequence is somebody else's.
    pub fn new(config: Config, slots: usize, positions: usize) -> Bench {
        let (model, tokenizer) = tiny();
        let options = Options {
            sequences: 1 + slots + config.kept,
            positions: Some(positions),
            ..Options::default()
        };
        let session = Session::new(model, options).unwrap();
        let machine = Still::default();
        let server = Server::new(config, tokenizer, &session, (1, slots), &machine);
        Bench {
            server,
            session,
            lines: Lines::default(),
            machine,
        }
    }

    /// Polls and makes a pass, if there is one to make.
    pub fn turn(&mut self) {
        let session = &mut self.session;
        self.server
            .poll(Some(session), &mut self.lines, &mut self.machine);
        if !self.server.is_idle() {
            self.server.step(session, &mut self.machine, None);
        }
        self.server
            .poll(Some(session), &mut self.lines, &mut self.machine);
    }

    /// Polls, and answers what waits with a text in place of the model's.
    pub fn recite(&mut self, text: &str) {
        let session = &mut self.session;
        self.server
            .poll(Some(session), &mut self.lines, &mut self.machine);
        self.server.recite(text, session, &mut self.machine);
        self.server
            .poll(Some(session), &mut self.lines, &mut self.machine);
    }

    /// Goes on until no task runs or waits.
    pub fn finish(&mut self) {
        for _ in 0..100_000 {
            self.turn();
            if self.server.is_idle() {
                // What is written goes out in pieces.
                (0..64).for_each(|_| self.turn());
                return;
            }
        }
        panic!("a task does not end: {:?}", self.server.status());
    }
}

/// Requests that fuzzed bytes choose from, with a place for some of them.
const REQUESTS: [(&str, &str); 14] = [
    ("GET /health", ""),
    ("GET /slots", ""),
    ("GET /metrics", ""),
    ("POST /completion", r#"{"prompt":"ab","n_predict":3,"#),
    (
        "POST /completion",
        r#"{"prompt":["a",[1,2]],"stream":true,"n_predict":2,"#,
    ),
    (
        "POST /v1/completions",
        r#"{"prompt":"b","max_tokens":4,"n":2,"#,
    ),
    (
        "POST /v1/chat/completions",
        r#"{"max_tokens":3,"messages":[{"role":"user","content":"a"}],"#,
    ),
    (
        "POST /v1/chat/completions",
        r#"{"stream":true,"max_tokens":3,"messages":["#,
    ),
    (
        "POST /v1/messages",
        r#"{"max_tokens":2,"messages":[{"role":"user","content":"a"}],"#,
    ),
    (
        "POST /v1/responses",
        r#"{"max_output_tokens":2,"input":"a","#,
    ),
    (
        "POST /api/chat",
        r#"{"options":{"num_predict":2},"messages":[{"role":"user","content":"a"}],"#,
    ),
    ("POST /tokenize", r#"{"with_pieces":true,"content":"#),
    ("POST /slots/0?action=save", r#"{"filename":"a","#),
    ("POST /slots/1?action=restore", r#"{"filename":"a","#),
];

/// Lets bytes say what clients do: whatever it is, nobody panics, every answer begins as one, and
/// in the end nothing is left.
pub fn act(bytes: &[u8]) {
    let config = Config {
        kept: 2,
        most_tokens: Some(8),
        shows_metrics: true,
        saves_slots: true,
        clears_idle: bytes.first().is_some_and(|byte| byte & 1 == 1),
        shifts_context: bytes.first().is_some_and(|byte| byte & 2 == 2),
        most_body: 4096,
        most_connections: 6,
        ..Config::default()
    };
    let mut bench = Bench::new(config, 2, 48);
    let mut bytes = bytes.iter().copied().skip(1);
    let mut ids: Vec<usize> = Vec::new();
    while let Some(what) = bytes.next() {
        let which = bytes.next().unwrap_or(0);
        let id = ids.get(usize::from(which) % ids.len().max(1)).copied();
        let line = id.and_then(|id| bench.lines.all.get_mut(&id));
        match (what % 8, line) {
            (0, _) | (_, None) => ids.push(bench.lines.open(usize::from(which) * 7)),
            // Bytes as they are.
            (1 | 2, Some(line)) => {
                let count = bytes.next().unwrap_or(0);
                line.to_server.extend(bytes.by_ref().take(count.into()));
            }
            // A request with a body that begins well.
            (3 | 4, Some(line)) => {
                let (head, start) = REQUESTS[usize::from(what / 8) % REQUESTS.len()];
                let count = bytes.next().unwrap_or(0);
                let mut body = start.as_bytes().to_vec();
                body.extend(bytes.by_ref().take(count.into()));
                let length = body.len();
                let head =
                    format!("{head} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
                line.to_server.extend(head.bytes());
                line.to_server.extend(body);
            }
            (5, Some(line)) if what & 8 == 8 => line.is_lost = true,
            (5, Some(line)) => line.has_ended = true,
            (6, _) => bench.machine.now += Duration::from_secs(which.into()),
            _ => bench.turn(),
        }
    }
    bench.turn();
    for line in bench.lines.all.values_mut() {
        line.has_ended = true;
        let answer = &line.to_client;
        assert!(
            answer.is_empty() || answer.starts_with(&b"HTTP/1.1 "[..answer.len().min(9)]),
            "{}",
            String::from_utf8_lossy(answer)
        );
    }
    bench.finish();
    bench.machine.now += Duration::from_secs(1000);
    for _ in 0..4 {
        bench.turn();
        bench.machine.now += Duration::from_secs(1000);
    }
    let status = bench.server.status();
    assert_eq!(
        (status.connections, status.running, status.waiting),
        (0, 0, 0)
    );
}

/// Inputs for [`act`]: each request whole on a connection of its own, and passes until it is
/// answered.
pub fn seeds() -> Vec<Seed> {
    let each = (0u8..).zip(&REQUESTS).map(|(number, (head, start))| {
        let end: &[u8] = match start.ends_with('[') {
            true => br#"{"role":"user","content":"b"}]}"#,
            false if start.ends_with(':') => b"\"a\"}",
            false => br#""seed":1,"temperature":1}"#,
        };
        let end = if start.is_empty() { &b""[..] } else { end };
        let mut bytes = vec![number, 0, 200, 3 + 8 * number, 0, end.len() as u8];
        bytes.extend(end);
        bytes.extend([7, 0].repeat(12));
        seed(head.replace(['/', ' ', '?'], "-"), bytes)
    });
    each.collect()
}
