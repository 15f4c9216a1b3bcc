//! Network in firmware: a card, a stack over it, and what is served. All of it is polled: by a
//! timer, whatever the application is doing, and where it waits for keys. Nothing here waits, and
//! nothing is touched until [`begin`].

use alloc::{boxed::Box, vec::Vec};
use core::{
    ffi::c_void,
    mem,
    net::IpAddr,
    ptr::NonNull,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use llama2_efi::network::{
    Card, CardFault, LONGEST, NetworkState, NoCard, cards::Cards, stack::Stack,
};
use llama2_serve::{ConnectionId, Lost, Received};
use llama2_settings::Addressing;
use uefi::Event;

use super::{clock, global::Global, random, timer::Timer};

mod line;
mod mnp;
mod snp;

pub use line::FirmwareLine;

use mnp::MnpCard;
use snp::SnpCard;

/// Time between two polls of the timer; firmware's timers are no finer.
const POLLED: Duration = Duration::from_millis(10);
/// Microseconds after a frame within which the next is likely to follow.
const BUSY: u64 = 3_000;

/// Microseconds that a poll takes while frames come and go.
const TURN: u64 = 250;
/// The timer's polls have one in so many parts of the time: what is computed meanwhile goes on. Who
/// waits for the network polls it himself.
const SHARE: u64 = 100;

/// Microseconds for which the last frames may take their time at the end.
const FAREWELL: u64 = 50_000;

/// Wishes about the network.
#[derive(Debug, Clone, Copy)]
pub struct Wishes {
    pub addressing: Addressing,
    /// TCP port of the server; 0 if there is to be none.
    pub port: u16,
    /// Address of the card, if one is named.
    pub nic: Option<[u8; 6]>,
    /// True if no card is to be had alone, for tests.
    pub shared: bool,
}

/// Card of the firmware.
enum FirmwareCard {
    Alone(Box<SnpCard>),
    Shared(Box<MnpCard>),
    /// None, while one way of using it is exchanged for another, or if neither works any more.
    Gone([u8; 6]),
}

/// Network that is up.
struct Up {
    cards: Cards<FirmwareCard>,
    /// Time of the last frame, in microseconds.
    moved: u64,
    /// Cards that are used in another way than at first, and why.
    exchanged: Vec<([u8; 6], CardFault)>,
    _timer: Option<Timer>,
}

enum Network {
    Off,
    Without(NoCard),
    Up(Box<Up>),
}

static NETWORK: Global<Network> = Global::new(Network::Off);
/// True while there is something to poll.
static IS_UP: AtomicBool = AtomicBool::new(false);
/// Time in microseconds until which the timer does not poll.
static LEFT_ALONE: AtomicU64 = AtomicU64::new(0);

/// Opens the cards and takes connections. [`state`] tells what came of it. `wake` starts the
/// drivers of devices that the firmware has left asleep, if no card is found without.
pub fn begin(wishes: Wishes, wake: &mut dyn FnMut()) {
    let cards = find(wishes).or_else(|_| {
        wake();
        find(wishes)
    });
    let network = match cards.map(|cards| up(cards, wishes)) {
        Ok(Some(up)) => Network::Up(Box::new(up)),
        Ok(None) => Network::Without(NoCard::Refused),
        Err(why) => Network::Without(why),
    };
    IS_UP.store(matches!(network, Network::Up(_)), Relaxed);
    NETWORK.with(|place| *place = network);
}

/// Finds cards: those for us alone, or else those that are shared.
fn find(wishes: Wishes) -> Result<Vec<FirmwareCard>, NoCard> {
    let why = if wishes.shared {
        NoCard::Missing
    } else {
        match snp::open_all(wishes.nic) {
            Ok(cards) => return Ok(cards.into_iter().map(FirmwareCard::alone).collect()),
            Err(why) => why,
        }
    };
    let handles = mnp::handles().into_iter();
    let cards = handles.filter_map(|handle| MnpCard::open(handle, wishes.nic));
    let cards: Vec<_> = cards.map(FirmwareCard::shared).collect();
    if cards.is_empty() {
        Err(why)
    } else {
        Ok(cards)
    }
}

/// Puts a stack on each card.
fn up(cards: Vec<FirmwareCard>, wishes: Wishes) -> Option<Up> {
    let now = clock::microseconds();
    let stack = |card| {
        let (seed, _) = random::number();
        Stack::new(card, wishes.addressing, wishes.port, seed, now)
    };
    let cards = Cards::new(cards.into_iter().filter_map(stack).collect())?;
    // Safety: `on_time` uses a global alone, through a checked borrow.
    let timer = unsafe { Timer::every(POLLED, on_time, None) };
    Some(Up {
        cards,
        moved: 0,
        exchanged: Vec::new(),
        _timer: timer,
    })
}

/// Polls, in the middle of whatever goes on, if the last time did not take too long; while somebody
/// else does, it does nothing.
unsafe extern "efiapi" fn on_time(_: Event, _: Option<NonNull<c_void>>) {
    let now = clock::microseconds();
    if now < LEFT_ALONE.load(Relaxed) {
        return;
    }
    poll();
    let took = clock::microseconds().saturating_sub(now);
    LEFT_ALONE.store(now + took * SHARE, Relaxed);
}

/// Moves frames. Returns true if more are likely to come at once: then
/// who waits should call it again soon. While the timer or somebody else polls, it does nothing.
pub fn poll() -> bool {
    if !IS_UP.load(Relaxed) {
        return false;
    }
    let polled = NETWORK.with(|network| match network {
        Network::Up(up) => {
            let start = clock::microseconds();
            let mut now = start;
            loop {
                let moved = up.cards.poll(now);
                if moved {
                    up.moved = now;
                }
                now = clock::microseconds();
                if !moved || now.saturating_sub(start) >= TURN {
                    break;
                }
            }
            now.saturating_sub(up.moved) < BUSY
        }
        _ => false,
    });
    polled.unwrap_or(true)
}

/// Gives the cards back that are not wanted, and uses one that seems to have a fault in another
/// way: shared instead of alone, or, if that was no better, alone again. Whoever calls this may be
/// kept waiting by the firmware. Returns true if one is shared from now on.
pub fn mend() -> bool {
    let mended = NETWORK.with(|network| {
        let Network::Up(up) = network else {
            return false;
        };
        up.cards
            .others()
            .into_iter()
            .map(Stack::into_card)
            .for_each(FirmwareCard::close);
        let now = clock::microseconds();
        let mut is_mended = false;
        for stack in up.cards.polled() {
            let mac = stack.card().mac();
            let before = up.exchanged.iter().filter(|(known, _)| *known == mac);
            if before.count() < 2
                && let Some(fault) = stack.fault(now)
            {
                up.exchanged.push((mac, fault));
                stack.exchange(FirmwareCard::exchange);
                is_mended |= matches!(stack.card(), FirmwareCard::Shared(_));
            }
        }
        is_mended
    });
    mended.unwrap_or(false)
}

/// Fault of the card in use, for which it is shared, if that helped.
pub fn fault() -> Option<CardFault> {
    let fault = NETWORK.with(|network| {
        let Network::Up(up) = network else {
            return None;
        };
        let stack = up.cards.chosen().filter(|stack| stack.has_received())?;
        let FirmwareCard::Shared(card) = stack.card() else {
            return None;
        };
        let mut exchanged = up.exchanged.iter();
        exchanged
            .find(|(mac, _)| *mac == card.mac())
            .map(|(_, fault)| *fault)
    });
    fault.flatten()
}

/// Connections over the stack, as a server uses them. There is one network, whoever has this.
pub struct Connections;

/// Asks the stack; `other` if there is none.
fn ask<T>(other: T, f: impl FnOnce(&mut Stack<FirmwareCard>) -> T) -> T {
    let asked = NETWORK.with(|network| match network {
        Network::Up(up) => up.cards.chosen().map(f),
        _ => None,
    });
    // In the middle of a poll, which only the timer's could be, there is nothing.
    asked.flatten().unwrap_or(other)
}

impl llama2_serve::Network for Connections {
    fn accept(&mut self) -> Option<ConnectionId> {
        ask(None, |stack| stack.accept())
    }

    fn receive(&mut self, id: ConnectionId, buffer: &mut [u8]) -> Received {
        ask(Received::Lost, |stack| stack.receive(id, buffer))
    }

    fn send(&mut self, id: ConnectionId, bytes: &[u8]) -> Result<usize, Lost> {
        let sent = ask(Err(Lost), |stack| stack.send(id, bytes));
        // It goes out now, not at the next poll.
        poll();
        sent
    }

    fn close(&mut self, id: ConnectionId, abort: bool) {
        ask((), |stack| stack.close(id, abort));
    }

    fn peer(&self, id: ConnectionId) -> Option<IpAddr> {
        ask(None, |stack| stack.peer(id))
    }
}

/// State of the network; `None` if there is to be none, or in the middle of a poll.
pub fn state() -> Option<NetworkState> {
    let state = NETWORK.with(|network| match network {
        Network::Off => None,
        Network::Without(why) => Some(NetworkState::NoCard(*why)),
        Network::Up(up) => Some(up.cards.state()),
    });
    state.flatten()
}

/// Ends all connections and returns the card to the firmware. In a panic in the middle of a poll it
/// only stops the card.
pub fn close() {
    IS_UP.store(false, Relaxed);
    let network = NETWORK.with(|network| core::mem::replace(network, Network::Off));
    match network {
        Some(Network::Up(up)) => {
            // The timer first.
            let Up { cards, _timer, .. } = *up;
            drop(_timer);
            for mut stack in cards.into_stacks() {
                let start = clock::microseconds();
                stack.abort(start);
                let mut now = start;
                while stack.is_leaving() && now.saturating_sub(start) < FAREWELL {
                    stack.poll(now);
                    now = clock::microseconds();
                }
                stack.into_card().close();
            }
        }
        Some(_) => (),
        None => snp::stop_at_once(),
    }
}

impl FirmwareCard {
    fn alone(card: SnpCard) -> FirmwareCard {
        FirmwareCard::Alone(Box::new(card))
    }

    fn shared(card: MnpCard) -> FirmwareCard {
        FirmwareCard::Shared(Box::new(card))
    }

    fn card(&self) -> Option<&dyn Card> {
        match self {
            FirmwareCard::Alone(card) => Some(&**card),
            FirmwareCard::Shared(card) => Some(&**card),
            FirmwareCard::Gone(_) => None,
        }
    }

    fn card_mut(&mut self) -> Option<&mut dyn Card> {
        match self {
            FirmwareCard::Alone(card) => Some(&mut **card),
            FirmwareCard::Shared(card) => Some(&mut **card),
            FirmwareCard::Gone(_) => None,
        }
    }

    /// Returns it to the firmware.
    fn close(self) {
        match self {
            FirmwareCard::Alone(card) => card.close(),
            FirmwareCard::Shared(card) => card.close(),
            FirmwareCard::Gone(_) => (),
        }
    }

    /// Uses the card in the other way, or again in this one if there is no other.
    fn exchange(&mut self) {
        let mac = self.mac();
        let old = mem::replace(self, FirmwareCard::Gone(mac));
        let was_alone = matches!(old, FirmwareCard::Alone(_));
        old.close();
        let alone = || {
            snp::open_all(Some(mac))
                .ok()?
                .pop()
                .map(FirmwareCard::alone)
        };
        let shared = || {
            let mut handles = mnp::handles().into_iter();
            let card = handles.find_map(|handle| MnpCard::open(handle, Some(mac)))?;
            Some(FirmwareCard::shared(card))
        };
        let new = if was_alone {
            shared().or_else(alone)
        } else {
            alone().or_else(shared)
        };
        if let Some(new) = new {
            *self = new;
        }
    }
}

impl Card for FirmwareCard {
    fn mac(&self) -> [u8; 6] {
        match self {
            FirmwareCard::Alone(card) => card.mac(),
            FirmwareCard::Shared(card) => card.mac(),
            FirmwareCard::Gone(mac) => *mac,
        }
    }

    fn longest(&self) -> usize {
        self.card().map_or(LONGEST, |card| card.longest())
    }

    fn has_link(&mut self) -> Option<bool> {
        self.card_mut().map_or(Some(false), |card| card.has_link())
    }

    fn reclaim(&mut self, now: u64) {
        if let Some(card) = self.card_mut() {
            card.reclaim(now);
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        self.card_mut()?.receive(buffer)
    }

    fn can_send(&self) -> bool {
        self.card().is_some_and(|card| card.can_send())
    }

    fn send(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) {
        if let Some(card) = self.card_mut() {
            card.send(len, fill);
        }
    }

    fn keeps_buffers(&self) -> bool {
        self.card().is_some_and(|card| card.keeps_buffers())
    }
}
