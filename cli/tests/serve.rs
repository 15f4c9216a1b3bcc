//! `llama2 serve` as clients see it, byte for byte.

mod common;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{llama2, text};
use serde_json::{Value, json};

/// Longest time that anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of the bundled model.
struct Server {
    process: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    /// The `data:` of a stream's events.
    fn events(&self) -> Vec<String> {
        let text = String::from_utf8(self.body.clone()).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
        lines.map(str::to_owned).collect()
    }
}

/// A connection to a server.
struct Client(BufReader<TcpStream>);

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// Reads an answer; `is_head`: to a request without a body in its answer.
    fn answer(&mut self, is_head: bool) -> Answer {
        let mut head = String::new();
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "it ended after {head:?}");
            if line == "\r\n" {
                break;
            }
            head += &line;
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
        };
        if is_head || status == 100 {
            return answer;
        }
        if let Some(length) = answer.header("content-length") {
            let mut body = vec![0; length.parse().unwrap()];
            self.0.read_exact(&mut body).unwrap();
            answer.body = body;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(self.line().trim(), 16).unwrap();
                let mut chunk = vec![0; size + 2];
                self.0.read_exact(&mut chunk).unwrap();
                if size == 0 {
                    break;
                }
                answer.body.extend(&chunk[..size]);
            }
        } else {
            self.0.read_to_end(&mut answer.body).unwrap();
        }
        answer
    }
}

impl Server {
    fn start(flags: &[&str]) -> Server {
        let mut process = Command::new(env!("CARGO_BIN_EXE_llama2"))
            .args([
                "serve",
                "--port",
                "0",
                "-t",
                "0",
                "--threads",
                "1",
                "--kv",
                "f32",
            ])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("it says where it serves").unwrap();
            if let Some((_, address)) = line.split_once(" at http://") {
                break address.to_owned();
            }
        };
        // What else it says is read, so that it never waits.
        thread::spawn(move || lines.for_each(drop));
        Server { process, address }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let mut client = self.connect();
        let length = body.len();
        client.send(
            format!(
                "{method} {path} HTTP/1.1\r\nHost: h\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
            )
            .as_bytes(),
        );
        client.answer(method == "HEAD")
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", "")
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, "", &body.to_string())
    }

    /// Waits until no slot is busy; how long that took.
    fn rest(&self) -> Duration {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let slots = self.get("/slots").json();
            if slots
                .as_array()
                .unwrap()
                .iter()
                .all(|slot| slot["is_processing"] == false)
            {
                return start.elapsed();
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("a slot stays busy");
    }
}

/// The story that the command tells of a text, from there on.
fn story(prompt: &str, tokens: &str) -> String {
    let told = llama2([
        "run",
        "-t",
        "0",
        "--threads",
        "1",
        "-n",
        tokens,
        "-i",
        prompt,
    ]);
    let told = text(&told.stdout);
    told.strip_prefix(prompt)
        .expect("it begins with the prompt")
        .trim_end()
        .to_owned()
}

