use std::{cell::RefCell, collections::VecDeque, rc::Rc, vec};

use super::*;

/// Turn of a server: what it does at one connection.
enum Turn {
    /// Nobody takes the connection.
    Refuses,
    /// Bytes that it sends, some at a time, before it ends the connection.
    Sends(Vec<u8>),
    /// Bytes that it sends, and then nothing.
    Stays(Vec<u8>),
}

/// Line to a server that takes its turns.
#[derive(Default)]
struct Script {
    turns: VecDeque<Turn>,
    now: u64,
    /// Moments until the user has enough.
    patience: Option<u64>,
    asked: Rc<RefCell<Vec<String>>>,
    told: Rc<RefCell<Vec<DownloadError>>>,
    turn: Option<Turn>,
}

impl Line for Script {
    fn dial(&mut self, to: SocketAddrV4) -> Result<(), NetworkState> {
        self.turn = Some(self.turns.pop_front().ok_or(NetworkState::Waiting)?);
        self.asked.borrow_mut().push(format!("{to} "));
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Received {
        let (bytes, ends) = match &mut self.turn {
            Some(Turn::Sends(bytes)) => (bytes, true),
            Some(Turn::Stays(bytes)) => (bytes, false),
            _ => return Received::Lost,
        };
        if bytes.is_empty() {
            return if ends {
                Received::End
            } else {
                Received::Nothing
            };
        }
        let len = bytes.len().min(buffer.len()).min(1000);
        buffer[..len].copy_from_slice(&bytes[..len]);
        bytes.drain(..len);
        Received::Bytes(len)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, Lost> {
        if matches!(self.turn, None | Some(Turn::Refuses)) {
            return Err(Lost);
        }
        let len = bytes.len().min(10);
        let text = core::str::from_utf8(&bytes[..len]).unwrap();
        self.asked.borrow_mut().last_mut().unwrap().push_str(text);
        Ok(len)
    }

    fn hang_up(&mut self) {
        self.turn = None;
    }

    fn tell(&mut self, why: &DownloadError) {
        self.told.borrow_mut().push(why.clone());
    }

    fn end(&mut self) {
        self.turns.clear();
        self.turn = None;
    }

    fn wait(&mut self) -> bool {
        self.now += 10;
        self.patience = self.patience.map(|left| left.saturating_sub(1));
        self.patience != Some(0)
    }

    fn now(&self) -> u64 {
        self.now
    }
}

fn file() -> Vec<u8> {
    (0..30_000u32).map(|i| (i * 7 / 3) as u8).collect()
}

/// Answer with this status line's end, fields and body.
fn answer(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\n{fields}\r\n").into_bytes();
    answer.extend(body);
    answer
}

fn whole() -> Vec<u8> {
    answer("200 OK", "Content-Length: 30000\r\n", &file())
}

/// Opens and reads a file in two pieces, and returns what was asked for.
fn read(turns: impl Into<VecDeque<Turn>>) -> (Result<Vec<u8>, String>, Vec<String>, u64) {
    let asked = Rc::default();
    let line = Script {
        turns: turns.into(),
        asked: Rc::clone(&asked),
        ..Script::default()
    };
    let url = Url::parse("http://10.0.2.2:8000/m.gguf").unwrap();
    let mut now = 0;
    let result = match Download::open(line, url) {
        Err(error) => Err(error.to_string()),
        Ok(mut source) => {
            let mut bytes = vec![0; source.size() as usize];
            let (a, b) = bytes.split_at_mut(12_345);
            let read = source
                .read_at(0, a)
                .and_then(|()| source.read_at(12_345, b));
            now = source.line.now;
            read.map(|()| bytes).map_err(|error| error.to_string())
        }
    };
    (result, asked.take(), now)
}

#[test]
fn addresses_are_numbers_and_paths() {
    let url = Url::parse("HTTP://10.0.2.2/a/b.gguf?x=1").unwrap();
    assert_eq!(url.host.to_string(), "10.0.2.2:80");
    assert_eq!(url.path, "/a/b.gguf?x=1");
    for wrong in [
        "http://host/a",
        "https://10.0.2.2/a",
        "http://10.0.2.2",
        "http://10.0.2.2/",
        "http://10.0.2.2:0/a",
        "http://10.0.2.2:70000/a",
        "http://10.0.2.2/a b",
        "http://10.0.2.2/a\r\nX: y",
        "http://u@10.0.2.2/a",
        "10.0.2.2/a",
        "http://10.0.2.2/ä",
    ] {
        assert_eq!(Url::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn a_file_comes_over_one_connection() {
    let (result, asked, _) = read([Turn::Sends(whole())]);
    assert_eq!(result, Ok(file()));
    assert_eq!(
        asked,
        [
            "10.0.2.2:8000 GET /m.gguf HTTP/1.1\r\nHost: 10.0.2.2:8000\r\n\
             User-Agent: llama2.efi\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
        ]
    );
}

#[test]
fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    let cut = |len: usize| whole()[..whole().len() - 30_000 + len].to_vec();
    let from = |at: usize| {
        format!(
            "Content-Length: {}\r\nContent-Range: bytes {at}-29999/30000\r\n",
            30_000 - at
        )
    };
    let rest = |at: usize| answer("206 Partial Content", &from(at), &file()[at..]);
    for silent in [false, true] {
        let first = if silent {
            Turn::Stays(cut(20_000))
        } else {
            Turn::Sends(cut(20_000))
        };
        let (result, asked, now) = read([first, Turn::Refuses, Turn::Sends(rest(20_000))]);
        assert_eq!(result, Ok(file()));
        assert!(
            asked[2].contains("\r\nRange: bytes=20000-\r\n"),
            "{asked:?}"
        );
        assert_eq!(now >= SILENCE, silent);
    }
    // A server that knows no ranges.
    let (result, ..) = read([Turn::Sends(cut(20_000)), Turn::Sends(whole())]);
    assert_eq!(result, Ok(file()));
    // Those that give something else than they were asked for.
    let (result, ..) = read([Turn::Sends(cut(20_000)), Turn::Sends(rest(20_001))]);
    assert!(result.unwrap_err().contains("does not answer in HTTP"));
    let other = answer("200 OK", "Content-Length: 30001\r\n", &file());
    let (result, ..) = read([Turn::Sends(cut(20_000)), Turn::Sends(other)]);
    assert!(
        result
            .unwrap_err()
            .contains("had 30000 bytes, and now has 30001")
    );
    // One that always breaks in the same place, and knows no ranges.
    let turns = (0..99).map(|_| Turn::Sends(cut(20_000)));
    let (result, asked, _) = read(turns.collect::<VecDeque<_>>());
    assert!(result.unwrap_err().contains("reading failed at byte 20000"));
    assert_eq!(asked.len(), ATTEMPTS);
    // In vain.
    let turns: Vec<Turn> = (0..99).map(|_| Turn::Refuses).collect();
    let (result, asked, _) = read(
        [vec![Turn::Sends(cut(20_000))], turns]
            .into_iter()
            .flatten()
            .collect::<VecDeque<_>>(),
    );
    assert!(
        result
            .unwrap_err()
            .contains("reading failed at byte 20000 (the server takes no")
    );
    assert_eq!(asked.len(), ATTEMPTS);
}

#[test]
fn redirects_are_followed_where_they_lead_somewhere() {
    let to = |location: &str| {
        Turn::Sends(answer(
            "302 Found",
            &format!("Location: {location}\r\n"),
            b"",
        ))
    };
    let (result, asked, _) = read([to("/n"), to("http://10.0.2.3/o"), Turn::Sends(whole())]);
    assert_eq!(result, Ok(file()));
    assert!(asked[1].starts_with("10.0.2.2:8000 GET /n "), "{asked:?}");
    assert!(asked[2].starts_with("10.0.2.3:80 GET /o "), "{asked:?}");
    for nowhere in ["https://10.0.2.2/m", "//host/m", "m", ""] {
        let (result, ..) = read([to(nowhere)]);
        assert!(result.unwrap_err().contains("no way to go"), "{nowhere}");
    }
    let (result, asked, _) = read((0..9).map(|_| to("/n")).collect::<VecDeque<_>>());
    assert!(result.unwrap_err().contains("no way to go"));
    assert_eq!(asked.len(), HOPS);
}

#[test]
fn each_refusal_has_its_sentence() {
    for (answer, sentence) in [
        (
            answer("404 Not Found", "", b""),
            "no such file (status 404)",
        ),
        (answer("403 Forbidden", "", b""), "refuses (status 403)"),
        (answer("200 OK", "", b"abc"), "no Content-Length"),
        (
            answer(
                "200 OK",
                "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
                b"",
            ),
            "no Content-L",
        ),
        (
            answer(
                "200 OK",
                "Content-Length: 3\r\nContent-Encoding: gzip\r\n",
                b"",
            ),
            "no Content-Length",
        ),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(), "not answer in HTTP"),
        (
            answer("200 OK", &"X: y\r\n".repeat(FIELDS + 1), b""),
            "not answer in HTTP",
        ),
        (vec![b'H'; HEAD + 1], "not answer in HTTP"),
    ] {
        let (result, ..) = read([Turn::Sends(answer)]);
        let said = result.unwrap_err();
        assert!(said.contains(sentence), "{said:?} instead of {sentence:?}");
    }
}

#[test]
fn a_server_that_starts_later_is_waited_for_and_told_about_once() {
    let busy = || Turn::Sends(answer("503 Service Unavailable", "", b""));
    let turns = [
        Turn::Refuses,
        Turn::Refuses,
        busy(),
        busy(),
        Turn::Sends(whole()),
    ];
    let told = Rc::default();
    let line = Script {
        turns: turns.into(),
        told: Rc::clone(&told),
        ..Script::default()
    };
    let url = Url::parse("http://10.0.2.2/m.gguf").unwrap();
    assert!(Download::open(line, url.clone()).is_ok());
    assert_eq!(
        told.take(),
        [DownloadError::Lost, DownloadError::Status(503)]
    );
    // A user may have enough, and so may we.
    for (patience, end) in [
        (Some(1000), DownloadError::Stopped),
        (None, DownloadError::NoAddress(NetworkState::Waiting)),
    ] {
        let line = Script {
            patience,
            ..Script::default()
        };
        assert_eq!(Download::open(line, url.clone()).err(), Some(end));
    }
}
