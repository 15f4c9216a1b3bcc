//! Inspection of a built application: it must contain the kernels of every vector unit, and no
//! software floating point.

use std::{collections::BTreeMap, fmt, path::Path};

use anyhow::{Context, Result, bail};
use iced_x86::{Decoder, DecoderOptions, Mnemonic, Register};
use object::{Architecture, Object, ObjectSection, SectionKind};

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

/// AArch64's packed multiplications: name, and its bits under a mask (Arm Architecture Reference
/// Manual, C7.2). Names end in the width, as [`Found`]'s do.
const AARCH64: [(&str, u32, u32); 5] = [
    ("fmul neon", 0x6e20_dc00, 0xffe0_fc00),
    ("fmul neon", 0x4f80_9000, 0xffc0_f400),
    ("smull neon", 0x0e20_c000, 0xbf20_fc00),
    ("sdot neon", 0x4e80_9400, 0xffe0_fc00),
    ("smmla neon", 0x4e80_a400, 0xffe0_fc00),
];

/// AArch64's fused multiply-adds of floats: vectors, vectors by element, and scalars.
const AARCH64_FUSED: [(u32, u32); 3] = [
    (0x4e20_cc00, 0xff20_fc00),
    (0x4f80_1000, 0xff80_b400),
    (0x1f00_0000, 0xff80_0000),
];

/// Packed multiplications, by instruction and register width.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    is_aarch64: bool,
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
        let on_aarch64 = [
            (self.of(&["fmul"], "neon"), "of floats by NEON"),
            (self.of(&["smull"], "neon"), "of int8 by NEON"),
            (self.of(&["sdot"], "neon"), "by sdot"),
            (self.of(&["smmla"], "neon"), "by smmla"),
        ];
        let on_x86_64 = [
            (self.of(&floats, "xmm"), "of floats in SSE2 registers (xmm)"),
            (self.of(&bytes, "xmm"), "of int8 in SSE2 registers (xmm)"),
            (
                self.of(&["pmaddubsw"], "xmm"),
                "by SSSE3's pmaddubsw in SSE registers (xmm)",
            ),
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
        let wanted = match self.is_aarch64 {
            true => &on_aarch64[..],
            false => &on_x86_64,
        };
        // A handful may be in a library; a kernel has more.
        let few = wanted.iter().find(|(count, _)| *count < 4);
        few.map(|(_, what)| *what)
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
    let is_aarch64 = file.architecture() == Architecture::Aarch64;
    for section in file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
    {
        if is_aarch64 {
            count_aarch64(section.data()?, &mut counts)?;
            continue;
        }
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
                    | Mnemonic::Pmaddubsw
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
    Ok(Found { is_aarch64, counts })
}

/// Counts AArch64's packed multiplications.
///
/// # Errors
/// If there is a fused multiply-add, which no kernel may use.
fn count_aarch64(code: &[u8], counts: &mut BTreeMap<String, usize>) -> Result<()> {
    for (index, word) in code.chunks_exact(4).enumerate() {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        if AARCH64_FUSED
            .iter()
            .any(|(bits, mask)| word & mask == *bits)
        {
            bail!(
                "a fused multiply-add, {word:#010x}, at {:#x} of the code",
                4 * index
            );
        }
        for (name, bits, mask) in AARCH64 {
            if word & mask == bits {
                *counts.entry(name.to_owned()).or_insert(0) += 1;
            }
        }
    }
    Ok(())
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
            ("pmaddubsw xmm", "SSSE3's pmaddubsw"),
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

    #[test]
    fn aarch64s_instructions_are_known() {
        // As a disassembler names them.
        for (word, name) in [
            (0x4f80_9021, Some("fmul neon")),  // fmul v1.4s, v1.4s, v0.s[0]
            (0x4e8d_955e, Some("sdot neon")),  // sdot v30.4s, v10.16b, v13.16b
            (0x4e95_a665, Some("smmla neon")), // smmla v5.4s, v19.16b, v21.16b
            (0xd65f_03c0, None),               // ret
        ] {
            let mut counts = BTreeMap::new();
            count_aarch64(&u32::to_le_bytes(word), &mut counts).unwrap();
            assert_eq!(counts.keys().next().map(|key| &key[..]), name);
        }
        // fmadd s0, s1, s2, s3; fmla v0.4s, v1.4s, v2.4s; fmla v0.4s, v1.4s, v2.s[0]
        for word in [0x1f02_0c20_u32, 0x4e22_cc20, 0x4f82_1020] {
            assert!(count_aarch64(&word.to_le_bytes(), &mut BTreeMap::new()).is_err());
        }
    }
}
