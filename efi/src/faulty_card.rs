//! Driver for tests, which boots in place of the application: it puts itself before the firmware's
//! network cards, mistreats their frames as `FAULTS.TXT` beside it says, and starts `LLAMA2.EFI`.
//! A line of the file is a fault's name and a number N: it strikes one time in N.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::{boxed::Box, collections::VecDeque, string::String, vec::Vec};
use core::{ffi::c_void, mem::offset_of, panic::PanicInfo, ptr};

use uefi::{
    Handle, Status,
    boot::{self, LoadImageSource, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol},
    cstr16,
    fs::FileSystem,
    proto::{
        BootPolicy, ProtocolPointer,
        device_path::{DevicePath, build},
        loaded_image::LoadedImage,
        network::snp::SimpleNetwork,
    },
};
use uefi_raw::{
    Boolean, IpAddress, MacAddress,
    protocol::network::snp::{
        InterruptStatus, NetworkMode, NetworkStatistics, ReceiveFlags, SimpleNetworkProtocol,
    },
};

#[global_allocator]
static ALLOCATOR: uefi::allocator::Allocator = uefi::allocator::Allocator;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Fault of a card.
#[derive(Clone, Copy)]
enum Fault {
    /// A frame is lost on its way in or out.
    Drop,
    /// A frame comes twice.
    Twice,
    /// A frame's end is missing.
    Cut,
    /// A frame comes after those that were sent later.
    Late,
    /// The buffer of a frame that was sent is not handed back.
    Keep,
    /// A frame to be sent is refused.
    Refuse,
    /// Filters of what is received are refused.
    NoFilters,
    /// No cable is reported.
    NoMedia,
    /// Nothing comes in until the card has been started more often than N times.
    Deaf,
}

const NAMES: [(&str, Fault); 9] = [
    ("drop", Fault::Drop),
    ("twice", Fault::Twice),
    ("cut", Fault::Cut),
    ("late", Fault::Late),
    ("keep", Fault::Keep),
    ("refuse", Fault::Refuse),
    ("no-filters", Fault::NoFilters),
    ("no-media", Fault::NoMedia),
    ("deaf", Fault::Deaf),
];

/// Looks for a frame after which one that is late comes.
const LATE: u64 = 40;

/// Card before a real one.
#[repr(C)]
struct FaultyCard {
    protocol: SimpleNetworkProtocol,
    mode: NetworkMode,
    handle: Handle,
    real: *const SimpleNetworkProtocol,
    rates: [u32; NAMES.len()],
    random: u32,
    starts: u32,
    /// Looks for a frame so far.
    looks: u64,
    /// Frames that came, and from which look on they are there.
    came: VecDeque<(u64, Vec<u8>)>,
    /// Buffers of frames that were dropped, to be handed back.
    dropped: VecDeque<*mut c_void>,
}

impl FaultyCard {
    /// Decides if a fault strikes now.
    fn strikes(&mut self, fault: Fault) -> bool {
        let rate = self.rates[fault as usize];
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        rate > 0 && self.random.is_multiple_of(rate)
    }

    /// Passes a call on to the real card, and copies its mode.
    fn pass(
        &mut self,
        call: impl FnOnce(&SimpleNetworkProtocol, *const SimpleNetworkProtocol) -> Status,
    ) -> Status {
        // Safety: the firmware's protocol, which stays while we are before it.
        let real = unsafe { &*self.real };
        let status = call(real, self.real);
        // Safety: the firmware's mode, which no call changes now.
        self.mode = unsafe { real.mode.read() };
        if self.rates[Fault::NoMedia as usize] > 0 {
            self.mode.media_present_supported = true.into();
            self.mode.media_present = false.into();
        }
        status
    }

