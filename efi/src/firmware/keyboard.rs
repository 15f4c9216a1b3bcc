//! Keyboard of the machine: the firmware's keys with modifiers, translated by the configured
//! layout.
//!
//! # Quirks
//! - Every firmware driver reports a US keyboard's characters, whatever is connected (EDK2 has a
//!   keyboard layout protocol, which only its own setup can set): hence the layouts.
//! - The extended protocol may report modifiers by themselves, as keys without scan code and
//!   character, if another program has enabled that: they are ignored. Disabling it would also set
//!   the lights of Caps Lock and the like.
//! - Some firmware lacks the extended protocol on the console's handle, or fails every call of it:
//!   then the simple one is used.

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use llama2_console::{
    keys::{Given, Key, Modifiers},
    layout::{KeyboardLayout, LAYOUTS, TypingState},
};
use llama2_efi::scan_code;
use uefi::{Handle, Status, boot::ScopedProtocol, proto::unsafe_protocol, table};
use uefi_raw::protocol::console::{
    InputKey, KeyData, SimpleTextInputExProtocol, SimpleTextInputProtocol,
};

use super::{global::Global, shell::open};

static LAYOUT: Global<TypingState> = Global::new(TypingState::new(&LAYOUTS[0]));

/// True once the extended protocol has failed.
static PLAIN: AtomicBool = AtomicBool::new(false);

/// Sets the layout.
pub fn set_layout(layout: &'static KeyboardLayout) {
    LAYOUT.with(|keyboard| *keyboard = TypingState::new(layout));
}

/// Keys of the next stroke; `None` if no key was pressed.
pub fn read() -> Option<Given> {
    loop {
        let (key, modifiers) = stroke()?;
        // A modifier alone: behind it there may be more.
        let Some(key) = key else { continue };
        return LAYOUT.with(|keyboard| keyboard.press(key, modifiers));
    }
}

/// Next stroke from the firmware, if any.
fn stroke() -> Option<(Option<Key>, Modifiers)> {
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

/// Simple input protocol of the console.
fn simple() -> Option<NonNull<SimpleTextInputProtocol>> {
    // Safety: the firmware's own table, valid until ExitBootServices, which is never called.
    let table = unsafe { table::system_table_raw()?.as_ref() };
    NonNull::new(table.stdin)
}

/// Extended input protocol, for which `uefi` has no wrapper.
#[repr(transparent)]
#[unsafe_protocol(SimpleTextInputExProtocol::GUID)]
struct Extended(SimpleTextInputExProtocol);

/// Extended input protocol of the console.
fn extended() -> Option<ScopedProtocol<Extended>> {
    // Safety: as in `simple`; the handle is null or the console's.
    let handle = unsafe {
        let table = table::system_table_raw()?.as_ref();
        Handle::from_ptr(table.stdin_handle)?
    };
    open::<Extended>(handle)
}
