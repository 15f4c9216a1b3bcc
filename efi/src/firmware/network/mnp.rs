//! Network card by the firmware's Managed Network Protocol, which shares a card among several
//! users: where the card cannot be had alone, or fails so.
//!
//! # Quirks
//! EDK2 signals a frame as sent as soon as it has copied it; others keep its buffer. A token is
//! therefore used again only once its event is signalled.

use alloc::{boxed::Box, vec::Vec};
use core::{ffi::c_void, ptr};

use llama2_efi::network::{Card, HEADER, LONGEST, is_unicast, mdns};
use uefi::{
    Event, Handle, Status,
    boot::{self, EventType, ScopedProtocol, Tpl},
    proto::unsafe_protocol,
};
use uefi_raw::{
    Boolean, MacAddress,
    protocol::{driver::ServiceBindingProtocol, network::snp::NetworkMode},
    time::Time,
};

use super::super::{memory::LowBuffer, shell::open};

/// Frames that are being sent at a time.
const TOKENS: usize = 32;
/// Bytes for a frame.
const BUFFER: usize = 2048;

/// Maker of [`Managed`] protocols, for which `uefi` has no wrapper.
#[repr(transparent)]
#[unsafe_protocol("f36ff770-a7e1-42cf-9ed2-56f0f271f44c")]
struct Binding(ServiceBindingProtocol);

/// Managed Network Protocol (specification 2.10, section 25.1), for which `uefi` has no wrapper.
#[repr(C)]
#[unsafe_protocol("7ab33a91-ace5-4326-b572-e7ee33d39f16")]
struct Managed {
    get_mode_data:
        unsafe extern "efiapi" fn(*const Managed, *mut ManagedConfig, *mut NetworkMode) -> Status,
    configure: unsafe extern "efiapi" fn(*const Managed, *const ManagedConfig) -> Status,
    mcast_ip_to_mac: usize,
    groups: unsafe extern "efiapi" fn(*const Managed, Boolean, *const MacAddress) -> Status,
    transmit: unsafe extern "efiapi" fn(*const Managed, *mut Token) -> Status,
    receive: unsafe extern "efiapi" fn(*const Managed, *mut Token) -> Status,
    cancel: unsafe extern "efiapi" fn(*const Managed, *mut Token) -> Status,
    poll: unsafe extern "efiapi" fn(*const Managed) -> Status,
}

/// Wishes of a user.
#[repr(C)]
struct ManagedConfig {
    received_queue_timeout: u32,
    transmit_queue_timeout: u32,
    protocol_type_filter: u16,
    unicast: Boolean,
    multicast: Boolean,
    broadcast: Boolean,
    promiscuous: Boolean,
    flush_queues_on_reset: Boolean,
    receive_timestamps: Boolean,
    disable_background_polling: Boolean,
}

/// Request to send or to receive.
#[repr(C)]
struct Token {
    event: *mut c_void,
    status: Status,
    data: *mut c_void,
}

/// Frame that came.
#[repr(C)]
struct ReceiveData {
    timestamp: Time,
    recycle_event: *mut c_void,
    packet_length: u32,
    header_length: u32,
    address_length: u32,
    data_length: u32,
    broadcast: Boolean,
    multicast: Boolean,
    promiscuous: Boolean,
    protocol_type: u16,
    destination: *const c_void,
    source: *const c_void,
    header: *const u8,
    data: *const u8,
}

/// Frame to send, header included, in one piece.
#[repr(C)]
struct TransmitData {
    destination: *const MacAddress,
    source: *const MacAddress,
    protocol_type: u16,
    data_length: u32,
    header_length: u16,
    fragment_count: u16,
    fragment: Fragment,
}

/// Piece of a frame to send.
#[repr(C)]
struct Fragment {
    len: u32,
    start: *const u8,
}

/// Request whose memory the driver uses until its event is signalled.
struct Request {
    event: Event,
    token: Token,
    transmit: TransmitData,
    is_out: bool,
}