    /// Takes the frames that came from the real card.
    fn fetch(&mut self) {
        while self.came.len() < 256 {
            let mut frame = alloc::vec![0u8; 2048];
            let (mut len, start) = (frame.len(), frame.as_mut_ptr().cast());
            // Safety: the real card's function, with a buffer of this length.
            let status = self.pass(|real, this| unsafe {
                let (no_size, no_type) = (ptr::null_mut(), ptr::null_mut());
                let no_address = ptr::null_mut();
                (real.receive)(
                    this, no_size, &mut len, start, no_address, no_address, no_type,
                )
            });
            if status != Status::SUCCESS {
                break;
            }
            frame.truncate(len);
            if self.strikes(Fault::Drop) || self.starts <= self.rates[Fault::Deaf as usize] {
                continue;
            }
            if self.strikes(Fault::Cut) {
                frame.truncate(self.random as usize / 64 % len.max(1));
            }
            let wait = u64::from(self.strikes(Fault::Late)) * LATE;
            if self.strikes(Fault::Twice) {
                self.came.push_back((self.looks, frame.clone()));
            }
            self.came.push_back((self.looks + wait, frame));
        }
    }
}

/// The card whose protocol this is.
///
/// # Safety
/// `this` is the protocol of a [`FaultyCard`], which nobody else uses.
unsafe fn of<'a>(this: *const SimpleNetworkProtocol) -> &'a mut FaultyCard {
    const { assert!(offset_of!(FaultyCard, protocol) == 0) };
    // Safety: as the caller says; the protocol is the card's first field.
    unsafe { &mut *this.cast_mut().cast() }
}

/// Functions of the protocol that pass a call on as it is.
macro_rules! pass_on {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {$(
        unsafe extern "efiapi" fn $name(
            this: *const SimpleNetworkProtocol,
            $($argument: $kind),*
        ) -> Status {
            // Safety: the firmware's rules for the caller are those of the real card.
            unsafe { of(this).pass(|real, this| (real.$name)(this, $($argument),*)) }
        }
    )*};
}

pass_on! {
    start();
    stop();
    shutdown();
    reset(extended: Boolean);
    station_address(reset: Boolean, new: *const MacAddress);
    statistics(reset: Boolean, size: *mut usize, table: *mut NetworkStatistics);
    multicast_ip_to_mac(v6: Boolean, ip: *const IpAddress, mac: *mut MacAddress);
    non_volatile_data(read: Boolean, offset: usize, size: usize, buffer: *mut c_void);
}

unsafe extern "efiapi" fn initialize(
    this: *const SimpleNetworkProtocol,
    receive: usize,
    transmit: usize,
) -> Status {
    // Safety: as the firmware's rules say, here and in the functions below.
    let card = unsafe { of(this) };
    card.starts += 1;
    card.came.clear();
    card.dropped.clear();
    // Safety: as above.
    card.pass(|real, this| unsafe { (real.initialize)(this, receive, transmit) })
}

unsafe extern "efiapi" fn receive_filters(
    this: *const SimpleNetworkProtocol,
    enable: ReceiveFlags,
    disable: ReceiveFlags,
    reset: Boolean,
    count: usize,
    list: *const MacAddress,
) -> Status {
    // Safety: as above.
    let card = unsafe { of(this) };
    // Safety: as above.
    let call = |real: &SimpleNetworkProtocol, this| unsafe {
        (real.receive_filters)(this, enable, disable, reset, count, list)
    };
    if card.rates[Fault::NoFilters as usize] > 0 {
        // Otherwise nothing would come in: a card that receives what it likes.
        let all = ReceiveFlags::UNICAST | ReceiveFlags::BROADCAST;
        let none = ReceiveFlags::empty();
        // Safety: as above.
        let _ = card.pass(|real, this| unsafe {
            (real.receive_filters)(this, all, none, false.into(), 0, ptr::null())
        });
        return Status::UNSUPPORTED;
    }
    card.pass(call)
}

