//! Bytes of clients, without a model in the loop: HTTP in pieces of any size, and JSON through
//! every address up to the task that it becomes, which is answered with a text that is given
//! ([`Server::recite`]). The fuzzer `http` includes this file and `bench`, too.
//!
//! [`Server::recite`]: llama2_serve::Server::recite

use std::{cell::RefCell, str, sync::OnceLock};

use llama2_serve::{Config, Origins};
use llama2_testing::kept::{Seed, kept, seed};
use serde_json::{Map, Number, Value, json};

use crate::bench::Bench;

/// Type of an answer in JSON.
const JSON: &str = "application/json; charset=utf-8";
/// Text that each task is answered with: of what JSON and streams must escape.
const TEXT: &str = "a\"\\\n\r\u{e9}\u{1f999}\u{2028}";
/// Key of the servers that have one.
const KEY: &str = "k";
/// Positions of a context.
const POSITIONS: usize = 96;
/// Most bytes of a request's body.
const MOST_BODY: usize = 64 << 10;

/// Addresses that take JSON.
const ADDRESSES: [&str; 22] = [
    "/completion",
    "/completions",
    "/v1/completions",
    "/chat/completions",
    "/v1/chat/completions",
    "/v1/chat/completions/input_tokens",
    "/infill",
    "/tokenize",
    "/detokenize",
    "/apply-template",
    "/v1/responses",
    "/v1/responses/input_tokens",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/api/chat",
    "/api/generate",
    "/api/show",
    "/slots/0?action=save",
    "/slots/1?action=restore",
    "/slots/0?action=erase",
    "/v1/embeddings",
    "/props",
];

/// Names and texts that requests consist of.
const WORDS: &str = "\
    messages role content user assistant system tool developer prompt input text type input_text \
    output_text image_url input_image stream n n_cmpl n_predict max_tokens max_completion_tokens \
    max_output_tokens num_predict seed temperature top_k top_p min_p typ_p xtc_probability \
    repeat_last_n repeat_penalty dry_multiplier dry_base dry_allowed_length dry_penalty_last_n \
    dry_sequence_breakers top_n_sigma logit_bias token bias stop stop_sequences n_probs logprobs \
    top_logprobs post_sampling_probs cache_prompt return_tokens return_progress \
    timings_per_token ignore_eos verbose stream_options include_usage id_slot response_fields \
    t_max_predict_ms n_keep n_discard reasoning_format none adaptive_target grammar json_schema \
    lora multimodal_data prompt_string echo suffix tools functions tool_choice auto \
    function_call function response_format json_object tool_calls arguments \
    add_generation_prompt continue_final_message chat_template_kwargs enable_thinking \
    reasoning_effort reasoning_content input_prefix input_suffix input_extra filename \
    add_special parse_special with_pieces tokens thinking disabled redacted_thinking tool_use \
    tool_result tool_use_id id name description input_schema output_format image instructions \
    reasoning effort format function_call_output call_id output previous_response_id options \
    think raw images model tiny:latest generation_settings/seed 0 -1";

/// Texts with something special in them.
const TEXTS: [&str; 6] = [
    "{\"a\":[1]}",
    "<|im_end|>",
    "<|fim_middle|>",
    "</think>",
    "\u{e9}\u{fffd}\0",
    "",
];

thread_local! {
    /// Servers without a key and with one: two to be compared, and one for what is not. Kept from
    /// input to input, because to make one takes longer than to ask it.
    static BENCHES: RefCell<Vec<[Bench; 3]>> = const { RefCell::new(Vec::new()) };
}

/// A server without a key, and one with a key and much that is different.
fn config(is_keyed: bool) -> Config {
    let plain = Config {
        names: vec!["tiny".into()],
        model_kind: "llama 1M F32".into(),
        shows_metrics: true,
        has_page: false,
        saves_slots: true,
        most_body: MOST_BODY,
        ..Config::default()
    };
    match is_keyed {
        false => plain,
        true => Config {
            keys: vec!["another".into(), KEY.into()],
            origins: Origins::Local,
            shows_slots: false,
            shows_metrics: false,
            saves_slots: false,
            is_verbose: true,
            most_tokens: Some(4),
            shifts_context: true,
            prefills: false,
            thinks: Some(false),
            ..plain
        },
    }
}