impl Request {
    fn new() -> Option<Request> {
        // Safety: there is no function to be called.
        let event =
            unsafe { boot::create_event(EventType::empty(), Tpl::APPLICATION, None, None) }.ok()?;
        Some(Request {
            token: Token {
                event: event.as_ptr(),
                status: Status::NOT_READY,
                data: ptr::null_mut(),
            },
            event,
            transmit: TransmitData {
                destination: ptr::null(),
                source: ptr::null(),
                protocol_type: 0,
                data_length: 0,
                header_length: HEADER as u16,
                fragment_count: 1,
                fragment: Fragment {
                    len: 0,
                    start: ptr::null(),
                },
            },
            is_out: false,
        })
    }

    /// Returns true once the driver has done with it; checks that at most once for each request.
    fn is_done(&mut self) -> bool {
        if self.is_out && boot::check_event(&self.event) != Ok(false) {
            self.is_out = false;
            return true;
        }
        false
    }
}

/// Card that is shared.
pub struct MnpCard {
    protocol: Option<ScopedProtocol<Managed>>,
    binding: ScopedProtocol<Binding>,
    child: Handle,
    mac: [u8; 6],
    longest: usize,
    memory: LowBuffer,
    /// They stay where they are, as the next one does.
    sending: Box<[Request]>,
    receiving: Box<Request>,
}

/// Cards with this protocol.
pub fn handles() -> Vec<Handle> {
    boot::find_handles::<Binding>().unwrap_or_default()
}

impl MnpCard {
    /// Becomes a user of a card; `None` if that fails, or if it is not the one with the address
    /// `wanted`.
    pub fn open(handle: Handle, wanted: Option<[u8; 6]>) -> Option<MnpCard> {
        let memory = LowBuffer::new(TOKENS * BUFFER)?;
        let receiving = Box::new(Request::new()?);
        let sending = (0..TOKENS).filter_map(|_| Request::new()).collect();
        let mut binding = open::<Binding>(handle)?;
        let raw: *mut ServiceBindingProtocol = (&raw mut *binding.get_mut()?).cast();
        let mut child = ptr::null_mut();
        // Safety: the firmware's protocol, open; with null it makes a new handle.
        let made = unsafe { ((*raw).create_child)(raw, &mut child) };
        if made != Status::SUCCESS {
            return None;
        }
        // Safety: made by the firmware a moment ago, or null.
        let child = unsafe { Handle::from_ptr(child) }?;
        let mut card = MnpCard {
            protocol: open::<Managed>(child),
            binding,
            child,
            mac: [0; 6],
            longest: LONGEST,
            memory,
            sending,
            receiving,
        };
        let mac = card.configure();
        match mac.filter(|mac| wanted.is_none_or(|wanted| wanted == *mac)) {
            Some(mac) => {
                card.mac = mac;
                Some(card)
            }
            None => {
                card.close();
                None
            }
        }
    }

    fn raw(&self) -> Option<*const Managed> {
        Some(ptr::from_ref(self.protocol.as_ref()?.get()?))
    }

    /// Starts receiving; returns the card's address.
    fn configure(&mut self) -> Option<[u8; 6]> {
        let raw = self.raw()?;
        let mut config = ManagedConfig {
            received_queue_timeout: 0,
            transmit_queue_timeout: 0,
            protocol_type_filter: 0,
            unicast: true.into(),
            multicast: true.into(),
            broadcast: true.into(),
            promiscuous: false.into(),
            flush_queues_on_reset: false.into(),
            receive_timestamps: false.into(),
            disable_background_polling: false.into(),
        };
        // Safety: the protocol is open; the call only reads the configuration.
        let set = |config: &ManagedConfig| unsafe { ((*raw).configure)(raw, config) };
        if set(&config) != Status::SUCCESS {
            config.multicast = false.into();
            if set(&config) != Status::SUCCESS {
                return None;
            }
        }
        let mut mode = Box::<NetworkMode>::new_uninit();
        // Safety: the protocol is open; the call writes the mode, or fails.
        let told = unsafe { ((*raw).get_mode_data)(raw, ptr::null_mut(), mode.as_mut_ptr()) };
        if told != Status::SUCCESS {
            return None;
        }
        // Safety: the call has written it; every bit pattern is a mode.
        let mode = unsafe { mode.assume_init() };
        let mac = *mode.current_address.0.first_chunk::<6>()?;
        self.longest = (mode.max_packet_size as usize + HEADER).clamp(HEADER + 576, LONGEST);
        let mut group = [0; 32];
        group[..6].copy_from_slice(&mdns::GROUP_MAC);
        // Safety: the protocol is open; the call only reads the address. Without the group the
        // machine's name stays unknown.
        let _ = unsafe { ((*raw).groups)(raw, true.into(), &MacAddress(group)) };
        (mode.hw_address_size == 6 && is_unicast(mac)).then_some(mac)
    }

