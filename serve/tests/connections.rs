//! Deeds that no client may do: hold the server up, come in by another site's page, or stay behind.

#[expect(dead_code, reason = "some of it is for other tests")]
mod bench;

use std::time::Duration;

use bench::Bench;
use llama2_serve::{Config, Origins};

/// Sends bytes on a connection.
fn send(bench: &mut Bench, id: usize, bytes: impl AsRef<[u8]>) {
    let line = bench.lines.all.get_mut(&id).unwrap();
    line.to_server.extend(bytes.as_ref());
}

/// A connection over which bytes are sent.
fn open(bench: &mut Bench, bytes: impl AsRef<[u8]>) -> usize {
    let id = bench.lines.open(1 << 20);
    send(bench, id, bytes);
    id
}

/// A request with a body.
fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

/// Everything that the server has sent on a connection.
fn answer(bench: &Bench, id: usize) -> String {
    String::from_utf8_lossy(&bench.lines.all[&id].to_client).into_owned()
}

/// A long request to continue a text, and its stream.
const LONG: &str = r#"{"prompt":"a","n_predict":40,"ignore_eos":true}"#;
const STREAM: &str = r#"{"prompt":"a","n_predict":40,"ignore_eos":true,"stream":true}"#;

#[test]
fn a_connection_is_taken_a_part_at_a_time() {
    const BODY: usize = 4 << 20;
    let mut bench = Bench::new(Config::default(), 1, 64);
    let head = format!("POST /tokenize HTTP/1.1\r\nHost: h\r\nContent-Length: {BODY}\r\n\r\n");
    let id = open(&mut bench, head);
    send(&mut bench, id, vec![b'x'; BODY]);
    bench.turn();
    assert!(bench.lines.all[&id].to_server.len() > BODY / 2);
    (0..16).for_each(|_| bench.turn());
    assert!(bench.lines.all[&id].to_client.starts_with(b"HTTP/1.1 400 "));
}

#[test]
fn who_sends_much_ahead_and_leaves_keeps_no_slot() {
    let mut bench = Bench::new(Config::default(), 1, 64);
    let ahead = "GET /health HTTP/1.1\r\nHost: h\r\n\r\n".repeat(2000);
    let id = open(&mut bench, post("/completion", "", LONG) + &ahead);
    bench.lines.all.get_mut(&id).unwrap().has_ended = true;
    (0..3).for_each(|_| bench.turn());
    assert_eq!(bench.server.status().running, 0);
    assert!(bench.lines.all[&id].is_closed);
}

