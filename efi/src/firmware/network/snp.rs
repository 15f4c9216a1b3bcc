//! Network card by the firmware's Simple Network Protocol: whole frames, nothing more. Firmware may
//! call it at TPL_CALLBACK at the most, which is where the timer polls.
//!
//! # Quirks
//! - A frame's buffer belongs to the driver until GetStatus hands its address back; some drivers
//!   lose some ([`TransmitPool::expire`]), others write to memory below 4 GiB only.
//! - Opening the protocol exclusively disconnects the firmware's own network stack, and nobody
//!   connects it again but [`SnpCard::close`]. Some firmware crashes later if a card is left
//!   running.
//! - EDK2's network stack, where it could not set its filters, lets go of a card only when it is
//!   told a second time.
//! - A card may be started already; its mode is only known once it is initialised, and whether a
//!   cable is in it, where that is known at all, only after GetStatus.
//! - A driver whose queue is full says NOT_READY, iPXE's OUT_OF_RESOURCES.
//! - Receive filters may be refused: multicast mostly (OVMF's virtio-net), sometimes all.

use alloc::vec::Vec;
use core::{
    ffi::c_void,
    ptr,
    sync::atomic::{
        AtomicPtr,
        Ordering::{AcqRel, Acquire},
    },
};

use llama2_efi::network::{
    Card, HEADER, LONGEST, NoCard,
    candidates::{self, Candidate},
    is_unicast, mdns,
    transmit_pool::{BUFFER, TransmitPool},
};
use uefi::{
    Handle, Status,
    boot::{self, ScopedProtocol},
    proto::network::snp::SimpleNetwork,
};
use uefi_raw::{
    MacAddress,
    protocol::network::snp::{NetworkMode, NetworkState, ReceiveFlags, SimpleNetworkProtocol},
};

use super::super::{memory::LowBuffer, shell::open};

/// Type of an Ethernet card, as the firmware reports it (RFC 1700).
const ETHERNET: u8 = 1;
/// Microseconds for which a driver may refuse a frame because it has too many.
const PATIENCE: u64 = 200_000;
/// Addresses that GetStatus hands back in one go, at the most.
const HANDED_BACK: usize = 256;

/// Most cards that are tried at a time.
const MOST: usize = 8;

/// The cards in use, for a panic.
static ACTIVE: [AtomicPtr<SimpleNetworkProtocol>; MOST] =
    [const { AtomicPtr::new(ptr::null_mut()) }; MOST];

/// Replaces a card in use, or null, by another.
fn replace_active(old: *mut SimpleNetworkProtocol, new: *mut SimpleNetworkProtocol) {
    let mut places = ACTIVE.iter();
    places.find(|place| place.compare_exchange(old, new, AcqRel, Acquire).is_ok());
}

/// Frame that the driver did not take yet.
#[derive(Clone, Copy)]
struct Pending {
    index: usize,
    len: usize,
    /// Time in microseconds.
    since: u64,
}

/// Card that is ours alone.
pub struct SnpCard {
    handle: Handle,
    protocol: ScopedProtocol<SimpleNetwork>,
    mac: [u8; 6],
    longest: usize,
    memory: LowBuffer,
    pool: TransmitPool,
    pending: Option<Pending>,
    now: u64,
}

/// Handles of cards, and what is known of these.
fn candidates() -> Vec<(Handle, Candidate)> {
    let handles = boot::find_handles::<SimpleNetwork>().unwrap_or_default();
    let look = |handle| {
        let mut protocol = open::<SimpleNetwork>(handle)?;
        let raw = raw(&mut protocol);
        // Safety: the firmware's protocol, open.
        let candidate = unsafe { candidate(raw) }?;
        Some((handle, candidate))
    };
    handles.into_iter().filter_map(look).collect()
}

/// The protocol, or null.
fn raw(protocol: &mut ScopedProtocol<SimpleNetwork>) -> *mut SimpleNetworkProtocol {
    protocol
        .get_mut()
        .map_or(ptr::null_mut(), |protocol| (&raw mut *protocol).cast())
}

/// A card as its mode describes it.
///
/// # Safety
/// `raw` is null, or an open protocol.
unsafe fn candidate(raw: *const SimpleNetworkProtocol) -> Option<Candidate> {
    // Safety: as the caller says; the firmware keeps a mode, or has none.
    let mode = unsafe { raw.as_ref()?.mode.as_ref()? };
    Some(Candidate {
        mac: mac(mode),
        has_link: has_link(mode),
    })
}

/// Address of an Ethernet card.
fn mac(mode: &NetworkMode) -> Option<[u8; 6]> {
    let is_ethernet = mode.if_type == ETHERNET && mode.hw_address_size == 6;
    let own = |address: &MacAddress| address.0.first_chunk::<6>().copied();
    let known = [&mode.current_address, &mode.permanent_address];
    let mut known = known.into_iter().filter_map(own);
    known.find(|&mac| is_ethernet && is_unicast(mac))
}

fn has_link(mode: &NetworkMode) -> Option<bool> {
    bool::from(mode.media_present_supported).then(|| mode.media_present.into())
}