#[test]
fn all_interfaces_give_the_command_s_text() {
    let server = Server::start(&["--alias", "tales", "--parallel", "3"]);
    let prompt = "Tim found a key";
    let whole = story(prompt, "60");
    let body = json!({ "prompt": prompt, "n_predict": 24 });
    let native = server.post("/completion", &body).json();
    let content = native["content"].as_str().unwrap().to_owned();
    assert!(
        whole.starts_with(&content) && content.len() > 20,
        "{content:?} {whole:?}"
    );
    assert_eq!(
        (&native["tokens_predicted"], &native["stop_type"]),
        (&24.into(), &"limit".into())
    );
    // The second time only the last token of the prompt is passed.
    let again = server.post("/completion", &body).json();
    assert_eq!(
        (&again["content"], &again["timings"]["prompt_n"]),
        (&native["content"], &1.into())
    );

    // Several prompts at once, as texts and tokens.
    let tokens = server
        .post(
            "/tokenize",
            &json!({ "content": prompt, "add_special": true }),
        )
        .json();
    let tokens = tokens["tokens"].clone();
    let both = server.post(
        "/completion",
        &json!({ "prompt": [prompt, tokens], "n_predict": 24 }),
    );
    for one in both.json().as_array().unwrap() {
        assert_eq!(one["content"], native["content"]);
    }
    let text = server
        .post("/detokenize", &json!({ "tokens": tokens }))
        .json();
    assert!(
        text["content"].as_str().unwrap().ends_with(prompt),
        "{text}"
    );

    // OpenAI's, whole and as a stream.
    let mut body = json!({ "prompt": prompt, "max_tokens": 24, "n": 2, "logprobs": 2 });
    let answer = server.post("/v1/completions", &body).json();
    assert_eq!(answer["model"], "tales");
    assert_eq!(answer["usage"]["completion_tokens"], 48);
    for choice in answer["choices"].as_array().unwrap() {
        assert_eq!(
            (&choice["text"], &choice["finish_reason"]),
            (&native["content"], &"length".into())
        );
        let probs = choice["logprobs"]["content"].as_array().unwrap();
        let pieces = probs.iter().map(|one| one["token"].as_str().unwrap());
        assert_eq!(pieces.collect::<String>(), content);
        // Greedy: each is the most likely.
        assert!(
            probs
                .iter()
                .all(|one| one["logprob"] == one["top_logprobs"][0]["logprob"])
        );
    }
    body = json!({ "prompt": prompt, "max_tokens": 24, "stream": true });
    let events = server.post("/v1/completions", &body).events();
    assert_eq!(events.last().unwrap(), "[DONE]");
    let events: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|event| serde_json::from_str(event).unwrap())
        .collect();
    let pieces = events
        .iter()
        .map(|event| event["choices"][0]["text"].as_str().unwrap());
    assert_eq!(pieces.collect::<String>(), content);

    // Conversations: the same answer by four names.
    let messages = json!([{ "role": "user", "content": "Tell me of a cat." }]);
    let chat = json!({ "messages": messages, "max_tokens": 20 });
    let answer = server.post("/v1/chat/completions", &chat).json();
    let said = answer["choices"][0]["message"]["content"].clone();
    assert!(!said.as_str().unwrap().is_empty());
    let answer = server.post("/v1/messages", &chat).json();
    assert_eq!(answer["content"][0]["text"], said);
    assert_eq!(answer["stop_reason"], "max_tokens");
    let input = json!({ "input": "Tell me of a cat.", "max_output_tokens": 20 });
    let answer = server.post("/v1/responses", &input).json();
    assert_eq!(answer["output"][0]["content"][0]["text"], said);
    let ollama =
        json!({ "messages": messages, "options": { "num_predict": 20, "temperature": 0 } });
    let answer = server.post("/api/chat", &ollama);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let lines = String::from_utf8(answer.body).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let pieces = lines
        .iter()
        .map(|line| line["message"]["content"].as_str().unwrap());
    assert_eq!(pieces.collect::<String>(), said.as_str().unwrap());
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["done"], &last["eval_count"]),
        (&true.into(), &20.into())
    );

    // A stop string ends the text before it, and is named.
    let word = content.split(' ').nth(4).unwrap();
    let stopped = server
        .post("/completion", &json!({ "prompt": prompt, "stop": [word] }))
        .json();
    assert!(content.starts_with(stopped["content"].as_str().unwrap()));
    assert_eq!(
        (&stopped["stop_type"], &stopped["stopping_word"]),
        (&"word".into(), &word.into())
    );
}

