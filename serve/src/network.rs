//! Carrier of bytes: implemented by the command over the operating system's sockets, and by the
//! application over the firmware's network card. Nothing here ever waits.

use core::net::IpAddr;

/// Number of a connection, from when it is accepted until it is closed. Numbers may be used again
/// after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub usize);

/// Bytes or news from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// Nothing more will come: the client has closed its side.
    End,
    /// The connection is lost.
    Lost,
}

/// The connection is lost: nothing sent on it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost;

/// Connections to clients.
pub trait Network {
    /// Takes a new connection, if a client has opened one.
    fn accept(&mut self) -> Option<ConnectionId>;

    /// Takes bytes that have come on a connection, at most as many as `buffer` holds (one or more).
    fn receive(&mut self, id: ConnectionId, buffer: &mut [u8]) -> Received;

    /// Sends as many of `bytes` as there is room for now, perhaps none. Returns how many: they are
    /// on their way.
    ///
    /// # Errors
    /// [`Lost`].
    fn send(&mut self, id: ConnectionId, bytes: &[u8]) -> Result<usize, Lost>;

    /// Ends a connection: what was sent still arrives, unless `abort` is wanted, which drops it at
    /// once. The number is not used again by the caller.
    fn close(&mut self, id: ConnectionId, abort: bool);

    /// Address of the client, where it is known.
    fn peer(&self, id: ConnectionId) -> Option<IpAddr>;
}
