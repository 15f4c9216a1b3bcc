//! File that a web server gives, by HTTP (RFC 9110, RFC 9112).

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::{Ipv4Addr, SocketAddrV4};

use llama2_engine::source::{ByteSource, ReadError};
use llama2_serve::{Lost, Received};

use super::NetworkState;

/// Most bytes of an answer's head, and most fields in it.
const HEAD: usize = 16 << 10;
const FIELDS: usize = 64;
/// Milliseconds without a byte after which a connection is given up.
const SILENCE: u64 = 15_000;
/// Milliseconds between two attempts.
const PAUSE: u64 = 1_000;
/// Milliseconds between two attempts while there is no address, and in which one mostly comes.
const PAUSE_ADDRESS: u64 = 100;
const ADDRESS: u64 = 5_000;
/// Milliseconds in which attempts to begin may fail: the server may start together with us.
const BEGINNING: u64 = 300_000;
/// Attempts to go on that may bring nothing.
const ATTEMPTS: usize = 30;
/// Longest chain of redirects.
const HOPS: usize = 5;

/// Outgoing connection, one at a time, and the time that it takes.
pub trait Line {
    /// Begins to connect. What was connected before is hung up.
    ///
    /// # Errors
    /// The network's state, if the machine has no address.
    fn dial(&mut self, to: SocketAddrV4) -> Result<(), NetworkState>;

    /// Takes what has come.
    fn receive(&mut self, buffer: &mut [u8]) -> Received;

    /// Sends as many bytes as there is room for: none before it is connected.
    ///
    /// # Errors
    /// If there is no connection any more.
    fn send(&mut self, bytes: &[u8]) -> Result<usize, Lost>;

    /// Ends the connection.
    fn hang_up(&mut self);

    /// Ends for good.
    fn end(&mut self);

    /// Hears why another attempt is made, once for each reason in a row.
    fn tell(&mut self, why: &DownloadError);

    /// Lets a moment pass. Returns false if the user wants to wait no longer.
    fn wait(&mut self) -> bool;

    /// Time in milliseconds.
    fn now(&self) -> u64;
}

/// Address of a file: `http://A.B.C.D:PORT/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    host: SocketAddrV4,
    /// Path with its `/`, and the query.
    path: String,
}

impl Url {
    /// Returns true if a setting means one, if only a wrong one.
    pub fn is_meant(text: &str) -> bool {
        text.contains("://")
    }

    /// Parses an address; `None` if it is none: names are not resolved, and there is no TLS.
    pub fn parse(text: &str) -> Option<Url> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (address, port) = authority.split_once(':').unwrap_or((authority, "80"));
        let address: Ipv4Addr = address.parse().ok()?;
        let port = port.parse().ok().filter(|&port| port > 0)?;
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        (scheme.eq_ignore_ascii_case("http") && path.len() > 1 && path.bytes().all(is_plain)).then(
            || Url {
                host: SocketAddrV4::new(address, port),
                path: path.to_string(),
            },
        )
    }

    /// Address that a redirect leads to.
    fn follow(&self, location: &str) -> Option<Url> {
        match location.strip_prefix('/') {
            Some(path) if !path.starts_with('/') => Some(Url {
                path: location.to_string(),
                ..self.clone()
            }),
            _ => Url::parse(location),
        }
    }
}

/// Reason for having no file, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownloadError {
    /// The machine has no address.
    NoAddress(NetworkState),
    /// A key ended it.
    Stopped,
    /// Nobody takes the connection, or it broke.
    Lost,
    /// Nothing has come for so many milliseconds.
    Silence(u64),
    /// The server answers with this status.
    Status(u16),
    /// The server sends on to this address, which is none to go to.
    Redirect(String),
    /// The server does not say how long the file is.
    NoLength,
    /// Answer that is not in HTTP.
    Malformed,
    /// The file had the first length, and now has the second.
    Changed(u64, u64),
}

impl DownloadError {
    /// Returns true if another attempt may be luckier.
    fn may_pass(&self) -> bool {
        match self {
            DownloadError::NoAddress(state) => !matches!(state, NetworkState::NoCard(_)),
            DownloadError::Lost | DownloadError::Silence(_) => true,
            // Too many requests, or the server is overloaded or about to start.
            DownloadError::Status(status) => matches!(status, 429 | 500 | 502..=504),
            _ => false,
        }
    }
}