#[test]
fn what_is_wrong_is_said_with_the_right_status() {
    let server = Server::start(&["-c", "400", "--parallel", "2"]);
    for (method, path, body, status, part) in [
        ("GET", "/nothing", "", 404, "File Not Found"),
        (
            "GET",
            "/completion",
            "",
            405,
            "/completion has POST, not GET",
        ),
        ("DELETE", "/v1/models", "", 405, "has GET"),
        ("POST", "/completion", "{", 400, "no JSON"),
        ("POST", "/completion", "[1]", 400, "a JSON object"),
        ("POST", "/completion", "{}", 400, "\"prompt\" is missing"),
        (
            "POST",
            "/completion",
            r#"{"prompt":{}}"#,
            400,
            "prompt_string",
        ),
        (
            "POST",
            "/completion",
            r#"{"prompt":[[-1]]}"#,
            400,
            "-1 is no token",
        ),
        (
            "POST",
            "/completion",
            r#"{"prompt":"a","top_p":2}"#,
            400,
            "\"top_p\" is 2",
        ),
        (
            "POST",
            "/completion",
            r#"{"prompt":"a","top_p":"x"}"#,
            400,
            "must be a number",
        ),
        (
            "POST",
            "/completion",
            r#"{"prompt":"a","n":3}"#,
            400,
            "1 to 2 slots",
        ),
        (
            "POST",
            "/completion",
            r#"{"prompt":"a","id_slot":2}"#,
            400,
            "no slot 2",
        ),
        (
            "POST",
            "/completion",
            r#"{"prompt":"a","grammar":"x"}"#,
            501,
            "grammars",
        ),
        (
            "POST",
            "/completion",
            r#"{"prompt":"a","adaptive_target":0.8}"#,
            501,
            "adaptive_target",
        ),
        (
            "POST",
            "/completion",
            r#"{"prompt":"a","dry_multiplier":1,"dry_penalty_last_n":-2}"#,
            400,
            "-1 or more",
        ),
        (
            "POST",
            "/completion",
            r#"{"prompt":"a","dry_sequence_breakers":[]}"#,
            400,
            "1 to 16 texts",
        ),
        (
            "POST",
            "/v1/chat/completions",
            r#"{"messages":"x"}"#,
            400,
            "an array",
        ),
        (
            "POST",
            "/v1/chat/completions",
            r#"{"messages":[{}]}"#,
            400,
            "role",
        ),
        (
            "POST",
            "/v1/chat/completions",
            r#"{"messages":[],"tools":[{"type":"function"}]}"#,
            501,
            "does not call tools",
        ),
        (
            "POST",
            "/v1/chat/completions",
            r#"{"messages":[],"response_format":{"type":"json_object"}}"#,
            501,
            "cannot constrain",
        ),
        (
            "POST",
            "/v1/embeddings",
            "{}",
            501,
            "does not serve /v1/embeddings",
        ),
        (
            "POST",
            "/slots/0?action=save",
            "{}",
            501,
            "--slot-save-path",
        ),
        ("GET", "/metrics", "", 501, "--metrics"),
    ] {
        let answer = server.ask(method, path, "", body);
        assert_eq!(answer.status, status, "{method} {path} {body}: {answer:?}");
        let error = &answer.json()["error"];
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(part), "{method} {path} {body}: {message}");
        assert_eq!(error["code"], status, "{message}");
        assert_eq!(answer.header("allow").is_some(), status == 405);
    }
    // Two other shapes of the same.
    let answer = server.post("/v1/messages", &json!({})).json();
    assert_eq!(answer["type"], "error");
    let answer = server
        .post("/api/chat", &json!({ "format": "json", "messages": [1] }))
        .json();
    assert!(
        answer["error"].as_str().unwrap().contains("constrain"),
        "{answer}"
    );

    let long = server.post(
        "/completion",
        &json!({ "prompt": "Tim found a key. ".repeat(60) }),
    );
    let error = &long.json()["error"];
    assert_eq!(
        (long.status, &error["type"]),
        (400, &"exceed_context_size_error".into())
    );
    assert_eq!(error["n_ctx"], 200);
    assert!(error["n_prompt_tokens"].as_u64().unwrap() > 200);
    // Nothing of it has taken a slot.
    server.rest();
    let full = server
        .post(
            "/completion",
            &json!({ "prompt": "Tim", "ignore_eos": true }),
        )
        .json();
    assert_eq!(
        (&full["truncated"], &full["stop_type"]),
        (&true.into(), &"limit".into())
    );
}

