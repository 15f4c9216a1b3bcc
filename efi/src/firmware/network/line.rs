//! Connection from the machine to a server, over the network that is up.

use core::{net::SocketAddrV4, time::Duration};

use llama2_efi::network::{
    NetworkState, NoCard,
    download::{DownloadError, Line},
};
use llama2_serve::{Lost, Received};
use uefi::boot;

use super::{ask, close, mend, poll};
use crate::firmware::clock;

/// Milliseconds between two looks at the keyboard.
const LOOK: u64 = 50;
/// Time between two polls while nothing comes.
const IDLE: Duration = Duration::from_micros(100);

/// The connection. There is one at a time.
pub struct FirmwareLine {
    /// True if the network is for this alone, and goes with it.
    is_alone: bool,
    /// True once the connection is another's.
    is_over: bool,
    /// Returns true if the user wants to wait no longer.
    has_enough: fn() -> bool,
    /// Hears why another attempt is made.
    tell: fn(&DownloadError),
    looked: u64,
}

impl FirmwareLine {
    /// Line over the network, which goes with it if `is_alone`. `has_enough` looks at the
    /// keys, `tell` hears why another attempt is made.
    pub fn new(is_alone: bool, has_enough: fn() -> bool, tell: fn(&DownloadError)) -> FirmwareLine {
        FirmwareLine {
            is_alone,
            is_over: false,
            has_enough,
            tell,
            looked: 0,
        }
    }
}

impl Line for FirmwareLine {
    fn dial(&mut self, to: SocketAddrV4) -> Result<(), NetworkState> {
        let state = super::state().unwrap_or(NetworkState::NoCard(NoCard::Missing));
        ask(Err(state), |stack| stack.dial(to, clock::microseconds()))
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Received {
        poll();
        ask(Received::Nothing, |stack| stack.line_receive(buffer))
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, Lost> {
        let sent = ask(Ok(0), |stack| stack.line_send(bytes));
        poll();
        sent
    }

    fn hang_up(&mut self) {
        ask((), |stack| stack.hang_up(clock::microseconds()));
    }

    fn end(&mut self) {
        if core::mem::replace(&mut self.is_over, true) {
            return;
        }
        match self.is_alone {
            true => close(),
            false => self.hang_up(),
        }
    }

    fn tell(&mut self, why: &DownloadError) {
        (self.tell)(why);
    }

    fn wait(&mut self) -> bool {
        if !poll() {
            boot::stall(IDLE);
        }
        let now = self.now();
        if now - self.looked < LOOK {
            return true;
        }
        self.looked = now;
        mend();
        !(self.has_enough)()
    }

    fn now(&self) -> u64 {
        clock::milliseconds()
    }
}

impl Drop for FirmwareLine {
    fn drop(&mut self) {
        self.end();
    }
}