unsafe extern "efiapi" fn get_status(
    this: *const SimpleNetworkProtocol,
    interrupts: *mut InterruptStatus,
    sent: *mut *mut c_void,
) -> Status {
    // Safety: as above.
    let card = unsafe { of(this) };
    // Safety: as above.
    let status = card.pass(|real, this| unsafe { (real.get_status)(this, interrupts, sent) });
    // Safety: null, or a place for the address, which the real card has just written.
    let Some(sent) = (unsafe { sent.as_mut() }) else {
        return status;
    };
    if sent.is_null()
        && let Some(dropped) = card.dropped.pop_front()
    {
        *sent = dropped;
    }
    if !sent.is_null() && card.strikes(Fault::Keep) {
        *sent = ptr::null_mut();
    }
    status
}

unsafe extern "efiapi" fn transmit(
    this: *const SimpleNetworkProtocol,
    header: usize,
    len: usize,
    frame: *const c_void,
    source: *const MacAddress,
    destination: *const MacAddress,
    kind: *const u16,
) -> Status {
    // Safety: as above.
    let card = unsafe { of(this) };
    if card.strikes(Fault::Refuse) {
        return Status::DEVICE_ERROR;
    }
    if card.strikes(Fault::Drop) {
        card.dropped.push_back(frame.cast_mut());
        return Status::SUCCESS;
    }
    // Safety: as above.
    card.pass(|real, this| unsafe {
        (real.transmit)(this, header, len, frame, source, destination, kind)
    })
}

unsafe extern "efiapi" fn receive(
    this: *const SimpleNetworkProtocol,
    header: *mut usize,
    len: *mut usize,
    buffer: *mut c_void,
    source: *mut MacAddress,
    destination: *mut MacAddress,
    kind: *mut u16,
) -> Status {
    // Safety: as above.
    let card = unsafe { of(this) };
    card.fetch();
    card.looks += 1;
    let Some(next) = card.came.iter().position(|(from, _)| *from < card.looks) else {
        return Status::NOT_READY;
    };
    // Safety: the caller's number.
    let len = unsafe { &mut *len };
    let room = core::mem::replace(len, card.came[next].1.len());
    if *len > room {
        return Status::BUFFER_TOO_SMALL;
    }
    let (_, frame) = card.came.remove(next).unwrap_or_default();
    let word = |at: usize| {
        let bytes = frame.get(at..at + 6).unwrap_or(&[0; 6]);
        let mut address = MacAddress([0; 32]);
        address.0[..6].copy_from_slice(bytes);
        address
    };
    // Safety: the caller's buffer has room for the frame; the other places are his, or null.
    unsafe {
        ptr::copy_nonoverlapping(frame.as_ptr(), buffer.cast(), frame.len());
        if let Some(header) = header.as_mut() {
            *header = 14;
        }
        if let Some(destination) = destination.as_mut() {
            *destination = word(0);
        }
        if let Some(source) = source.as_mut() {
            *source = word(6);
        }
        if let (Some(kind), Some(&[high, low])) = (kind.as_mut(), frame.get(12..14)) {
            *kind = u16::from_be_bytes([high, low]);
        }
    }
    Status::SUCCESS
}

/// Opens a protocol beside its other users.
fn open<P: ProtocolPointer + ?Sized>(handle: Handle) -> uefi::Result<ScopedProtocol<P>> {
    let params = OpenProtocolParams {
        handle,
        agent: boot::image_handle(),
        controller: None,
    };
    // Safety: nothing takes it away while this function's callers have it.
    unsafe { boot::open_protocol::<P>(params, OpenProtocolAttributes::GetProtocol) }
}

/// Makes a card to be put before the one of this handle. It stays where it is.
fn wrap(handle: Handle, rates: [u32; NAMES.len()]) -> uefi::Result<Box<FaultyCard>> {
    let mut protocol = open::<SimpleNetwork>(handle)?;
    let real = protocol.get_mut().ok_or(Status::NOT_FOUND)?;
    let real: *const SimpleNetworkProtocol = (&raw mut *real).cast();
    // Safety: the firmware's protocol and its mode.
    let (wait_for_packet, mode) = unsafe { ((*real).wait_for_packet, (*real).mode.read()) };
    let mut card = Box::new(FaultyCard {
        protocol: SimpleNetworkProtocol {
            revision: 0x1_0000,
            start,
            stop,
            initialize,
            reset,
            shutdown,
            receive_filters,
            station_address,
            statistics,
            multicast_ip_to_mac,
            non_volatile_data,
            get_status,
            transmit,
            receive,
            wait_for_packet,
            mode: ptr::null(),
        },
        mode,
        handle,
        real,
        rates,
        random: 0x2545_f491,
        starts: 0,
        looks: 0,
        came: VecDeque::new(),
        dropped: VecDeque::new(),
    });
    card.protocol.mode = &raw const card.mode;
    let _ = card.pass(|_, _| Status::SUCCESS);
    Ok(card)
}