/// File that is read over a line, in order: where it breaks off, it is asked for anew from there.
pub struct Download<L: Line> {
    line: L,
    url: Url,
    /// Bytes of the file.
    size: u64,
    /// Bytes of the file before the next that comes.
    at: u64,
    /// Bytes that came with the answer's head.
    early: Vec<u8>,
    is_connected: bool,
}

impl<L: Line> Download<L> {
    /// Asks for a file, for some minutes if need be.
    ///
    /// # Errors
    /// The reason why it cannot be had.
    pub fn open(line: L, url: Url) -> Result<Download<L>, DownloadError> {
        let mut download = Download {
            line,
            url,
            size: 0,
            at: 0,
            early: Vec::new(),
            is_connected: false,
        };
        let start = download.line.now();
        let mut told = None;
        loop {
            let error = match download.ask(0, None) {
                Ok(()) => return Ok(download),
                Err(error) => error,
            };
            let took = download.line.now().saturating_sub(start);
            if !error.may_pass() || took >= BEGINNING {
                return Err(error);
            }
            let is_early = matches!(error, DownloadError::NoAddress(_)) && took < ADDRESS;
            if !is_early && told.as_ref() != Some(&error) {
                download.line.tell(&error);
                told = Some(error);
            }
            download.pause(if is_early { PAUSE_ADDRESS } else { PAUSE })?;
        }
    }

    /// Waits before the next attempt.
    fn pause(&mut self, milliseconds: u64) -> Result<(), DownloadError> {
        self.line.hang_up();
        let start = self.line.now();
        while self.line.now().saturating_sub(start) < milliseconds {
            if !self.line.wait() {
                return Err(DownloadError::Stopped);
            }
        }
        Ok(())
    }

    /// Lets a moment pass in which nothing has come since `since`.
    fn wait(&mut self, since: u64) -> Result<(), DownloadError> {
        let silent = self.line.now().saturating_sub(since);
        match self.line.wait() {
            _ if silent >= SILENCE => Err(DownloadError::Silence(silent)),
            true => Ok(()),
            false => Err(DownloadError::Stopped),
        }
    }

    /// Asks for the file from byte `from` on; `size` is what it was before.
    fn ask(&mut self, from: u64, size: Option<u64>) -> Result<(), DownloadError> {
        self.is_connected = false;
        for _ in 0..HOPS {
            self.send_request(from)?;
            let head = self.receive_head()?;
            let location = match head.status {
                206 if head.from != Some(from) => return Err(DownloadError::Malformed),
                200 | 206 => {
                    let at = if head.status == 206 { from } else { 0 };
                    let len = head.len.ok_or(DownloadError::NoLength)?;
                    let found = at.saturating_add(len);
                    if let Some(size) = size.filter(|&size| size != found) {
                        return Err(DownloadError::Changed(size, found));
                    }
                    (self.size, self.at) = (found, at);
                    self.is_connected = true;
                    return Ok(());
                }
                301 | 302 | 303 | 307 | 308 => head.location.unwrap_or_default(),
                status => return Err(DownloadError::Status(status)),
            };
            let next = self.url.follow(&location);
            self.url = next.ok_or(DownloadError::Redirect(location))?;
        }
        Err(DownloadError::Redirect(self.url.path.clone()))
    }

    fn send_request(&mut self, from: u64) -> Result<(), DownloadError> {
        let Url { host, path } = &self.url;
        let range = match from {
            0 => String::new(),
            from => format!("Range: bytes={from}-\r\n"),
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: llama2.efi\r\n\
             Accept-Encoding: identity\r\nConnection: close\r\n{range}\r\n"
        );
        self.early.clear();
        self.line.dial(*host).map_err(DownloadError::NoAddress)?;
        let (start, mut rest) = (self.line.now(), request.as_bytes());
        while !rest.is_empty() {
            match self.line.send(rest) {
                Ok(0) => self.wait(start)?,
                Ok(len) => rest = &rest[len..],
                Err(Lost) => return Err(DownloadError::Lost),
            }
        }
        Ok(())
    }

