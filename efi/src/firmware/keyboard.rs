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

/// Takes this to be printed on the keys from now on.
pub fn set_layout(layout: &'static KeyboardLayout) {
    LAYOUT.with(|keyboard| *keyboard = TypingState::new(layout));
}

/// The keys of the next stroke; `None` if no key was pressed.
pub fn read() -> Option<Given> {
    loop {
        let (key, modifiers) = stroke()?;
        // A modifier alone: behind it there may be more.
        let Some(key) = key else { continue };
        return LAYOUT.with(|keyboard| keyboard.press(key, modifiers));
    }
}

/// The next stroke that the firmware has, if it has one.
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
