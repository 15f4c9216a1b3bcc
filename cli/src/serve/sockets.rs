//! The operating system's sockets as a server's network: none of them ever waits.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr},
    time::{Duration, Instant},
};

use llama2_serve::{ConnectionId, Lost, Network, Received};
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

/// Events that are taken at once.
const EVENTS: usize = 256;

/// Time that is left to a client to take the end of an answer.
const LINGER: Duration = Duration::from_secs(2);
/// Most reads of what is still sent on such a connection, before others have their turn.
const MOST_READS: usize = 64;

/// A connection, and what is known of it: the system tells each change once.
struct Stream {
    stream: TcpStream,
    peer: IpAddr,
    may_read: bool,
    may_write: bool,
}

/// Listening sockets and connections.
pub struct Sockets {
    poll: Poll,
    events: Events,
    listeners: Vec<(TcpListener, bool)>,
    streams: Vec<Option<Stream>>,
    free: Vec<usize>,
    /// Connections that are closed once the client has taken everything.
    closing: Vec<(TcpStream, Instant)>,
}

impl Sockets {
    /// Listens at these addresses.
    pub fn listen(addresses: &[SocketAddr]) -> io::Result<Sockets> {
        let poll = Poll::new()?;
        let mut listeners = Vec::new();
        for (number, address) in addresses.iter().enumerate() {
            let mut listener = TcpListener::bind(*address)?;
            let token = Token(usize::MAX - 1 - number);
            poll.registry()
                .register(&mut listener, token, Interest::READABLE)?;
            listeners.push((listener, true));
        }
        Ok(Sockets {
            poll,
            events: Events::with_capacity(EVENTS),
            listeners,
            streams: Vec::new(),
            free: Vec::new(),
            closing: Vec::new(),
        })
    }

    /// The addresses that are listened at.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let listeners = self.listeners.iter();
        listeners
            .filter_map(|(listener, _)| listener.local_addr().ok())
            .collect()
    }

    /// Waits at most so long for something to happen.
    pub fn wait(&mut self, time: Duration) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(time)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => (),
        }
        for event in &self.events {
            let Token(number) = event.token();
            if let Some((_, may_accept)) = self.listeners.get_mut(usize::MAX - 1 - number) {
                *may_accept = true;
            } else if let Some(Some(stream)) = self.streams.get_mut(number) {
                stream.may_read |=
                    event.is_readable() || event.is_read_closed() || event.is_error();
                stream.may_write |=
                    event.is_writable() || event.is_write_closed() || event.is_error();
            }
        }
        self.closing.retain_mut(|(stream, since)| {
            let mut rest = [0; 4096];
            // What the client still sends is taken: data that nobody reads would reset the
            // connection before the client has read the answer. Not all at once: it may send faster
            // than this reads.
            let is_open = (0..MOST_READS).find_map(|_| match stream.read(&mut rest) {
                Ok(0) => Some(false),
                Ok(_) => None,
                Err(error) => Some(error.kind() == ErrorKind::WouldBlock),
            });
            is_open.unwrap_or(true) && since.elapsed() < LINGER
        });
        Ok(())
    }

    fn stream(&mut self, ConnectionId(number): ConnectionId) -> Option<&mut Stream> {
        self.streams.get_mut(number)?.as_mut()
    }
}

impl Network for Sockets {
    fn accept(&mut self) -> Option<ConnectionId> {
        for (listener, may_accept) in &mut self.listeners {
            while *may_accept {
                let (mut stream, peer) = match listener.accept() {
                    Ok(accepted) => accepted,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => {
                        // Others, such as too many open files, may be over the next time.
                        *may_accept = error.kind() != ErrorKind::WouldBlock;
                        break;
                    }
                };
                let number = self.free.pop().unwrap_or_else(|| {
                    self.streams.push(None);
                    self.streams.len() - 1
                });
                let interest = Interest::READABLE | Interest::WRITABLE;
                let registry = self.poll.registry();
                // Small pieces of an answer go out at once.
                let _ = stream.set_nodelay(true);
                if registry
                    .register(&mut stream, Token(number), interest)
                    .is_err()
                {
                    self.free.push(number);
                    continue;
                }
                self.streams[number] = Some(Stream {
                    stream,
                    peer: peer.ip(),
                    may_read: true,
                    may_write: true,
                });
                return Some(ConnectionId(number));
            }
        }
        None
    }

    fn receive(&mut self, id: ConnectionId, buffer: &mut [u8]) -> Received {
        let Some(own) = self.stream(id) else {
            return Received::Lost;
        };
        while own.may_read {
            match own.stream.read(buffer) {
                Ok(0) => return Received::End,
                Ok(count) => return Received::Bytes(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => own.may_read = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(_) => return Received::Lost,
            }
        }
        Received::Nothing
    }

    fn send(&mut self, id: ConnectionId, bytes: &[u8]) -> Result<usize, Lost> {
        let Some(own) = self.stream(id) else {
            return Err(Lost);
        };
        while own.may_write {
            match own.stream.write(bytes) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => own.may_write = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(_) => return Err(Lost),
            }
        }
        Ok(0)
    }

    fn close(&mut self, ConnectionId(number): ConnectionId, abort: bool) {
        let Some(Stream { mut stream, .. }) = self.streams.get_mut(number).and_then(Option::take)
        else {
            return;
        };
        self.free.push(number);
        let _ = self.poll.registry().deregister(&mut stream);
        if !abort && stream.shutdown(Shutdown::Write).is_ok() {
            self.closing.push((stream, Instant::now()));
        }
    }

    fn peer(&self, ConnectionId(number): ConnectionId) -> Option<IpAddr> {
        let own = self.streams.get(number)?.as_ref()?;
        Some(own.peer)
    }
}