#[test]
fn each_interface_gets_its_errors_whatever_is_wrong() {
    let config = Config {
        keys: vec!["key".into()],
        most_body: 64,
        ..Config::default()
    };
    let mut bench = Bench::new(config, 1, 64);
    for (path, begins) in [
        ("/api/chat", r#"{"error":""#),
        ("/v1/messages", r#"{"type":"error","error":{"#),
        ("/v1/chat/completions", r#"{"error":{"#),
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\n");
        for (rest, status) in [
            ("\r\n", 401),
            ("Content-Length: 65\r\n\r\n", 413),
            ("Transfer-Encoding: chunked\r\n\r\n41\r\n", 413),
            ("Transfer-Encoding: gzip\r\n\r\n", 501),
            ("Content-Length: 5\r\n\r\n", 408),
        ] {
            let id = open(&mut bench, head.clone() + rest);
            bench.turn();
            if status == 408 {
                bench.machine.now += Duration::from_secs(61);
                bench.turn();
            }
            let answer = answer(&bench, id);
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(body.starts_with(begins), "{answer}");
            let code = format!(r#""code":{status},"#);
            assert!(body.contains(&code) || path == "/api/chat", "{answer}");
        }
    }
}

#[test]
fn a_page_may_send_the_headers_that_it_asks_for() {
    let config = Config {
        keys: vec!["key".into()],
        ..Config::default()
    };
    let mut bench = Bench::new(config, 1, 64);
    for (origin, asked, allowed) in [
        (
            "http://a.example",
            "authorization, x-api-key",
            "authorization, x-api-key",
        ),
        ("null", "authorization", "authorization"),
        ("http://a.example", "a;b", "*"),
        ("web.mydomain.fr", "Authorization", "*"),
    ] {
        let request = format!(
            "OPTIONS /completion HTTP/1.1\r\nHost: h\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Headers: {asked}\r\n\r\n"
        );
        let id = open(&mut bench, request);
        bench.turn();
        let answer = answer(&bench, id);
        let header = format!("Access-Control-Allow-Headers: {allowed}\r\n");
        assert!(answer.contains(&header), "{answer}");
    }
}

#[test]
fn without_a_key_pages_of_other_sites_are_refused() {
    let listed = Origins::Listed(vec!["http://a.example".into()]);
    for (origins, host, headers, status) in [
        (Origins::Keyed, "127.0.0.1:80", "", 200),
        (Origins::Keyed, "api.example", "", 200),
        (
            Origins::Keyed,
            "127.0.0.1:80",
            "Origin: http://127.0.0.1:80\r\n",
            200,
        ),
        (
            Origins::Keyed,
            "[::1]:80",
            "Origin: http://[::1]:80\r\n",
            200,
        ),
        (
            Origins::Keyed,
            "llama2.local",
            "Origin: http://llama2.local\r\n",
            200,
        ),
        (Origins::Keyed, "rack", "Origin: http://rack\r\n", 200),
        // Behind a proxy with TLS, which passes the name on or does not.
        (
            Origins::Keyed,
            "api.example",
            "Origin: https://api.example\r\n",
            200,
        ),
        (
            Origins::Keyed,
            "10.0.0.1",
            "Origin: https://api.example\r\nSec-Fetch-Site: same-origin\r\n",
            200,
        ),
        (Origins::Keyed, "h", "Origin: vscode-webview://a\r\n", 200),
        (Origins::Any, "h", "Origin: http://a.example\r\n", 200),
        (
            Origins::Local,
            "h",
            "Origin: http://localhost:3000\r\n",
            200,
        ),
        (
            listed.clone(),
            "a.example",
            "Origin: http://a.example\r\n",
            200,
        ),
        (listed, "h", "Origin: http://b.example\r\n", 403),
        (Origins::Keyed, "h", "Origin: null\r\n", 403),
        (
            Origins::Keyed,
            "127.0.0.1:80",
            "Origin: http://127.0.0.1:3000\r\n",
            403,
        ),
        (
            Origins::Keyed,
            "h",
            "Origin: http://a.example\r\nSec-Fetch-Site: cross-site\r\n",
            403,
        ),
        (
            Origins::Keyed,
            "a.example",
            "Origin: http://a.example\r\n",
            403,
        ),
        (
            Origins::Keyed,
            "127.0.0.1.a.example",
            "Origin: http://127.0.0.1.a.example\r\n",
            403,
        ),
    ] {
        let config = Config {
            origins,
            ..Config::default()
        };
        let mut bench = Bench::new(config, 1, 64);
        let request = post("/tokenize", headers, r#"{"content":"a"}"#);
        let request = request.replace("Host: h\r", &format!("Host: {host}\r"));
        let id = open(&mut bench, request);
        bench.turn();
        let answer = answer(&bench, id);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{host} {headers}{answer}"
        );
    }
}

#[test]
fn without_a_key_a_site_whose_name_leads_here_reads_nothing() {
    let listed = Origins::Listed(vec!["https://api.example".into()]);
    let own = "Sec-Fetch-Site: same-origin\r\n";
    for (origins, host, path, headers, status) in [
        (Origins::Keyed, "a.example", "/slots", "", 403),
        (Origins::Keyed, "a.example:8080", "/v1/models", "", 403),
        (Origins::Keyed, "127.0.0.1.a.example", "/props", "", 403),
        (Origins::Keyed, "1.2.3.4a", "/props", "", 403),
        (Origins::Local, "local.example", "/props", "", 403),
        (
            Origins::Local,
            "lan",
            "/props",
            "Origin: http://a.example\r\n",
            200,
        ),
        (Origins::Keyed, "a.example", "/health", "", 200),
        (Origins::Keyed, "a.example", "/", "", 200),
        (Origins::Keyed, "192.168.1.5:8080", "/slots", "", 200),
        (Origins::Keyed, "127.1", "/slots", "", 200),
        (Origins::Keyed, "[fe80::1]:8080", "/slots", "", 200),
        (Origins::Keyed, "LocalHost:8080", "/slots", "", 200),
        (Origins::Keyed, "rack", "/slots", "", 200),
        (Origins::Keyed, "llama2.local.", "/slots", "", 200),
        (Origins::Keyed, "Llama2.Lan:8080", "/slots", "", 200),
        (Origins::Keyed, "a.home.arpa", "/slots", "", 200),
        (Origins::Keyed, "a.internal", "/slots", "", 200),
        (Origins::Keyed, "", "/slots", "", 200),
        // Names that the server is told, and TLS before it.
        (listed.clone(), "API.example", "/slots", "", 200),
        (listed.clone(), "b.example", "/slots", "", 403),
        (
            listed,
            "b.example",
            "/slots",
            "Origin: https://api.example\r\n",
            200,
        ),
        (Origins::Any, "a.example", "/slots", "", 200),
        (Origins::Keyed, "a.example", "/slots", own, 200),
    ] {
        for key in [None, Some("k")] {
            let config = Config {
                origins: origins.clone(),
                keys: key.into_iter().map(String::from).collect(),
                ..Config::default()
            };
            let mut bench = Bench::new(config, 1, 64);
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: k\r\n{headers}\r\n");
            let id = open(&mut bench, request);
            bench.turn();
            let answer = answer(&bench, id);
            let status = if key.is_some() { 200 } else { status };
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{host} {path} {headers}{answer}"
            );
            let says_what_to_do = answer.contains("set an API key") && answer.contains(host);
            assert!(
                status == 200 || (answer.contains(r#"{"error":{"code":403,"#) && says_what_to_do),
                "{answer}"
            );
        }
    }
}

#[test]
fn a_stream_says_something_while_it_waits_for_a_slot() {
    let mut bench = Bench::new(Config::default(), 1, 64);
    open(&mut bench, post("/completion", "", LONG));
    bench.turn();
    let id = open(&mut bench, post("/completion", "", STREAM));
    bench.turn();
    assert_eq!(answer(&bench, id), "");
    for count in 1..3 {
        bench.machine.now += Duration::from_secs(16);
        bench.turn();
        let answer = answer(&bench, id);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(answer.matches(": ping").count(), count, "{answer}");
    }
    assert_eq!(bench.server.status().waiting, 1);
    bench.finish();
    let answer = answer(&bench, id);
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 1);
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[test]
fn a_stream_that_nobody_reads_is_ended() {
    let config = Config {
        shifts_context: true,
        ..Config::default()
    };
    let mut bench = Bench::new(config, 1, 64);
    let body = r#"{"prompt":"a","n_predict":1000000,"ignore_eos":true,"stream":true,"n_probs":99}"#;
    let id = open(&mut bench, post("/completion", "", body));
    bench.turn();
    bench.lines.all.get_mut(&id).unwrap().width = 0;
    let turns = (0..20_000).find(|_| {
        bench.turn();
        bench.lines.all[&id].is_closed
    });
    assert!(turns.is_some());
    assert_eq!(bench.server.status().running, 0);
}