/// Opens the cards, the best first, or the one with the address `wanted`.
///
/// # Errors
/// The reason why there is none.
pub fn open_all(wanted: Option<[u8; 6]>) -> Result<Vec<SnpCard>, NoCard> {
    let cards = candidates();
    let known: Vec<Candidate> = cards.iter().map(|(_, candidate)| *candidate).collect();
    let order = candidates::order(&known, wanted);
    let why = match (known.is_empty(), wanted) {
        (true, _) => NoCard::Missing,
        (false, Some(_)) if order.is_empty() => NoCard::Unknown,
        _ => NoCard::Refused,
    };
    let mut opened: Vec<SnpCard> = Vec::new();
    for i in order {
        // Two drivers may offer the same card.
        let is_new = |card: &SnpCard| Some(card.mac) != known[i].mac;
        if opened.len() < MOST && opened.iter().all(is_new) {
            opened.extend(SnpCard::open(cards[i].0));
        }
    }
    if opened.is_empty() {
        Err(why)
    } else {
        Ok(opened)
    }
}

impl SnpCard {
    /// Takes a card from the firmware and starts it; `None` if that fails, and the card is the
    /// firmware's again.
    fn open(handle: Handle) -> Option<SnpCard> {
        let memory = LowBuffer::new(TransmitPool::BYTES)?;
        let exclusive = || boot::open_protocol_exclusive::<SimpleNetwork>(handle);
        let Ok(protocol) = exclusive().or_else(|_| exclusive()) else {
            // Its drivers may have been taken away all the same.
            let _ = boot::connect_controller(handle, &[], None, true);
            return None;
        };
        let mut card = SnpCard {
            handle,
            protocol,
            mac: [0; 6],
            longest: LONGEST,
            pool: TransmitPool::new(memory.as_ptr().addr()),
            memory,
            pending: None,
            now: 0,
        };
        let raw = card.raw();
        // Safety: the protocol is open and ours alone, or null.
        let started = unsafe { start(raw) };
        // Safety: as above.
        let known = unsafe { candidate(raw) }.and_then(|candidate| candidate.mac);
        let (true, Some(mac)) = (started, known) else {
            card.close();
            return None;
        };
        card.mac = mac;
        // Safety: as above; there is a mode, for `candidate` has read it.
        if let Some(mode) = unsafe { (*raw).mode.as_ref() } {
            let longest = mode.max_packet_size as usize + HEADER;
            card.longest = longest.clamp(HEADER + 576, LONGEST);
        }
        replace_active(ptr::null_mut(), raw);
        Some(card)
    }

    fn raw(&mut self) -> *mut SimpleNetworkProtocol {
        raw(&mut self.protocol)
    }

    /// Stops the card and returns it to the firmware's own network stack.
    pub fn close(mut self) {
        let raw = self.raw();
        replace_active(raw, ptr::null_mut());
        // Safety: the protocol is open and ours alone, or null. The driver forgets all buffers.
        unsafe { stop(raw) };
        let handle = self.handle;
        drop(self.protocol);
        let _ = boot::connect_controller(handle, &[], None, true);
    }

    /// Takes back what the driver has sent.
    fn collect(&mut self) {
        let raw = self.raw();
        for _ in 0..HANDED_BACK {
            let mut sent: *mut c_void = ptr::null_mut();
            // Safety: the protocol is open and ours alone; the call only writes the address.
            let status = unsafe { ((*raw).get_status)(raw, ptr::null_mut(), &mut sent) };
            if status != Status::SUCCESS || sent.is_null() {
                break;
            }
            self.pool.take_back(sent.addr());
        }
    }

    /// Passes a buffer's frame to the driver; one that it does not take now is kept.
    fn transmit(&mut self, index: usize, len: usize) {
        let raw = self.raw();
        let frame = self.memory[index * BUFFER..][..len].as_ptr();
        // Safety: the protocol is open and ours alone. The frame stays where it is, and unchanged,
        // until the driver hands it back, stops, or is silent about it for seconds.
        let status = unsafe {
            ((*raw).transmit)(
                raw,
                0,
                len,
                frame.cast(),
                ptr::null(),
                ptr::null(),
                ptr::null(),
            )
        };
        match status {
            Status::SUCCESS => {
                self.pending = None;
                self.pool.give(index, self.now);
            }
            Status::NOT_READY | Status::OUT_OF_RESOURCES => {
                let since = self.pending.map_or(self.now, |pending| pending.since);
                let pending = Pending { index, len, since };
                // The frame is lost then, as frames may be.
                let is_late = self.now.saturating_sub(since) >= PATIENCE;
                self.pending = (!is_late).then_some(pending);
            }
            _ => self.pending = None,
        }
    }
}

impl Card for SnpCard {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn longest(&self) -> usize {
        self.longest
    }

    fn has_link(&mut self) -> Option<bool> {
        // Brings the mode up to date, where a driver does that at all.
        self.collect();
        let raw = self.raw();
        // Safety: the protocol is open and ours alone.
        unsafe { candidate(raw) }.and_then(|candidate| candidate.has_link)
    }

