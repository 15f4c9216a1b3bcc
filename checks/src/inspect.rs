//! Inspection of a built application: it must contain the kernels of every vector unit, and no
//! software floating point.

use std::{collections::BTreeMap, fmt, path::Path};

use anyhow::{Context, Result, bail};
use iced_x86::{Decoder, DecoderOptions, Mnemonic, Register};
use object::{Object, ObjectSection, SectionKind};

/// Library routines called by a soft-float target, and the fused multiply-add that no kernel may
/// use.
const SOFT_FLOAT: [&str; 12] = [
    "__mulsf3",
    "__addsf3",
    "__subsf3",
    "__divsf3",
    "__muldf3",
    "__adddf3",
    "__subdf3",
    "__divdf3",
    "__floatsisf",
    "__fixsfsi",
    "fmaf",
    "fma",
];

/// Packed multiplications, by instruction and register width.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    counts: BTreeMap<String, usize>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self
            .counts
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        write!(f, "packed multiplications: {}", all.join(", "))
    }
}

impl Found {
    /// Counts the instructions beginning with one of `names` that use registers of this width.
    fn of(&self, names: &[&str], width: &str) -> usize {
        let all = self.counts.iter().filter(|(name, _)| {
            let known = names.iter().any(|known| name.starts_with(known));
            known && name.ends_with(width)
        });
        all.map(|(_, count)| count).sum()
    }

    /// Names the first vector unit whose kernels are missing.
    fn missing(&self) -> Option<&'static str> {
        let floats = ["mulps", "vmulps", "vfmadd"];
        let bytes = ["pmaddwd", "vpmaddwd", "vpmaddubsw", "vpdpbusd"];
        let wanted = [
            (self.of(&floats, "xmm"), "of floats in SSE2 registers (xmm)"),
            (self.of(&bytes, "xmm"), "of int8 in SSE2 registers (xmm)"),
            (self.of(&floats, "ymm"), "of floats in AVX2 registers (ymm)"),
            (self.of(&bytes, "ymm"), "of int8 in AVX2 registers (ymm)"),
            (
                self.of(&floats, "zmm"),
                "of floats in AVX-512 registers (zmm)",
            ),
            (
                self.of(&["vpdpbusd"], "zmm"),
                "by VNNI's vpdpbusd in AVX-512 registers (zmm)",
            ),
        ];
        // A handful may be in a library; a kernel has more.
        let few = wanted.into_iter().find(|(count, _)| *count < 4);
        few.map(|(_, what)| what)
    }
}

/// Counts packed multiplications in `efi` and searches the linker's `map` for soft-float routines.
pub fn inspect(efi: &Path, map: &Path) -> Result<Found> {
    let linked = std::fs::read_to_string(map).with_context(|| map.display().to_string())?;
    if !linked.contains("efi_main") {
        bail!(
            "{}: no efi_main in it; this is not a linker's map of the application",
            map.display()
        );
    }
    let soft: Vec<&str> = SOFT_FLOAT
        .into_iter()
        .filter(|name| linked.split_whitespace().any(|word| word == *name))
        .collect();
    if !soft.is_empty() {
        bail!(
            "{}: soft-float routines are linked: {}",
            efi.display(),
            soft.join(", ")
        );
    }
    let bytes = std::fs::read(efi).with_context(|| efi.display().to_string())?;
    sbat(&bytes).with_context(|| efi.display().to_string())?;
    // A panic that only tests ask for.
    if contains(&bytes, b"this is what the test asks for") {
        bail!("{}: the hooks for tests are in it", efi.display());
    }
    let found = count(&bytes)?;
    if let Some(what) = found.missing() {
        bail!(
            "{}: next to no packed multiplications {what}; those kernels were not vectorised \
             ({found})",
            efi.display()
        );
    }
    Ok(found)
}

fn contains(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|window| window == words)
}

/// Checks for the data by which Secure Boot's shim can revoke this version, in the format of its
/// SBAT.md.
fn sbat(bytes: &[u8]) -> Result<()> {
    let file = object::read::pe::PeFile64::parse(bytes).context("not a 64-bit PE file")?;
    let section = file
        .section_by_name(".sbat")
        .context("there is no .sbat section")?;
    let data = section.data()?;
    let end = data
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(data.len());
    let text = std::str::from_utf8(&data[..end]).context(".sbat is no text")?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let fields = |line: &str| {
        line.trim_end()
            .split(',')
            .filter(|field| !field.is_empty())
            .count()
    };
    match lines[..] {
        [
            "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n",
            own,
        ] if own.starts_with("llama2.efi,1,") && own.ends_with('\n') && fields(own) == 6 => Ok(()),
        _ => bail!(".sbat has other lines than it should: {text:?}"),
    }
}

fn count(bytes: &[u8]) -> Result<Found> {
    let file = object::read::pe::PeFile64::parse(bytes).context("not a 64-bit PE file")?;
    let mut counts = BTreeMap::new();
    for section in file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
    {
        let mut decoder =
            Decoder::with_ip(64, section.data()?, section.address(), DecoderOptions::NONE);
        while decoder.can_decode() {
            let instruction = decoder.decode();
            let packed = matches!(
                instruction.mnemonic(),
                Mnemonic::Mulps
                    | Mnemonic::Mulpd
                    | Mnemonic::Vmulps
                    | Mnemonic::Vmulpd
                    | Mnemonic::Pmaddwd
                    | Mnemonic::Vpmaddwd
                    | Mnemonic::Vpmaddubsw
                    | Mnemonic::Vpdpbusd
                    | Mnemonic::Vfmadd132ps
                    | Mnemonic::Vfmadd213ps
                    | Mnemonic::Vfmadd231ps
            );
            if packed {
                let width = match instruction.op0_register() {
                    register if register.is_zmm() => "zmm",
                    register if register.is_ymm() => "ymm",
                    Register::None => "memory",
                    _ => "xmm",
                };
                *counts
                    .entry(format!("{:?} {width}", instruction.mnemonic()).to_lowercase())
                    .or_insert(0) += 1;
            }
        }
    }
    Ok(Found { counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_must_be_there() {
        let mut found = Found::default();
        let all = [
            ("mulps xmm", "floats in SSE2"),
            ("pmaddwd xmm", "int8 in SSE2"),
            ("vmulps ymm", "floats in AVX2"),
            ("vpmaddubsw ymm", "int8 in AVX2"),
            ("vfmadd231ps zmm", "floats in AVX-512"),
            ("vpdpbusd zmm", "vpdpbusd"),
        ];
        for (name, what) in all {
            let missing = found.missing().unwrap();
            assert!(missing.contains(what), "{what}: {missing}");
            found.counts.insert(name.to_owned(), 10);
        }
        assert_eq!(found.missing(), None);
        found.counts.insert("vpdpbusd zmm".to_owned(), 1);
        assert!(found.missing().is_some());
    }
}
