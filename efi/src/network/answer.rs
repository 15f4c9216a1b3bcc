//! Stand-in for a server: the same answer to every request.

use alloc::{format, vec::Vec};

use llama2_serve::{ConnectionId, Network, Received};

/// Text of every answer.
pub const TEXT: &str = "llama2.efi is here.\n";
/// Bytes of a request's head that are kept; a longer one is refused.
const HEAD: usize = 8 << 10;
/// Most bytes that `/bytes/N` gives.
const MOST: usize = 64 << 20;

/// Connection and what is known of its request.
#[derive(Debug)]
struct Client {
    id: ConnectionId,
    head: Vec<u8>,
    /// Bytes that are still to be sent: those of `reply`, then so many others.
    reply: Vec<u8>,
    sent: usize,
    more: usize,
    is_answered: bool,
}

/// Answers each request with [`TEXT`]; `/bytes/N` with N bytes, to measure the network.
#[derive(Debug, Default)]
pub struct FixedAnswer {
    clients: Vec<Client>,
}

impl FixedAnswer {
    /// Takes in what has come, and sends what there is room for.
    pub fn poll(&mut self, network: &mut impl Network) {
        while let Some(id) = network.accept() {
            self.clients.push(Client {
                id,
                head: Vec::new(),
                reply: Vec::new(),
                sent: 0,
                more: 0,
                is_answered: false,
            });
        }
        self.clients.retain_mut(|client| {
            let goes_on = client.poll(network);
            match goes_on {
                Ok(true) => return true,
                Ok(false) => network.close(client.id, false),
                Err(()) => network.close(client.id, true),
            }
            false
        });
    }
}

/// The first `most` bytes of those that end an answer: none is like its neighbours, so that any
/// that are missing or in the wrong place can be told.
pub fn filling_of(len: usize, most: usize) -> Vec<u8> {
    let letter = |left: usize| b'a' + (left % 23) as u8;
    (0..len.min(most)).map(|at| letter(len - at)).collect()
}

impl Client {
    /// Goes on with a request; false at its end, an error if nothing can come of it.
    fn poll(&mut self, network: &mut impl Network) -> Result<bool, ()> {
        let mut piece = [0; 1024];
        while !self.is_answered {
            match network.receive(self.id, &mut piece) {
                Received::Nothing => return Ok(true),
                Received::End | Received::Lost => return Err(()),
                Received::Bytes(len) => self.head.extend(&piece[..len]),
            }
            if self.head.len() > HEAD {
                return Err(());
            }
            if self.head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                self.answer();
            }
        }
        let mut filling;
        loop {
            let rest = &self.reply[self.sent..];
            let bytes = if rest.is_empty() {
                filling = filling_of(self.more, 4096);
                &filling
            } else {
                rest
            };
            if bytes.is_empty() {
                return Ok(false);
            }
            let len = network.send(self.id, bytes).map_err(|_| ())?;
            if len == 0 {
                return Ok(true);
            }
            if rest.is_empty() {
                self.more -= len;
            } else {
                self.sent += len;
            }
        }
    }

    fn answer(&mut self) {
        let wanted = self.head.strip_prefix(b"GET /bytes/").and_then(|rest| {
            let number = rest.split(|byte| *byte == b' ').next()?;
            core::str::from_utf8(number).ok()?.parse().ok()
        });
        let text = if wanted.is_some() { "" } else { TEXT };
        self.more = wanted.unwrap_or(0).min(MOST);
        let len = text.len() + self.more;
        self.reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\n\
             Connection: close\r\n\r\n{text}"
        )
        .into_bytes();
        self.is_answered = true;
    }
}