/// An answer.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut own = self.headers.iter().filter(|(own, _)| own == name);
        let found = own.next();
        assert!(own.next().is_none(), "{name} twice: {self:?}");
        found.map(|(_, value)| &value[..])
    }
}

fn parsed(json: &[u8]) -> Value {
    serde_json::from_slice(json)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(json)))
}

/// Line of an answer's head, without its end.
fn line<'a>(rest: &mut &'a [u8]) -> &'a str {
    let at = rest.iter().position(|byte| *byte == b'\r');
    let at = at.unwrap_or_else(|| panic!("no line: {}", String::from_utf8_lossy(rest)));
    let line = str::from_utf8(&rest[..at]).expect("a line is text");
    // Of what a client has sent no line may come: behind it would be an answer of its own.
    assert!(
        !line.contains('\n') && rest.get(at + 1) == Some(&b'\n'),
        "{line:?}"
    );
    *rest = &rest[at + 2..];
    line
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    assert!(length <= rest.len(), "an answer ends too early");
    let (taken, behind) = rest.split_at(length);
    *rest = behind;
    taken
}

/// Reads what a server has sent. Words that a client may go on are left out: they depend on when
/// its bytes came.
fn answers(mut rest: &[u8]) -> Vec<Answer> {
    let mut all: Vec<Answer> = Vec::new();
    while !rest.is_empty() {
        let first = line(&mut rest);
        let (status, reason) = first
            .strip_prefix("HTTP/1.1 ")
            .and_then(|status| status.split_once(' '))
            .unwrap_or_else(|| panic!("no answer: {first}"));
        let status = status.parse().expect("a status is a number");
        if status == 100 {
            assert_eq!(line(&mut rest), "");
            continue;
        }
        assert!(reason != "Unknown", "{first}");
        let is_over = |last: &Answer| last.header("connection") == Some("close");
        assert!(
            !all.last().is_some_and(is_over),
            "an answer behind the last"
        );
        let mut headers = Vec::new();
        loop {
            let (name, value) = match line(&mut rest) {
                "" => break,
                line => line.split_once(": ").expect("a header has a value"),
            };
            headers.push((name.to_ascii_lowercase(), value.to_string()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        match (
            answer.header("content-length"),
            answer.header("transfer-encoding"),
        ) {
            (Some(length), None) => {
                let length = length.parse().expect("a length is a number");
                // An answer to HEAD has no body.
                if !rest.is_empty() && !rest.starts_with(b"HTTP/1.1 ") {
                    answer.body = take(&mut rest, length).to_vec();
                }
            }
            (None, Some("chunked")) => loop {
                let size = usize::from_str_radix(line(&mut rest), 16).expect("a chunk has a size");
                answer.body.extend(take(&mut rest, size));
                assert_eq!(line(&mut rest), "");
                if size == 0 {
                    break;
                }
            },
            (None, None) => {
                assert_eq!(answer.header("connection"), Some("close"));
                answer.body = std::mem::take(&mut rest).to_vec();
            }
            other => panic!("the length is told twice: {other:?}"),
        }
        all.push(answer);
    }
    all
}

/// Checks what holds for all answers: a body is what it says, and an error has a shape.
fn check(answer: &Answer) -> Option<Value> {
    let kind = answer.header("content-type").expect("an answer has a type");
    if answer.status != 200 {
        assert_eq!(kind, JSON);
        // Not of an answer to HEAD.
        let value = (!answer.body.is_empty()).then(|| parsed(&answer.body));
        value
            .iter()
            .for_each(|value| check_error(answer.status, value));
        return value;
    }
    match kind {
        _ if answer.body.is_empty() => (),
        "text/event-stream" => {
            let text = str::from_utf8(&answer.body).expect("a stream is text");
            let text = text.strip_suffix("\n\n").expect("an event ends");
            for event in text.split("\n\n") {
                let (name, data) = match event.split_once('\n') {
                    Some((name, data)) => (name.strip_prefix("event: "), data),
                    None => (None, event),
                };
                let data = data.strip_prefix("data: ").expect("an event has data");
                assert!(!data.contains('\n'), "{event:?}");
                if data == "[DONE]" {
                    continue;
                }
                let data = parsed(data.as_bytes());
                assert!(name.is_none_or(|name| data["type"] == name), "{event}");
            }
        }
        "application/x-ndjson" => {
            let lines = answer.body.strip_suffix(b"\n").expect("a line ends");
            let lines: Vec<Value> = lines.split(|byte| *byte == b'\n').map(parsed).collect();
            let last = lines.last().expect("a stream has an end");
            assert_eq!(last["done"], true, "{last}");
        }
        JSON => return Some(parsed(&answer.body)),
        _ => assert!(kind.starts_with("text/plain"), "{kind}"),
    }
    None
}

/// Checks an error: in OpenAI's shape, Anthropic's, or Ollama's.
fn check_error(status: u16, value: &Value) {
    let is_known = matches!(
        status,
        400 | 401 | 403 | 404 | 405 | 413 | 431 | 500 | 501 | 505
    );
    assert!(is_known, "{status} {value}");
    let error = &value["error"];
    let sentence = error.as_str().or(error["message"].as_str());
    let sentence = sentence.unwrap_or_else(|| panic!("no sentence: {value}"));
    assert!(!sentence.is_empty(), "{value}");
    if !error.is_string() {
        assert_eq!(error["code"], status, "{value}");
        assert!(error["type"].is_string(), "{value}");
    }
    // Nobody's request is the server's fault.
    let is_own =
        sentence.starts_with("image input is not supported") || sentence == "there is none";
    assert!(status != 500 || is_own, "{value}");
}

/// Checks the answer to JSON sent to an address.
fn check_json(address: &str, answer: &Answer, value: Option<Value>) {
    let Some(value) = value else {
        return;
    };
    if answer.status != 200 {
        let is_own = match address {
            _ if address.starts_with("/api/") => value["error"].is_string(),
            _ if address.starts_with("/v1/messages") => value["type"] == "error",
            _ => value["error"].is_object() && value.get("type").is_none(),
        };
        assert!(is_own, "{address}: {value}");
        return;
    }
    // What was said is what is answered.
    for place in [
        "/content",
        "/choices/0/text",
        "/choices/0/message/content",
        "/output/0/content/0/text",
        "/content/0/text",
        "/message/content",
        "/response",
    ] {
        let is_answer = !address.contains("tokenize") && value["done_reason"] != "load";
        if let Some(text) = value
            .pointer(place)
            .and_then(Value::as_str)
            .filter(|_| is_answer)
        {
            assert_eq!(text, TEXT, "{address}: {value}");
        }
    }
    let counts = [
        "/tokens_evaluated",
        "/usage/prompt_tokens",
        "/usage/input_tokens",
    ];
    for count in counts.iter().filter_map(|place| value.pointer(place)) {
        let most = 128 * POSITIONS as u64;
        assert!(count.as_u64().is_some_and(|count| count < most), "{value}");
    }
    if let Some(settings) = value.get("generation_settings") {
        let is_number = |name: &str| settings[name].as_f64().is_some_and(f64::is_finite);
        let all = [
            "temperature",
            "top_p",
            "min_p",
            "dry_base",
            "seed",
            "n_predict",
        ];
        assert!(all.into_iter().all(is_number), "{settings}");
    }
}

/// Sends bytes to a server, so many at once, until it has nothing more to say.
fn ask(bench: &mut Bench, bytes: &[u8], width: usize) -> Vec<u8> {
    bench.machine = Default::default();
    bench.lines = Default::default();
    let id = bench.lines.open(width);
    let to = |bench: &mut Bench| {
        bench
            .lines
            .all
            .get_mut(&id)
            .expect("it is open")
            .to_client
            .len()
    };
    let line = bench.lines.all.get_mut(&id).expect("it is open");
    line.to_server.extend(bytes);
    loop {
        let before = to(bench);
        bench.recite(TEXT);
        if bench.server.is_idle() && to(bench) == before {
            break;
        }
    }
    let line = bench.lines.all.get_mut(&id).expect("it is open");
    line.has_ended = true;
    bench.recite(TEXT);
    let status = bench.server.status();
    let left = (status.connections, status.running, status.waiting);
    assert_eq!(left, (0, 0, 0), "something is left");
    bench.lines.all.remove(&id).expect("it was open").to_client
}

/// Head of a request, and its body by length or in chunks of so many bytes.
fn request(address: &str, headers: &str, body: &[u8], chunk: Option<usize>) -> Vec<u8> {
    let start = format!("POST {address} HTTP/1.1\r\nHost: localhost\r\n{headers}");
    let Some(chunk) = chunk else {
        let mut all = format!("{start}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
        all.extend(body);
        return all;
    };
    let mut all = format!("{start}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for piece in body.chunks(chunk) {
        all.extend(format!("{:X};a=\"b\"\r\n", piece.len()).bytes());
        all.extend(piece);
        all.extend(b"\r\n");
    }
    all.extend(b"0\r\nA: b\r\n\r\n");
    all
}

/// Bytes that say which JSON a client sends: whatever they are, it is JSON.
struct Script<'a> {
    bytes: std::slice::Iter<'a, u8>,
}

impl Script<'_> {
    fn next(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or(0)
    }

    fn word(&mut self) -> String {
        static ALL: OnceLock<Vec<&str>> = OnceLock::new();
        let all = ALL.get_or_init(|| TEXTS.into_iter().chain(WORDS.split(' ')).collect());
        all.get(usize::from(self.next()))
            .copied()
            .unwrap_or("a")
            .to_string()
    }

    fn number(&mut self) -> Number {
        const NUMBERS: [f64; 8] = [0.5, -0.0, 1e300, -1e300, 1e-310, 4294967295.0, 1e15, 1.5];
        match self.next() {
            which @ 200..208 => {
                let number = NUMBERS[usize::from(which - 200)];
                Number::from_f64(number).expect("it is finite")
            }
            208 => i64::MIN.into(),
            209 => u64::MAX.into(),
            210 => i64::from(i32::MAX).into(),
            211 => i64::from(i32::MIN).into(),
            small => i64::from(small as i8).into(),
        }
    }

    fn object(&mut self, depth: u8) -> Value {
        let count = self.next() % 12;
        let fields = (0..count).map(|_| (self.word(), self.value(depth + 1)));
        Value::Object(fields.collect::<Map<String, Value>>())
    }

    fn value(&mut self, depth: u8) -> Value {
        let what = self.next();
        match what % 16 {
            0 => Value::Null,
            1 => true.into(),
            2 => false.into(),
            3 | 4 => self.number().into(),
            5..8 => self.word().into(),
            8 => {
                let length = usize::from(what / 16);
                let bytes: Vec<u8> = (0..length).map(|_| self.next()).collect();
                String::from_utf8_lossy(&bytes).into()
            }
            // What a message is most of the time.
            9 => json!({ "role": self.word(), "content": self.word() }),
            _ if depth > 5 => Value::Null,
            10..13 => (0..what / 16).map(|_| self.value(depth + 1)).collect(),
            _ => self.object(depth),
        }
    }
}

/// Ways in which a body comes.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// In one piece only: what it says then takes most of the time.
    None,
    /// By its length, in pieces of so many bytes.
    Pieces(usize),
    /// In chunks of so many.
    Chunks(usize),
}

/// Lets bytes say what a client sends, and sends it in one piece, and in pieces or chunks: each
/// time the answers are the same, and each is an answer.
pub fn run(bytes: &[u8]) {
    let Some((&[what, width, which], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let width = usize::from(width).max(1);
    let is_keyed = what & 4 == 4;
    BENCHES.with_borrow_mut(|benches| {
        if benches.is_empty() {
            let all = |is_keyed| [(); 3].map(|()| Bench::new(config(is_keyed), 2, POSITIONS));
            benches.extend([false, true].map(all));
        }
        let benches = &mut benches[usize::from(is_keyed)];
        if what & 3 == 0 {
            return http(benches, rest, width);
        }
        let body = match what & 3 {
            1 => rest.to_vec(),
            _ => Script { bytes: rest.iter() }.object(0).to_string().into(),
        };
        let address = ADDRESSES[usize::from(which) % ADDRESSES.len()];
        let headers = match is_keyed {
            true => format!("Authorization: Bearer {KEY}\r\n"),
            false => String::new(),
        };
        let cut = match what >> 3 & 3 {
            1 => Cut::Pieces(width),
            2 => Cut::Chunks(width),
            _ => Cut::None,
        };
        body_to(benches, address, &headers, &body, cut);
    });
}

/// Bytes as a client sends them.
fn http([whole, pieces, _]: &mut [Bench; 3], bytes: &[u8], width: usize) {
    let said = ask(whole, bytes, usize::MAX);
    let again = ask(pieces, bytes, width);
    if said != again {
        assert_eq!(answers(&said), answers(&again), "in pieces of {width}");
    }
    answers(&said).iter().for_each(|answer| {
        check(answer);
    });
}

/// A body sent to an address, and a request behind it.
fn body_to(
    [whole, pieces, alone]: &mut [Bench; 3],
    address: &str,
    headers: &str,
    body: &[u8],
    cut: Cut,
) {
    let with = |chunk| {
        let mut all = request(address, headers, body, chunk);
        all.extend(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
        all
    };
    let first = match cut {
        Cut::None => alone,
        _ => whole,
    };
    let said = ask(first, &with(None), usize::MAX);
    let all = answers(&said);
    let again = match cut {
        Cut::None => None,
        Cut::Pieces(width) => Some(ask(pieces, &with(None), width)),
        Cut::Chunks(width) => Some(ask(pieces, &with(Some(width)), usize::MAX)),
    };
    if let Some(again) = again.filter(|again| *again != said) {
        assert_eq!(all, answers(&again), "{cut:?}");
    }
    let [first, second] = &all[..] else {
        panic!("{address}: {all:?}");
    };
    check_json(address, first, check(first));
    assert_eq!(
        (second.status, &second.body[..]),
        (200, &br#"{"status":"ok"}"#[..])
    );
}

/// Message and call of a tool in [`BODIES`].
const MESSAGE: &str = r#"{"role":"user","content":"a"}"#;
const CALL: &str = r#"{"role":"assistant","content":null,"tool_calls":[{"id":"1",
    "type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}"#;

/// Places of addresses, and bodies that are right there.
const BODIES: [(u8, &str); 21] = [
    (
        0,
        r#"{"prompt":"ab","n_predict":3,"seed":1,"stop":["a"],"n_probs":2}"#,
    ),
    (
        0,
        r#"{"prompt":["a",[1,2],{"prompt_string":"b"}],"stream":true,"n_cmpl":2}"#,
    ),
    (
        0,
        r#"{"prompt":[1,"a"],"response_fields":["content","prompt"]}"#,
    ),
    (
        2,
        r#"{"prompt":"b","n":2,"logprobs":1,"logit_bias":{"5":-1}}"#,
    ),
    (
        2,
        r#"{"prompt":"b","stream":true,"logit_bias":[["a",false],[3,1.5]]}"#,
    ),
    (
        4,
        r#"{"messages":[MESSAGE],"stream":true,"stream_options":{"include_usage":true}}"#,
    ),
    (
        4,
        r#"{"messages":[MESSAGE,CALL],"tool_choice":"none","tools":[{"a":1}]}"#,
    ),
    (
        4,
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],
        "dry_multiplier":1,"dry_sequence_breakers":["a"],
        "chat_template_kwargs":{"enable_thinking":false}}"#,
    ),
    (5, r#"{"messages":[MESSAGE],"reasoning_effort":"none"}"#),
    (
        6,
        r#"{"input_prefix":"a","input_suffix":"b","input_extra":[{"text":"d"}]}"#,
    ),
    (
        7,
        r#"{"content":["a",1],"with_pieces":true,"add_special":true}"#,
    ),
    (8, r#"{"tokens":[1,2,3]}"#),
    (9, r#"{"messages":[MESSAGE],"add_generation_prompt":false}"#),
    (
        10,
        r#"{"input":"a","instructions":"b","max_output_tokens":2,"stream":true}"#,
    ),
    (
        10,
        r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"a"}]},
        {"type":"function_call","call_id":"1","name":"f","arguments":"{}"},
        {"type":"function_call_output","call_id":"1","output":"b"}]}"#,
    ),
    (
        12,
        r#"{"max_tokens":2,"system":"s","messages":[MESSAGE],"stop_sequences":["a"]}"#,
    ),
    (
        12,
        r#"{"stream":true,"max_tokens":1,"thinking":{"type":"enabled"},"messages":[
        {"role":"assistant","content":[{"type":"thinking","thinking":"t"},
        {"type":"tool_use","id":"1","name":"f","input":{}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"b"}]}]}"#,
    ),
    (
        14,
        r#"{"options":{"num_predict":2,"top_k":3},"messages":[MESSAGE],"think":true}"#,
    ),
    (15, r#"{"prompt":"a","raw":true,"stream":false}"#),
    (16, r#"{"model":"tiny:latest"}"#),
    (17, r#"{"filename":"a"}"#),
];

/// Requests as bytes, in whose lines `HOST` stands for a header.
const REQUESTS: [&str; 7] = [
    "GET /health HTTP/1.1\r\nHOST\r\n\r\nHEAD /slots HTTP/1.1\r\nHOST\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHOST\r\n\r\nGET /v1/models?a=b%20c HTTP/1.0\r\n\r\n",
    "OPTIONS /props HTTP/1.1\r\nHOST\r\nOrigin: http://localhost\r\n\
     Access-Control-Request-Headers: a-b\r\n\r\nGET /props HTTP/1.1\r\nHOST\r\n\r\n",
    "POST /tokenize HTTP/1.1\r\nHOST\r\nExpect: 100-continue\r\nContent-Length: 15\r\n\r\n\
     {\"content\":\"a\"}\r\nGET /api/tags HTTP/1.1\r\nHOST\r\nX-Api-Key: k\r\n\r\n",
    "POST /completion HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\
     Authorization: Bearer k\r\n\r\nA;a=b\r\n{\"prompt\":\r\n4\r\n\"a\"}\r\n0\r\nT: t\r\n\r\n\
     GET /slots HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n",
    "POST /completion HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 28\r\n\r\n\
     {\"prompt\":\"a\",\"stream\":true}GET / HTTP/1.0\r\n\r\n",
    "POST /api/pull HTTP/1.1\r\nHOST\r\nContent-Length: 99999\r\n\r\n",
];

/// Inputs for [`run`].
pub fn seeds(target: &str) -> Vec<Seed> {
    let bodies = (0u8..).zip(BODIES).map(|(number, (address, body))| {
        let body = body.replace("MESSAGE", MESSAGE).replace("CALL", CALL);
        let what = 1 + 4 * (number % 2) + (8 << (number % 2));
        let head = [what, 3 + number, address];
        seed(format!("body-{number}"), [&head, body.as_bytes()].concat())
    });
    let requests = (0u8..).zip(REQUESTS).map(|(number, text)| {
        let text = text.replace("HOST", "Host: localhost");
        let head = [4 * (number % 2), 1 + 9 * number, 0];
        seed(format!("http-{number}"), [&head, text.as_bytes()].concat())
    });
    bodies.chain(requests).chain(kept(target)).collect()
}
