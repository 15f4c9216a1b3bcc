//! A card as the network stack sees it: smoltcp's `phy::Device`.

use alloc::vec::Vec;

use smoltcp::{
    phy::{self, Device, DeviceCapabilities, Medium},
    time::Instant,
};

use super::{Card, HEADER, LONGEST, SHORTEST};

/// Card with a buffer for the frame that is being looked at.
#[derive(Debug)]
pub struct Port<C> {
    /// The card.
    pub card: C,
    frame: Vec<u8>,
    /// Frames that came, since the start.
    pub came: u64,
    /// Frames that went.
    pub went: u64,
}

impl<C: Card> Port<C> {
    /// Port of a card.
    pub fn new(card: C) -> Port<C> {
        Port {
            card,
            // Some drivers add a checksum, or a VLAN's tag.
            frame: alloc::vec![0; 2048],
            came: 0,
            went: 0,
        }
    }
}

impl<C: Card> Device for Port<C> {
    type RxToken<'a>
        = Received<'a>
    where
        C: 'a;
    type TxToken<'a>
        = Sender<'a, C>
    where
        C: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sender<'_, C>)> {
        // Whoever gets a frame may answer it.
        if !self.card.can_send() {
            return None;
        }
        let len = self.card.receive(&mut self.frame)?;
        self.came += 1;
        let frame = self.frame.get(..len).unwrap_or_default();
        let sender = Sender {
            card: &mut self.card,
            went: &mut self.went,
        };
        Some((Received(frame), sender))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sender<'_, C>> {
        self.card.can_send().then_some(Sender {
            card: &mut self.card,
            went: &mut self.went,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        let longest = self.card.longest().clamp(HEADER + 576, LONGEST);
        capabilities.max_transmission_unit = longest;
        capabilities
    }
}

/// Frame that came.
#[derive(Debug)]
pub struct Received<'a>(&'a [u8]);

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for a frame to send.
#[derive(Debug)]
pub struct Sender<'a, C> {
    card: &'a mut C,
    went: &'a mut u64,
}

impl<C: Card> phy::TxToken for Sender<'_, C> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        *self.went += 1;
        let (mut f, mut result) = (Some(f), None);
        self.card.send(len.max(SHORTEST), &mut |frame| {
            // Shorter frames are padded with zeros: some cards do not do it.
            let (content, padding) = frame.split_at_mut(len);
            padding.fill(0);
            result = f.take().map(|f| f(content));
        });
        match (result, f) {
            (Some(result), _) => result,
            // A card without a buffer after all: the frame is lost, as frames may be.
            (None, Some(f)) => f(&mut alloc::vec![0; len]),
            (None, None) => unreachable!("`f` is taken where there is a result"),
        }
    }
}
