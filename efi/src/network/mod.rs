//! Network: from a card's frames to connections, without firmware and without words. [`Card`] is
//! what the firmware brings, [`stack::Stack`] what a server uses.

use core::net::Ipv4Addr;

#[cfg(test)]
mod answer;
pub mod boot_server;
pub mod candidates;
pub mod cards;
pub mod device;
pub mod download;
pub mod mdns;
pub mod sentences;
pub mod stack;
pub mod transmit_pool;

/// Bytes of a frame's header: two addresses and a type.
pub const HEADER: usize = 14;
/// Bytes of the shortest frame, which shorter ones are padded to.
pub const SHORTEST: usize = 60;
/// Bytes of the longest frame.
pub const LONGEST: usize = 1514;

/// Network card: sends and receives Ethernet frames, without ever waiting.
pub trait Card {
    /// Address of the card.
    fn mac(&self) -> [u8; 6];

    /// Bytes of the longest frame that it sends, header included.
    fn longest(&self) -> usize;

    /// Returns true if a cable is in it; `None` if it cannot tell.
    fn has_link(&mut self) -> Option<bool>;

    /// Takes back buffers whose frames have been sent, at this time in microseconds.
    fn reclaim(&mut self, now: u64);

    /// Takes a frame that has come, if there is one, and returns its length.
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize>;

    /// Returns true if there is a buffer for a frame.
    fn can_send(&self) -> bool;

    /// Has `fill` make a frame of `len` bytes, and sends it.
    fn send(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8]));

    /// Returns true if it has given no buffer back though it had long enough.
    fn keeps_buffers(&self) -> bool {
        false
    }
}

/// Returns true if a card can have this address: one card's, and not nobody's.
pub fn is_unicast(mac: [u8; 6]) -> bool {
    mac[0] & 1 == 0 && mac != [0; 6]
}

/// State of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkState {
    /// There is no card to use.
    NoCard(NoCard),
    /// No cable is in the card.
    NoLink,
    /// No address yet: no DHCP server has answered.
    Waiting,
    /// The machine has this address.
    Address(Ipv4Addr),
    /// The machine had an address, but the DHCP server does not renew it.
    Lost,
}

/// Fault of a card for which another way of using it is worth a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardFault {
    /// Frames went, but none came.
    Deaf,
    /// Buffers are not given back.
    KeepsBuffers,
}

/// Reason for having no card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCard {
    /// The firmware has none.
    Missing,
    /// None has the address that was asked for.
    Unknown,
    /// The firmware does not start any.
    Refused,
}
