//! The machine's own keyboard: the firmware's keys with what was held down, as the configured
//! layout prints them.
//!
//! # Quirks
//! - Every firmware driver reports a US keyboard's characters, whatever is plugged in (EDK2 has a
//!   keyboard layout protocol, which only its own setup can set): hence the layouts.
//! - The extended protocol may report modifiers by themselves, as keys without code and character,
//!   if somebody has switched that on: they are left out. So nothing has to be switched off, which
//!   would set the lights of Caps Lock and its like, too.
//! - Some firmware has the extended protocol not on the console's handle, or fails every call of
//!   it: then the simple one is asked.

use alloc::{collections::VecDeque, vec::Vec};
use core::{
    ffi::c_void,
    ptr::{self, NonNull},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use llama2_console::{
    keys::{Given, Key, Modifiers},
    layout::{Keyboard, LAYOUTS, Layout},
};
use llama2_efi::scan_code;
use uefi::{Handle, Status, boot::ScopedProtocol, proto::unsafe_protocol, table};
use uefi_raw::protocol::console::{
    InputKey, KeyData, KeyShiftState, KeyState, SimpleTextInputExProtocol, SimpleTextInputProtocol,
};

use super::{global::Global, shell::open};

static LAYOUT: Global<Keyboard> = Global::new(Keyboard::new(&LAYOUTS[0]));

/// True once the extended protocol has failed.
static PLAIN: AtomicBool = AtomicBool::new(false);

/// Takes this to be printed on the keys from now on.
pub fn set_layout(layout: &'static Layout) {
    LAYOUT.with(|keyboard| *keyboard = Keyboard::new(layout));
}

/// The keys of the next stroke; `None` if no key was pressed.
pub fn read() -> Option<Given> {
    loop {
        let (key, modifiers) = if WATCHED.load(Relaxed) {
            TOLD.swap(false, Relaxed)
                .then(|| (Some(Key::Escape), Modifiers::default()))
        } else {
            KEPT.with(VecDeque::pop_front).flatten().or_else(stroke)
        }?;
        // A modifier alone: behind it there may be more.
        let Some(key) = key else { continue };
        return LAYOUT.with(|keyboard| keyboard.press(key, modifiers));
    }
}

/// A key, `None` for a modifier alone, and what was held down.
type Stroke = (Option<Key>, Modifiers);

/// True while the firmware tells of keys instead of being asked.
static WATCHED: AtomicBool = AtomicBool::new(false);
/// True when it has told of one.
static TOLD: AtomicBool = AtomicBool::new(false);
/// Other keys that were pressed meanwhile.
static KEPT: Global<VecDeque<Stroke>> = Global::new(VecDeque::new());

/// The notifications that were asked for, and the keyboard.
static WATCH: Global<Option<Watch>> = Global::new(None);

struct Watch {
    input: ScopedProtocol<Extended>,
    handles: Vec<*mut c_void>,
}

/// Has [`read`] be called by a timer from now on, where it gives nothing but Esc (for Ctrl-C, too),
/// or no more: keyboards may be asked at the lowest task priority level only, where a timer's
/// function never is. Other keys wait until then. Firmware that cannot tell is asked all the same:
/// EDK2 does not mind.
pub fn watch(wanted: bool) {
    const CTRL: [KeyShiftState; 2] = [KeyShiftState::LEFT_CONTROL, KeyShiftState::RIGHT_CONTROL];
    if let Some(mut watch) = WATCH.with(Option::take).flatten() {
        for &handle in &watch.handles {
            if let Some(input) = watch.input.get_mut() {
                let input = &raw mut input.0;
                // Safety: the firmware's keyboard, and what it gave for this notification.
                let _ = unsafe { ((*input).unregister_key_notify)(input, handle) };
            }
        }
        WATCHED.store(false, Relaxed);
        while let Some(stroke) = stroke() {
            let (key, modifiers) = stroke;
            let stops = matches!(key, Some(Key::Escape | Key::Ctrl('c')))
                || key == Some(Key::Char('c')) && modifiers.ctrl;
            if !stops {
                KEPT.with(|kept| kept.push_back(stroke));
            }
        }
    }
    if !wanted || PLAIN.load(Relaxed) {
        return;
    }
    let Some(input) = extended() else { return };
    let mut watch = Watch {
        input,
        handles: Vec::new(),
    };
    let stroke = |scan_code, unicode_char, state: KeyShiftState| KeyData {
        key: InputKey {
            scan_code,
            unicode_char,
        },
        key_state: KeyState {
            key_shift_state: state,
            ..KeyState::default()
        },
    };
    let escape = stroke(0x17, 0, KeyShiftState::empty());
    let interrupts = CTRL.into_iter().flat_map(|ctrl| {
        [3, u16::from(b'c')].map(|unit| stroke(0, unit, ctrl | KeyShiftState::VALID))
    });
    for stroke in [escape].into_iter().chain(interrupts) {
        let Some(input) = watch.input.get_mut() else {
            continue;
        };
        let (input, mut handle) = (&raw mut input.0, ptr::null_mut());
        // Safety: the firmware's keyboard; `tell` stays until `watch(false)`, which every way out
        // calls.
        let status = unsafe { ((*input).register_key_notify)(input, &stroke, tell, &mut handle) };
        if status == Status::SUCCESS {
            watch.handles.push(handle);
        }
    }
    if !watch.handles.is_empty() {
        TOLD.store(false, Relaxed);
        WATCHED.store(true, Relaxed);
        WATCH.with(|place| *place = Some(watch));
    }
}

/// Called by the firmware when a key is pressed that [`watch`] has named.
unsafe extern "efiapi" fn tell(_: *const KeyData) -> Status {
    TOLD.store(true, Relaxed);
    Status::SUCCESS
}

/// The next stroke that the firmware has, if it has one.
fn stroke() -> Option<Stroke> {
    let mut extended = (!PLAIN.load(Relaxed)).then(extended).flatten();
    if let Some(input) = extended.as_mut().and_then(|input| input.get_mut()) {
        let input = &raw mut input.0;
        let mut data = KeyData::default();
        // Safety: the firmware's keyboard, valid until ExitBootServices; the call only writes the
        // key.
        match unsafe { ((*input).read_key_stroke_ex)(input, &mut data) } {
            Status::SUCCESS => {
                let KeyData { key, key_state } = data;
                let modifiers = scan_code::modifiers(key_state.key_shift_state.bits());
                return Some((scan_code::key(key.scan_code, key.unicode_char), modifiers));
            }
            Status::NOT_READY => return None,
            _ => PLAIN.store(true, Relaxed),
        }
    }
    let input = simple()?.as_ptr();
    let mut key = InputKey::default();
    // Safety: as above.
    let status = unsafe { ((*input).read_key_stroke)(input, &mut key) };
    (status == Status::SUCCESS).then(|| {
        let key = scan_code::key(key.scan_code, key.unicode_char);
        (key, Modifiers::default())
    })
}

/// The simple protocol of the console's keyboard.
fn simple() -> Option<NonNull<SimpleTextInputProtocol>> {
    // Safety: the firmware's own table, valid until ExitBootServices, which is never called.
    let table = unsafe { table::system_table_raw()?.as_ref() };
    NonNull::new(table.stdin)
}

/// The extended protocol, which uefi has no wrapper for.
#[repr(transparent)]
#[unsafe_protocol(SimpleTextInputExProtocol::GUID)]
struct Extended(SimpleTextInputExProtocol);

/// The extended protocol of the console's keyboard.
fn extended() -> Option<ScopedProtocol<Extended>> {
    // Safety: as in `simple`; the handle is null or the console's.
    let handle = unsafe {
        let table = table::system_table_raw()?.as_ref();
        Handle::from_ptr(table.stdin_handle)?
    };
    open::<Extended>(handle)
}
