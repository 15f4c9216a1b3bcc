//! Use of untrusted bytes as a web server or a boot server sends them.

use core::net::SocketAddrV4;

use llama2_efi::network::{
    NetworkState,
    boot_server::BootServer,
    download::{Download, DownloadError, Line, Url},
};
use llama2_engine::source::ByteSource;
use llama2_serve::{Lost, Received};
use llama2_testing::{
    gauge::bounded,
    kept::{Seed, kept, seed},
};

/// Separator of what the server sends over one connection and the next.
const NEXT: u8 = 0xff;
/// Most bytes of the file that are read.
const MOST: u64 = 64 << 10;
/// Bytes of memory that an answer's head may take, several times over.
const FLOOR: u64 = 128 << 10;

/// Line to a server that sends these, and where there are no more takes no connection.
struct Script<'a> {
    turns: core::slice::Split<'a, u8, fn(&u8) -> bool>,
    turn: Option<&'a [u8]>,
    now: u64,
}

impl Line for Script<'_> {
    fn dial(&mut self, _: SocketAddrV4) -> Result<(), NetworkState> {
        self.turn = self.turns.next();
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Received {
        match &mut self.turn {
            None => Received::Lost,
            Some([]) => Received::End,
            Some(bytes) => {
                let len = bytes.len().min(buffer.len()).min(700);
                buffer[..len].copy_from_slice(&bytes[..len]);
                *bytes = &bytes[len..];
                Received::Bytes(len)
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, Lost> {
        self.turn.map(|_| bytes.len()).ok_or(Lost)
    }

    fn hang_up(&mut self) {
        self.turn = None;
    }

    fn tell(&mut self, _: &DownloadError) {}

    fn end(&mut self) {
        self.turn = None;
    }

    fn wait(&mut self) -> bool {
        self.now += 500;
        true
    }

    fn now(&self) -> u64 {
        self.now
    }
}

/// A model's file, over one connection after another; a boot server's answer.
pub fn run(bytes: &[u8]) {
    let _ = BootServer::of(bytes);
    let is_next: fn(&u8) -> bool = |byte| *byte == NEXT;
    let line = Script {
        turns: bytes.split(is_next),
        turn: None,
        now: 0,
    };
    let url = Url::parse("http://10.0.2.2/m.gguf").expect("it is an address");
    let most = 8 * bytes.len() as u64 + MOST + FLOOR;
    let told = bounded("downloading", most, || {
        let mut file = match Download::open(line, url) {
            Ok(file) => file,
            Err(error) => return error.to_string(),
        };
        let mut all = vec![0; file.size().min(MOST) as usize];
        let (front, rest) = all.split_at_mut(file.size().min(100) as usize);
        let read = file
            .read_at(0, front)
            .and_then(|()| file.read_at(100, rest));
        read.map_or_else(|error| error.to_string(), |()| "the file was read".into())
    });
    let is_plain = !told.contains(|letter: char| letter.is_control());
    assert!((13..400).contains(&told.len()) && is_plain, "{told:?}");
}

pub fn seeds(target: &str) -> Vec<Seed> {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n";
    let rest = "HTTP/1.1 206 Partial Content\r\nContent-Length: 100\r\nContent-Range: bytes \
                200-299/300\r\n\r\n";
    let away = "HTTP/1.1 302 Found\r\nLocation: http://10.0.2.3:81/n\r\n\r\n";
    let bytes = "0123456789".repeat(30);
    let with = |parts: &[&str]| {
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        parts.join(&NEXT)
    };
    let mut seeds = vec![
        seed("whole", with(&[&(ok.to_owned() + &bytes)])),
        seed(
            "broken",
            with(&[
                &(ok.to_owned() + &bytes[..200]),
                &(rest.to_owned() + &bytes[200..]),
            ]),
        ),
        seed("away", with(&[away, &(ok.to_owned() + &bytes)])),
        seed("missing", with(&["HTTP/1.1 404 Not Found\r\n\r\n"])),
    ];
    seeds.extend(kept(target));
    seeds
}