    /// Stops using the card.
    pub fn close(mut self) {
        if let Some(raw) = self.raw() {
            // Safety: the protocol is open. All requests come back, and no other is made.
            unsafe {
                let _ = ((*raw).cancel)(raw, ptr::null_mut());
                let _ = ((*raw).configure)(raw, ptr::null());
            }
        }
        drop(self.protocol.take());
        if let Some(binding) = self.binding.get_mut() {
            let raw: *mut ServiceBindingProtocol = (&raw mut *binding).cast();
            // Safety: the protocol is open, and the child its own, which nobody uses any more.
            let _ = unsafe { ((*raw).destroy_child)(raw, self.child.as_ptr()) };
        }
        for request in self.sending.into_iter().chain([*self.receiving]) {
            let _ = boot::close_event(request.event);
        }
    }
}

impl Card for MnpCard {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn longest(&self) -> usize {
        self.longest
    }

    fn has_link(&mut self) -> Option<bool> {
        // The firmware waits for a cable itself, and its copy of the mode is old.
        None
    }

    fn reclaim(&mut self, _: u64) {
        for request in &mut self.sending {
            request.is_done();
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let raw = self.raw()?;
        if !self.receiving.is_out {
            self.receiving.token.status = Status::NOT_READY;
            // Safety: the protocol is open; the request stays where it is until it comes back.
            let status = unsafe { ((*raw).receive)(raw, &mut self.receiving.token) };
            if status != Status::SUCCESS {
                return None;
            }
            self.receiving.is_out = true;
        }
        if !self.receiving.is_done() {
            // Safety: the protocol is open.
            let _ = unsafe { ((*raw).poll)(raw) };
            if !self.receiving.is_done() {
                return None;
            }
        }
        // Safety: the firmware writes it before it signals the event.
        let status = unsafe { (&raw const self.receiving.token.status).read_volatile() };
        // Safety: as above.
        let data = unsafe { (&raw const self.receiving.token.data).read_volatile() };
        if status != Status::SUCCESS || data.is_null() {
            return None;
        }
        // Safety: the request has succeeded, and its frame is ours until it is recycled.
        let came = unsafe { &*data.cast::<ReceiveData>() };
        let (header, len) = (came.header_length as usize, came.data_length as usize);
        let fits = header + len <= buffer.len() && !came.header.is_null() && !came.data.is_null();
        if fits {
            // Safety: header and data have these lengths, and the buffer is not the firmware's.
            unsafe {
                ptr::copy_nonoverlapping(came.header, buffer.as_mut_ptr(), header);
                ptr::copy_nonoverlapping(came.data, buffer[header..].as_mut_ptr(), len);
            }
        }
        // Safety: the firmware's event, which it closes itself; null is passed over.
        if let Some(event) = unsafe { Event::from_ptr(came.recycle_event) } {
            let _ = boot::signal_event(&event);
        }
        fits.then_some(header + len)
    }

    fn can_send(&self) -> bool {
        self.sending.iter().any(|request| !request.is_out)
    }

    fn send(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) {
        let Some(raw) = self.raw() else { return };
        let free = self.sending.iter().position(|request| !request.is_out);
        let Some(index) = free else { return };
        let Some(frame) = self.memory[index * BUFFER..][..BUFFER].get_mut(..len) else {
            return;
        };
        fill(frame);
        let request = &mut self.sending[index];
        request.token.data = (&raw mut request.transmit).cast();
        request.transmit.data_length = (len - HEADER) as u32;
        request.transmit.fragment.len = len as u32;
        request.transmit.fragment.start = frame.as_ptr();
        request.token.status = Status::NOT_READY;
        // Safety: the protocol is open; the request and its frame stay where they are, and
        // unchanged, until it comes back.
        let status = unsafe { ((*raw).transmit)(raw, &mut request.token) };
        // Otherwise the frame is lost, as frames may be.
        request.is_out = status == Status::SUCCESS;
    }
}