#[test]
fn connections_are_kept_and_bad_ones_hurt_nobody() {
    let server = Server::start(&["--parallel", "1"]);
    let mut client = server.connect();
    // Several requests, sent before the first is answered.
    let body = r#"{"prompt":"Tim","n_predict":4}"#;
    let post = format!(
        "POST /completion HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.send(format!("GET /health HTTP/1.1\r\nHost: h\r\n\r\n{post}{post}").as_bytes());
    assert_eq!(client.answer(false).body, br#"{"status":"ok"}"#);
    let first = client.answer(false).json();
    assert_eq!(first["content"], client.answer(false).json()["content"]);
    // In chunks, after it was told to go on; HEAD has no body.
    client.send(
        b"POST /completion HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\
          Expect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.answer(false).status, 100);
    for part in [&body[..10], &body[10..]] {
        client.send(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes());
    }
    client.send(b"0\r\n\r\n");
    assert_eq!(client.answer(false).json()["content"], first["content"]);
    client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET /health HTTP/1.0\r\n\r\n");
    let head = client.answer(true);
    assert_eq!(
        (head.status, head.header("content-type").is_some()),
        (200, true)
    );
    assert_eq!(client.answer(false).header("connection"), Some("close"));
    assert_eq!(client.line(), "", "it closes what is not kept alive");

    // No HTTP, too much of it, and a client that leaves in the middle.
    for (bytes, status) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        (
            format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "h".repeat(40_000)),
            431,
        ),
        (
            "POST /completion HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n".into(),
            413,
        ),
    ] {
        let mut client = server.connect();
        client.send(bytes.as_bytes());
        assert_eq!(client.answer(false).status, status);
    }
    let slow = server.connect();
    let mut gone = server.connect();
    let body = r#"{"prompt":"Tim","ignore_eos":true,"stream":true}"#;
    let length = body.len();
    gone.send(
        format!("POST /completion HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
            .as_bytes(),
    );
    assert!(gone.line().starts_with("HTTP/1.1 200"));
    drop(gone);
    let took = server.rest();
    assert!(
        took < Duration::from_secs(2),
        "its slot was busy for {took:?}"
    );
    drop(slow);
}

#[test]
fn a_key_is_asked_for_and_pages_of_others_see_nothing() {
    let open = Server::start(&[]);
    let origin = "Origin: http://elsewhere\r\n";
    let answer = open.ask("GET", "/props", origin, "");
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (200, None)
    );
    drop(open);
    let server = Server::start(&["--api-key", "one,two", "--metrics"]);
    for path in [
        "/health",
        "/",
        "/page.js",
        "/page.css",
        "/manifest.webmanifest",
    ] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for (headers, status) in [
        ("", 401),
        ("Authorization: Bearer on\r\n", 401),
        ("Authorization: Bearer onee\r\n", 401),
        ("Authorization: Bearer \r\n", 401),
        ("Authorization: Basic one\r\n", 401),
        ("Authorization: Bearer two\r\n", 200),
        ("authorization: bearer one\r\n", 200),
        ("X-Api-Key: one\r\n", 200),
    ] {
        for path in ["/v1/models", "/props", "/slots", "/metrics"] {
            assert_eq!(
                server.ask("GET", path, headers, "").status,
                status,
                "{path} {headers}"
            );
        }
    }
    let asked = server.ask("OPTIONS", "/v1/chat/completions", origin, "");
    assert_eq!(asked.status, 200);
    let allowed = asked.header("access-control-allow-origin");
    assert_eq!(allowed, Some("http://elsewhere"));
    let page = server.get("/");
    assert!(page.body.starts_with(b"<!doctype html>"));
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .contains("default-src 'none'")
    );
}

#[test]
fn slots_are_saved_and_restored() {
    let folder: PathBuf = std::env::temp_dir().join(format!("llama2-slots-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let flags = [
        "--parallel",
        "2",
        "--slot-save-path",
        folder.to_str().unwrap(),
    ];
    let server = Server::start(&flags);
    let body = json!({ "prompt": "Tim found a key", "n_predict": 8, "id_slot": 1 });
    let first = server.post("/completion", &body).json();
    let saved = server
        .post("/slots/1?action=save", &json!({ "filename": "tim" }))
        .json();
    let tokens = saved["n_saved"].as_u64().unwrap();
    assert!(tokens > 8, "{saved}");
    drop(server);
    // Another server goes on with it.
    let server = Server::start(&flags);
    let restored = server
        .post("/slots/0?action=restore", &json!({ "filename": "tim" }))
        .json();
    assert_eq!(restored["n_restored"], tokens);
    let body = json!({ "prompt": "Tim found a key", "n_predict": 8, "id_slot": 0 });
    let second = server.post("/completion", &body).json();
    assert_eq!(
        (&second["content"], &second["timings"]["prompt_n"]),
        (&first["content"], &1.into())
    );
    let erased = server.post("/slots/0?action=erase", &json!({})).json();
    assert_eq!(erased["n_erased"], tokens);
    // Files that are none of these.
    let bytes = std::fs::read(folder.join("tim")).unwrap();
    for (name, bytes) in [
        ("short", &bytes[..bytes.len() - 1]),
        ("head", &bytes[..30]),
        ("empty", &[]),
        ("text", b"once upon a time, there was"),
    ] {
        std::fs::write(folder.join(name), bytes).unwrap();
        let answer = server.post("/slots/0?action=restore", &json!({ "filename": name }));
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
    }
    for name in ["../tim", "/etc/passwd", "", ".hidden", "a/b"] {
        let answer = server.post("/slots/0?action=restore", &json!({ "filename": name }));
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
    }
    assert_eq!(
        server.post("/completion", &body).json()["content"],
        first["content"]
    );
    std::fs::remove_dir_all(folder).unwrap();
}