    /// Takes an answer's head; what comes behind it is kept.
    fn receive_head(&mut self) -> Result<Head, DownloadError> {
        let start = self.line.now();
        let mut piece = [0; 2048];
        loop {
            match self.line.receive(&mut piece) {
                Received::Nothing => self.wait(start)?,
                Received::Bytes(len) => self.early.extend(&piece[..len]),
                Received::End | Received::Lost => return Err(DownloadError::Lost),
            }
            if let Some((len, head)) = Head::parse(&self.early)? {
                self.early.drain(..len);
                return Ok(head);
            }
            if self.early.len() > HEAD {
                return Err(DownloadError::Malformed);
            }
        }
    }

    /// Takes the next bytes of the file.
    fn receive(&mut self, buf: &mut [u8]) -> Result<usize, DownloadError> {
        if !self.early.is_empty() {
            let len = buf.len().min(self.early.len());
            buf[..len].copy_from_slice(&self.early[..len]);
            self.early.drain(..len);
            return Ok(len);
        }
        let start = self.line.now();
        loop {
            match self.line.receive(buf) {
                Received::Bytes(len) => return Ok(len),
                Received::Nothing => self.wait(start)?,
                Received::End | Received::Lost => return Err(DownloadError::Lost),
            }
        }
    }

    /// Fills `buf` with the bytes from `offset` on, over one connection after another.
    fn fill(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), DownloadError> {
        let (mut done, mut failed) = (0, 0);
        while done < buf.len() {
            let wanted = offset + done as u64;
            let result = if self.is_connected && self.at <= wanted {
                // Servers without ranges begin at the front.
                let mut passed = [0; 4096];
                let ahead = wanted - self.at;
                let place = match ahead {
                    0 => &mut buf[done..],
                    ahead => &mut passed[..ahead.min(4096) as usize],
                };
                self.receive(place).map(|len| {
                    self.at += len as u64;
                    if ahead == 0 {
                        (done, failed) = (done + len, 0);
                    }
                })
            } else {
                self.ask(wanted, Some(self.size))
            };
            let Err(error) = result else { continue };
            self.is_connected = false;
            failed += 1;
            if !error.may_pass() || failed == ATTEMPTS {
                return Err(error);
            }
            if failed == 1 {
                self.line.tell(&error);
            }
            self.pause(PAUSE)?;
        }
        Ok(())
    }
}

impl<L: Line> ByteSource for Download<L> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        if offset.saturating_add(buf.len() as u64) > self.size {
            return Err(ReadError::new(self.size, "end of file".into()));
        }
        let filled = self.fill(offset, buf);
        if filled.is_err() || self.at == self.size {
            self.line.end();
            self.is_connected = false;
        }
        filled.map_err(|error| ReadError {
            offset: self.at,
            reason: error.to_string(),
            advice: "load the model again, with /model",
        })
    }
}

/// Head of an answer.
struct Head {
    status: u16,
    /// Bytes that follow, if it says so.
    len: Option<u64>,
    /// Place in the file where they begin, if it is not the front.
    from: Option<u64>,
    location: Option<String>,
}

impl Head {
    /// Parses an answer's head, and returns its length, too; `None` if it is not all there.
    fn parse(bytes: &[u8]) -> Result<Option<(usize, Head)>, DownloadError> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut answer = httparse::Response::new(&mut fields);
        let parsed = answer.parse(bytes).map_err(|_| DownloadError::Malformed)?;
        let httparse::Status::Complete(len) = parsed else {
            return Ok(None);
        };
        let field = |name: &str| {
            let field = answer
                .headers
                .iter()
                .find(|field| field.name.eq_ignore_ascii_case(name))?;
            core::str::from_utf8(field.value).ok().map(str::trim)
        };
        let is_plain = ["Transfer-Encoding", "Content-Encoding"]
            .iter()
            .all(|name| field(name).is_none_or(|value| value.eq_ignore_ascii_case("identity")));
        let content = field("Content-Length").and_then(|digits| digits.parse().ok());
        let range = field("Content-Range").and_then(|range| range.strip_prefix("bytes "));
        let from = range.and_then(|range| range.split_once('-')?.0.parse().ok());
        let head = Head {
            from,
            status: answer.code.unwrap_or_default(),
            len: content.filter(|_| is_plain),
            location: field("Location").map(str::to_string),
        };
        Ok(Some((len, head)))
    }
}

#[cfg(test)]
mod tests;