/// Puts the driver's own protocol in the place of the real one, or back.
fn replace(card: &FaultyCard, is_before: bool) -> uefi::Result {
    let (real, ours) = (card.real.cast(), (&raw const card.protocol).cast());
    let (old, new) = if is_before {
        (real, ours)
    } else {
        (ours, real)
    };
    // Safety: the firmware's drivers let go of the old one; the new one stays, and has its shape.
    unsafe {
        boot::reinstall_protocol_interface(card.handle, &SimpleNetworkProtocol::GUID, old, new)
    }
}

/// Reads the faults' rates.
fn rates() -> uefi::Result<[u32; NAMES.len()]> {
    let mut files = FileSystem::new(boot::get_image_file_system(boot::image_handle())?);
    let text = files.read(cstr16!("\\FAULTS.TXT")).unwrap_or_default();
    let mut rates = [0; NAMES.len()];
    for line in String::from_utf8_lossy(&text).lines() {
        let known = NAMES.iter().find_map(|(name, fault)| {
            let rate = line.strip_prefix(name)?.strip_prefix(' ')?;
            Some((*fault as usize, rate.parse().ok()?))
        });
        let (fault, rate) = known.ok_or(Status::INVALID_PARAMETER)?;
        rates[fault] = rate;
    }
    Ok(rates)
}

/// Loads the application from where we come from.
fn application() -> uefi::Result<Handle> {
    let image = boot::image_handle();
    let loaded = open::<LoadedImage>(image)?;
    let device = loaded.get().and_then(LoadedImage::device);
    let device = open::<DevicePath>(device.ok_or(Status::NOT_FOUND)?)?;
    let mut bytes = Vec::new();
    let mut path = build::DevicePathBuilder::with_vec(&mut bytes);
    for node in device.get().ok_or(Status::NOT_FOUND)?.node_iter() {
        path = path.push(&node).map_err(|_| Status::BAD_BUFFER_SIZE)?;
    }
    let path_name = cstr16!("\\LLAMA2.EFI");
    let path = path.push(&build::media::FilePath { path_name });
    let path = path.and_then(build::DevicePathBuilder::finalize);
    let source = LoadImageSource::FromDevicePath {
        device_path: path.map_err(|_| Status::BAD_BUFFER_SIZE)?,
        boot_policy: BootPolicy::ExactMatch,
    };
    boot::load_image(image, source)
}

/// Wraps all cards, starts the application, and unwraps them.
fn run() -> uefi::Result {
    let rates = rates()?;
    let application = application()?;
    for handle in &*boot::locate_handle_buffer(boot::SearchType::AllHandles)? {
        let _ = boot::connect_controller(*handle, &[], None, true);
    }
    let mut cards: Vec<Box<FaultyCard>> = Vec::new();
    for handle in boot::find_handles::<SimpleNetwork>()? {
        let card = wrap(handle, rates)?;
        // The firmware's network offers the same card once more.
        if cards.iter().all(|known| known.real != card.real) {
            cards.push(card);
        }
    }
    for card in &mut cards {
        replace(card, true)?;
        // Whoever uses it now is the firmware's own network.
        card.starts = 0;
    }
    let ended = boot::start_image(application);
    for card in &cards {
        replace(card, false)?;
    }
    ended
}

#[uefi::entry]
fn main() -> Status {
    run().map_or_else(|error| error.status(), |()| Status::SUCCESS)
}
