//! Connection from the machine to a server, one at a time.

use core::net::SocketAddrV4;

use llama2_serve::{Lost, Received};
use smoltcp::socket::tcp::{self, State};

use super::{KEEP_ALIVE, PATIENCE, Stack, buffer, receive};
use crate::network::{Card, NetworkState};

/// Bytes that the server can send before they are taken. Cards of some makers lose frames of a
/// larger window.
const RECEIVE: usize = 256 << 10;
/// Bytes of a request under way.
const SEND: usize = 4 << 10;

impl<C: Card> Stack<C> {
    /// Begins to connect to a server. What was connected before is hung up.
    ///
    /// # Errors
    /// The network's state, if the machine has no address.
    pub fn dial(&mut self, to: SocketAddrV4, now: u64) -> Result<(), NetworkState> {
        self.hang_up(now);
        let state = self.state();
        let (NetworkState::Address(_), Some(coming), Some(going)) =
            (state, buffer(RECEIVE), buffer(SEND))
        else {
            return Err(state);
        };
        let (coming, going) = (
            tcp::SocketBuffer::new(coming),
            tcp::SocketBuffer::new(going),
        );
        let mut socket = tcp::Socket::new(coming, going);
        socket.set_keep_alive(Some(KEEP_ALIVE));
        socket.set_timeout(Some(PATIENCE));
        // A port that the last connections had not.
        self.line.1 = self.line.1.wrapping_add(1);
        let port = 0xc000 | self.line.1;
        // A socket that cannot connect is closed, and so is lost.
        let _ = socket.connect(self.interface.context(), (*to.ip(), to.port()), port);
        self.line.0 = Some(self.sockets.add(socket));
        Ok(())
    }

    /// The connection, from the first step to its end.
    fn line(&mut self) -> Option<&mut tcp::Socket<'static>> {
        Some(self.sockets.get_mut(self.line.0?))
    }

    /// Takes what the server has sent.
    pub fn line_receive(&mut self, buffer: &mut [u8]) -> Received {
        match self.line() {
            Some(socket) if socket.state() == State::SynSent => Received::Nothing,
            Some(socket) => receive(socket, buffer),
            None => Received::Lost,
        }
    }

    /// Sends bytes to the server, as many as there is room for: none before it is connected.
    ///
    /// # Errors
    /// If there is no connection any more.
    pub fn line_send(&mut self, bytes: &[u8]) -> Result<usize, Lost> {
        match self.line() {
            Some(socket) if socket.state() == State::SynSent => Ok(0),
            Some(socket) => socket.send_slice(bytes).map_err(|_| Lost),
            None => Err(Lost),
        }
    }

    /// Ends the connection, and tells the server.
    pub fn hang_up(&mut self, now: u64) {
        let Some(socket) = self.line() else { return };
        socket.abort();
        self.poll(now);
        if let Some(handle) = self.line.0.take() {
            self.sockets.remove(handle);
        }
    }
}
