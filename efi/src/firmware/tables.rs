//! Tables in which firmware describes the machine: ACPI's, or a device tree.

use core::{ffi::c_void, slice};

use llama2_efi::{acpi, arch, cores::SwitchableCores, device_tree};
use uefi::{Guid, guid, system, table::cfg::ConfigTableEntry};

/// Device tree, as in the Embedded Base Boot Requirements (2.3.1.3).
const DEVICE_TREE: Guid = guid!("b1b621d5-f19c-41a5-830b-d9152c69aae0");
/// Largest device tree in bytes: Linux' own limit.
const LARGEST_TREE: usize = 2 << 20;

/// Address of the first of these tables that the firmware has.
fn find(known: &[Guid]) -> Option<*const c_void> {
    system::with_config_table(|entries| {
        let entry = |guid: &Guid| entries.iter().find(|entry| entry.guid == *guid);
        let found = known.iter().find_map(entry)?;
        (!found.address.is_null()).then_some(found.address)
    })
}

/// Result of `read` for the first of ACPI's tables for which there is one.
pub fn acpi<T>(read: impl FnMut(&'static [u8]) -> Option<T>) -> Option<T> {
    let address = find(&[ConfigTableEntry::ACPI2_GUID, ConfigTableEntry::ACPI_GUID])?;
    let mut pointer = [0; 36];
    // Safety: the firmware's own pointer to its tables. Version 1 has 20 bytes of them, of which
    // `root` then reads no more; the others are in the same page or the next of the firmware's
    // tables.
    unsafe { address.cast::<[u8; 20]>().read_unaligned() }
        .iter()
        .zip(&mut pointer)
        .for_each(|(from, to)| *to = *from);
    if pointer[15] >= 2 {
        // Safety: from version 2 on it has 36 bytes.
        pointer = unsafe { address.cast::<[u8; 36]>().read_unaligned() };
    }
    // Safety: addresses from the firmware's own tables; each begins with its length, which is
    // ignored if it is absurd.
    let table = |at: u64| unsafe {
        let start = core::ptr::with_exposed_provenance::<u8>(usize::try_from(at).ok()?);
        let len = acpi::length(&start.cast::<[u8; 8]>().read_unaligned());
        (8..1 << 16)
            .contains(&len)
            .then(|| slice::from_raw_parts(start, len))
    };
    let root = table(acpi::root(&pointer)?)?;
    acpi::tables(root).filter_map(table).find_map(read)
}

/// Cores that can be switched on, with the boot processor, if the machine has such.
pub fn cores() -> Option<SwitchableCores> {
    let by_acpi = || {
        let conduit = acpi(acpi::conduit)?;
        let ids = acpi(acpi::cores)?;
        Some(SwitchableCores { conduit, ids })
    };
    let found = by_acpi().or_else(|| device_tree::cores(tree()?));
    found.filter(|cores| arch::can_switch_on(cores.conduit))
}

/// Device tree of the machine.
fn tree() -> Option<&'static [u8]> {
    let start = find(&[DEVICE_TREE])?.cast::<u8>();
    // Safety: the firmware's own tree, which begins with a header of 40 bytes.
    let header = unsafe { start.cast::<[u8; 40]>().read_unaligned() };
    let size = device_tree::size(&header).filter(|size| (40..=LARGEST_TREE).contains(size))?;
    // Safety: its header says that it is so long; the firmware keeps it as long as it runs.
    Some(unsafe { slice::from_raw_parts(start, size) })
}
