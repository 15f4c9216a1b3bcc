//! Requests that ask for too much, or for what the server has not: each is refused in a sentence
//! before it costs time or memory.

#[expect(dead_code, reason = "other tests use the rest of it")]
mod bench;

use bench::Bench;
use llama2_serve::Config;

/// Positions of the context.
const POSITIONS: usize = 64;

/// The status and the body of an answer.
fn ask(path: &str, body: &str) -> (u16, String) {
    let config = Config {
        names: vec!["tiny".into()],
        ..Config::default()
    };
    let mut bench = Bench::new(config, 2, POSITIONS);
    let id = bench.lines.open(usize::MAX);
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
    let line = bench.lines.all.get_mut(&id).unwrap();
    line.to_server.extend(head.bytes());
    line.to_server.extend(body.bytes());
    bench.finish();
    let answer = String::from_utf8_lossy(&bench.lines.all[&id].to_client).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_string())
}

/// Checks that a request is answered with a status, and that the answer has a part.
fn check(path: &str, body: &str, status: u16, part: &str) {
    let answer = ask(path, body);
    let shown: String = body.chars().take(200).collect();
    assert!(
        answer.0 == status && answer.1.contains(part),
        "{path} {shown}: {answer:?}"
    );
}

#[test]
fn texts_have_a_limit_in_all() {
    let long = "a".repeat(300_000);
    let many = vec![r#"{"role":"user","content":"a"}"#; 5000].join(",");
    let parts = vec![r#""once""#; 20_000].join(",");
    for (path, body, part) in [
        ("/tokenize", format!(r#"{{"content":"{long}"}}"#), "262144"),
        (
            "/tokenize",
            format!(r#"{{"content":["{long}",1]}}"#),
            "262144",
        ),
        (
            "/tokenize",
            format!(r#"{{"content":"{}","with_pieces":true}}"#, &long[..200_000]),
            "with_pieces",
        ),
        (
            "/apply-template",
            format!(r#"{{"messages":[{many}]}}"#),
            "4096",
        ),
        (
            "/v1/messages/count_tokens",
            format!(r#"{{"messages":[{{"role":"user","content":"{long}"}}]}}"#),
            "262144",
        ),
        (
            "/v1/chat/completions",
            format!(r#"{{"messages":[{}]}}"#, &many[..many.len() / 5000 * 400]),
            "",
        ),
        (
            "/completion",
            format!(r#"{{"prompt":[1,{parts}]}}"#),
            "exceed_context_size_error",
        ),
        (
            "/api/generate",
            format!(r#"{{"prompt":"{long}","raw":true}}"#),
            "exceeds the available context",
        ),
        (
            "/completion",
            format!(r#"{{"prompt":["a",{}]}}"#, vec![r#""a""#; 200].join(",")),
            "at most 128",
        ),
    ] {
        check(path, &body, 400, part);
    }
    // What is as long as people write it is read.
    check(
        "/tokenize",
        &format!(r#"{{"content":"{}"}}"#, &long[..9000]),
        200,
        "tokens",
    );
    let prompts = vec![r#""abc""#; 100].join(",");
    check(
        "/completion",
        &format!(r#"{{"prompt":[{prompts}],"n_predict":1}}"#),
        200,
        "",
    );
}

#[test]
fn answers_have_a_limit() {
    let prompts = vec![r#""a""#; 16].join(",");
    let biases = |count| vec!["[1,-1]"; count].join(",");
    for body in [
        format!(r#"{{"prompt":[{prompts}],"n_predict":400,"n_probs":100}}"#),
        format!(r#"{{"prompt":[{prompts}],"n_predict":9007199254740992,"n_probs":90}}"#),
        format!(r#"{{"prompt":[{prompts}],"n":2,"n_predict":-1,"n_probs":100}}"#),
        format!(
            r#"{{"prompt":[{prompts},{prompts},{prompts},{prompts}],"logit_bias":[{}]}}"#,
            biases(1000)
        ),
    ] {
        check("/completion", &body, 400, "50000 entries");
    }
    let body = format!(r#"{{"prompt":"a","logit_bias":[{}]}}"#, biases(1025));
    check("/completion", &body, 400, "more than 1024");
    let body = format!(
        r#"{{"prompt":"a","logit_bias":{{"{}":1}}}}"#,
        "a".repeat(1025)
    );
    check("/completion", &body, 400, "1024 bytes");
    for more in [
        r#""n_predict":100000,"n_probs":100"#,
        r#""n_predict":-1,"n_probs":100,"stream":true"#,
        &format!(r#""n_predict":1,"logit_bias":[{}]"#, biases(1024)),
    ] {
        check(
            "/completion",
            &format!(r#"{{"prompt":"a",{more}}}"#),
            200,
            "",
        );
    }
}

#[test]
fn what_would_constrain_an_answer_is_refused() {
    let texts = ["/completion", "/v1/completions", "/infill"];
    let chats = ["/v1/chat/completions", "/v1/messages"];
    let said = r#""messages":[{"role":"user","content":"a"}]"#;
    let wishes = [
        r#""response_format":{"type":"json_object"}"#,
        r#""tools":[{"type":"function"}]"#,
        r#""tool_choice":"required""#,
        r#""function_call":{"name":"f"}"#,
    ];
    for wish in wishes {
        for path in texts {
            check(
                path,
                &format!(r#"{{"prompt":"a",{wish}}}"#),
                501,
                "not_supported_error",
            );
        }
        check(
            chats[0],
            &format!("{{{said},{wish}}}"),
            501,
            "not_supported_error",
        );
    }
    for wish in [
        r#""output_format":{"type":"json_schema","schema":{}}"#,
        r#""output_config":{"format":{"type":"json_schema","schema":{}}}"#,
        r#""tool_choice":{"type":"any"}"#,
    ] {
        check(
            chats[1],
            &format!("{{{said},{wish}}}"),
            501,
            r#""type":"error""#,
        );
    }
    let free = r#""max_tokens":1,"response_format":{"type":"text"},"tool_choice":"auto""#;
    check(texts[0], &format!(r#"{{"prompt":"a",{free}}}"#), 200, "");
    check(chats[0], &format!("{{{said},{free}}}"), 200, "");
    let free = r#""max_tokens":1,"output_config":{"effort":"low"},"tool_choice":{"type":"auto"}"#;
    check(chats[1], &format!("{{{said},{free}}}"), 200, "");
}

#[test]
fn images_are_refused_as_by_llama_server() {
    let image = r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}"#;
    let block = r#"{"type":"image","source":{"type":"base64","data":"AAAA"}}"#;
    for (path, part) in [("/v1/chat/completions", image), ("/v1/messages", block)] {
        let body = format!(r#"{{"messages":[{{"role":"user","content":[{part}]}}]}}"#);
        check(path, &body, 500, "image input is not supported");
    }
    let body = r#"{"messages":[{"role":"user","content":"a","images":["AAAA"]}]}"#;
    check("/api/chat", body, 501, "images");
}

#[test]
fn numbers_of_any_size_are_taken() {
    for most in ["4611686018427387904", "9223372036854775807", "1"] {
        let body = format!(
            r#"{{"input_prefix":"a","input_suffix":"b","n_predict":{most},"n_keep":{most},
            "t_max_predict_ms":{most},"n_discard":{most}}}"#
        );
        check("/infill", &body, 200, "content");
    }
}

#[test]
fn a_response_that_was_cut_is_incomplete() {
    let body = |more| format!(r#"{{"input":"a","max_output_tokens":2,"ignore_eos":true{more}}}"#);
    let cut = r#""status":"incomplete","error":null,"incomplete_details":{"reason":"max_"#;
    check("/v1/responses", &body(""), 200, cut);
    let streamed = body(r#","stream":true"#);
    check("/v1/responses", &streamed, 200, cut);
    check("/v1/responses", &streamed, 200, "event: response.completed");
}

#[test]
fn ollama_is_told_what_is_wrong() {
    let said = r#""messages":[{"role":"user","content":"a"}]"#;
    check(
        "/api/chat",
        &format!(r#"{{{said},"options":5}}"#),
        400,
        "options",
    );
    check(
        "/api/show",
        r#"{"model":"other"}"#,
        404,
        r#"{"error":"model 'other' not found"}"#,
    );
    check("/api/show", "{}", 400, r#"{"error":"model is required"}"#);
    check("/api/show", r#"{"model":""}"#, 400, "required");
    for body in [r#"{"model":"tiny"}"#, r#"{"name":"tiny:latest"}"#] {
        check("/api/show", body, 200, "capabilities");
    }
}

#[test]
fn all_samplers_are_told_as_they_were_asked_for() {
    let wanted = r#""dry_multiplier":0.5,"dry_base":2.0,"dry_allowed_length":1,"dry_penalty_last_n":9,
        "dry_sequence_breakers":["x"],"mirostat":2,"mirostat_tau":3.0,"mirostat_eta":0.25,
        "top_n_sigma":1.5,"xtc_probability":0.5,"xtc_threshold":0.25,"dynatemp_range":0.5,
        "dynatemp_exponent":2.0"#;
    let (status, answer) = ask(
        "/completion",
        &format!(r#"{{"prompt":"a","n_predict":4,"seed":1,{wanted}}}"#),
    );
    assert_eq!(status, 200, "{answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let wanted: serde_json::Value = serde_json::from_str(&format!("{{{wanted}}}")).unwrap();
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&answer["generation_settings"][name], value, "{name}");
    }
}
