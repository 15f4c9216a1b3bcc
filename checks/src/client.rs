//! Requests to a server over HTTP, one a connection.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// How long an answer may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answer of a server.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The machine behind a proxy that gave it.
    pub machine: Option<String>,
    pub body: String,
    /// Time to the first byte behind the head.
    pub first: Duration,
    /// Time to the last one.
    pub whole: Duration,
}

/// Sends a request, with a body if there is one, and reads the whole answer.
///
/// # Errors
/// If the connection breaks or what comes is no answer.
pub fn ask(port: u16, path: &str, body: Option<&str>) -> Result<Answer> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.unwrap_or_default();
    let len = body.len();
    // In one piece: it is to leave in one frame.
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: llama2\r\nConnection: close\r\nContent-Type: \
         application/json\r\nContent-Length: {len}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let (mut bytes, mut piece, mut first) = (Vec::new(), [0; 4096], None);
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(&piece[..count]);
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if first.is_none() && head.is_some_and(|head| head + 4 < bytes.len()) {
            first = Some(start.elapsed());
        }
    }
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let head = head.with_context(|| format!("{} bytes without a whole head", bytes.len()))?;
    let body = bytes.split_off(head + 4);
    let head = String::from_utf8(bytes).context("the head is not UTF-8")?;
    let is_chunked = head
        .to_ascii_lowercase()
        .contains("\r\ntransfer-encoding: chunked");
    let body = if is_chunked { whole(&body)? } else { body };
    let body = String::from_utf8(body).context("the answer is not UTF-8")?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    let machine = headers.find(|(name, _)| name.eq_ignore_ascii_case("x-machine"));
    Ok(Answer {
        status: status.context("no status")?,
        machine: machine.map(|(_, machine)| machine.to_owned()),
        body,
        first: first.unwrap_or_default(),
        whole: start.elapsed(),
    })
}

/// Takes the chunks out of a body, of which none may be missing.
fn whole(mut body: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let line = body.windows(2).position(|two| two == b"\r\n");
        let (size, rest) = body.split_at(line.context("the answer broke off")?);
        let size = usize::from_str_radix(std::str::from_utf8(size)?, 16)?;
        if size == 0 {
            return Ok(out);
        }
        let chunk = rest.get(2..size + 2).context("the answer broke off")?;
        out.extend_from_slice(chunk);
        body = rest.get(size + 4..).context("the answer broke off")?;
    }
}

/// Asks for the continuation of a text: the likeliest one, so that all servers of a model agree.
///
/// # Errors
/// If the connection breaks or what comes is no answer.
pub fn ask_to_complete(port: u16, prompt: &str, tokens: usize) -> Result<Answer> {
    ask(port, "/completion", Some(&body(prompt, tokens, false)))
}

/// Text of an answer to that.
///
/// # Errors
/// If it is not all of it.
pub fn text_of(answer: &Answer, tokens: usize) -> Result<String> {
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
    let value: Value = serde_json::from_str(&answer.body)?;
    ensure!(value["tokens_predicted"] == tokens, "it ended early");
    let content = value["content"].as_str().context("no content")?;
    Ok(content.to_owned())
}

/// Continuation of a text, and its answer.
///
/// # Errors
/// If there is no answer with all of it.
pub fn complete(port: u16, prompt: &str, tokens: usize) -> Result<(String, Answer)> {
    let answer = ask_to_complete(port, prompt, tokens)?;
    Ok((text_of(&answer, tokens)?, answer))
}

/// Asks for a text as a stream.
///
/// # Errors
/// If there is no answer with all of it.
pub fn stream(port: u16, prompt: &str, tokens: usize) -> Result<(String, Answer)> {
    let answer = ask(port, "/completion", Some(&body(prompt, tokens, true)))?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
    let mut content = String::new();
    let mut is_whole = false;
    let events = answer.body.lines();
    for event in events.filter_map(|line| line.strip_prefix("data: ")) {
        let event: Value = serde_json::from_str(event)?;
        content += event["content"].as_str().context("no content")?;
        is_whole |= event["stop"] == true;
    }
    ensure!(is_whole, "the stream broke off");
    Ok((content, answer))
}

/// Asks for a long text, and leaves before it is there.
///
/// # Errors
/// If the server cannot be reached.
pub fn leave(port: u16, prompt: &str) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let body = body(prompt, 200, true);
    let len = body.len();
    write!(
        stream,
        "POST /completion HTTP/1.1\r\nHost: llama2\r\nContent-Length: {len}\r\n\r\n{body}"
    )?;
    std::thread::sleep(Duration::from_millis(50));
    Ok(())
}

fn body(prompt: &str, tokens: usize, stream: bool) -> String {
    serde_json::json!({
        "prompt": prompt,
        "n_predict": tokens,
        "temperature": 0,
        "ignore_eos": true,
        "stream": stream,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks() {
        let body = b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(whole(body).unwrap(), b"abc0123456789");
        assert!(whole(&body[..12]).is_err() && whole(&body[..18]).is_err());
    }
}