    fn reclaim(&mut self, now: u64) {
        self.now = now;
        if !self.pool.is_whole() {
            self.collect();
            self.pool.expire(now);
        }
        if let Some(Pending { index, len, .. }) = self.pending {
            self.transmit(index, len);
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let raw = self.raw();
        let mut len = buffer.len();
        // Safety: the protocol is open and ours alone; `len` is the buffer's length. What is not
        // asked for may be null.
        let status = unsafe {
            ((*raw).receive)(
                raw,
                ptr::null_mut(),
                &mut len,
                buffer.as_mut_ptr().cast(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        (status == Status::SUCCESS && len <= buffer.len()).then_some(len)
    }

    fn can_send(&self) -> bool {
        self.pending.is_none() && self.pool.has_free()
    }

    fn keeps_buffers(&self) -> bool {
        self.pool.is_one_way()
    }

    fn send(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) {
        let Some(index) = self.pool.free().filter(|_| self.pending.is_none()) else {
            return;
        };
        let Some(frame) = self.memory[index * BUFFER..][..BUFFER].get_mut(..len) else {
            return;
        };
        fill(frame);
        self.transmit(index, len);
    }
}

/// Starts and initialises a card, and opens its filters.
///
/// # Safety
/// `raw` is null, or an open protocol that nobody else uses.
unsafe fn start(raw: *const SimpleNetworkProtocol) -> bool {
    // Safety: as the caller says, here and below.
    let Some(snp) = (unsafe { raw.as_ref() }) else {
        return false;
    };
    // Safety: null, or the firmware's mode, which every call may change: read anew each time.
    let state = || unsafe { snp.mode.as_ref() }.map(|mode| mode.state);
    // Whoever had it before may have left it in any state.
    if state() == Some(NetworkState::INITIALIZED) {
        // Safety: as above.
        let _ = unsafe { (snp.shutdown)(raw) };
    }
    if state() == Some(NetworkState::STOPPED) {
        // Safety: as above.
        let started = unsafe { (snp.start)(raw) };
        if !matches!(started, Status::SUCCESS | Status::ALREADY_STARTED) {
            return false;
        }
    }
    // Safety: as above.
    let mut initialised = unsafe { (snp.initialize)(raw, 0, 0) };
    if initialised != Status::SUCCESS && state() != Some(NetworkState::INITIALIZED) {
        // Some cards want a second time.
        // Safety: as above.
        initialised = unsafe { (snp.initialize)(raw, 0, 0) };
    }
    if !matches!(initialised, Status::SUCCESS | Status::ALREADY_STARTED)
        && state() != Some(NetworkState::INITIALIZED)
    {
        return false;
    }
    // Safety: as above.
    unsafe { open_filters(raw) };
    true
}

/// Has a card receive what is for us, for all, and for those who have a name.
///
/// # Safety
/// `raw` is an open protocol that nobody else uses.
unsafe fn open_filters(raw: *const SimpleNetworkProtocol) {
    // Safety: as the caller says; there is a mode or null.
    let Some(mode) = (unsafe { (*raw).mode.as_ref() }) else {
        return;
    };
    let known = ReceiveFlags::from_bits_truncate(mode.receive_filter_mask);
    let groups = mode.max_mcast_filter_count > 0;
    let ours = ReceiveFlags::UNICAST | ReceiveFlags::BROADCAST;
    let mut group = [0; 32];
    group[..6].copy_from_slice(&mdns::GROUP_MAC);
    let group = MacAddress(group);
    let set = |flags: ReceiveFlags| {
        if !known.contains(flags) {
            return false;
        }
        let is_group = flags.contains(ReceiveFlags::MULTICAST);
        let list = if is_group {
            &raw const group
        } else {
            ptr::null()
        };
        // Safety: the protocol is open; `list` has one address, or none.
        let status = unsafe {
            ((*raw).receive_filters)(
                raw,
                flags,
                ReceiveFlags::empty(),
                false.into(),
                usize::from(is_group),
                list,
            )
        };
        status == Status::SUCCESS
    };
    // The first that is not refused; a driver that refuses all may receive what it likes.
    let _ = (groups && set(ours | ReceiveFlags::MULTICAST))
        || set(ours | ReceiveFlags::PROMISCUOUS_MULTICAST)
        || set(ours)
        || set(ReceiveFlags::PROMISCUOUS);
}

/// Stops a card.
///
/// # Safety
/// `raw` is null, or an open protocol that nobody else uses.
unsafe fn stop(raw: *const SimpleNetworkProtocol) {
    // Safety: as the caller says.
    if let Some(snp) = unsafe { raw.as_ref() } {
        // Safety: as above; a card that is stopped already says so.
        let _ = unsafe { (snp.shutdown)(raw) };
        // Safety: as above.
        let _ = unsafe { (snp.stop)(raw) };
    }
}

/// Stops the cards without anything else, in a panic.
pub fn stop_at_once() {
    for place in &ACTIVE {
        // Safety: null, or a card in use, which its user does not get to use again.
        unsafe { stop(place.swap(ptr::null_mut(), AcqRel)) };
    }
}
