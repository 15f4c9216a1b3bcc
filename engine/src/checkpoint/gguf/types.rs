//! ggml's tensor types: numbers, names, and substitutes for unsupported ones.

use alloc::{format, string::String};

use crate::layout::{Coded, Encoding};

/// Tensor type of ggml.
struct Type {
    number: u32,
    name: &'static str,
    /// Encoding, or the closest file of the same model that is supported.
    known: Result<Encoding, &'static str>,
}

const fn known(number: u32, name: &'static str, encoding: Encoding) -> Type {
    Type {
        number,
        name,
        known: Ok(encoding),
    }
}

const fn coded(number: u32, coded: Coded) -> Type {
    known(number, coded.name(), Encoding::Coded(coded))
}

const fn unknown(number: u32, name: &'static str, nearest: &'static str) -> Type {
    Type {
        number,
        name,
        known: Err(nearest),
    }
}

/// All values of `enum ggml_type`.
const TYPES: [Type; 31] = [
    known(0, "F32", Encoding::F32),
    known(1, "F16", Encoding::F16),
    known(2, "Q4_0", Encoding::Q4_0),
    coded(3, Coded::Q4_1),
    coded(6, Coded::Q5_0),
    coded(7, Coded::Q5_1),
    known(8, "Q8_0", Encoding::Q8_0),
    unknown(9, "Q8_1", "Q8_0"),
    coded(10, Coded::Q2K),
    coded(11, Coded::Q3K),
    coded(12, Coded::Q4K),
    coded(13, Coded::Q5K),
    coded(14, Coded::Q6K),
    unknown(15, "Q8_K", "Q8_0"),
    unknown(16, "IQ2_XXS", "Q2_K"),
    unknown(17, "IQ2_XS", "Q2_K"),
    unknown(18, "IQ3_XXS", "Q3_K_S"),
    unknown(19, "IQ1_S", "Q2_K"),
    coded(20, Coded::Iq4Nl),
    unknown(21, "IQ3_S", "Q3_K_S"),
    unknown(22, "IQ2_S", "Q2_K"),
    coded(23, Coded::Iq4Xs),
    unknown(28, "F64", "F32"),
    unknown(29, "IQ1_M", "Q2_K"),
    known(30, "BF16", Encoding::BF16),
    unknown(34, "TQ1_0", "Q2_K"),
    unknown(35, "TQ2_0", "Q2_K"),
    unknown(39, "MXFP4", "Q4_K_M"),
    unknown(40, "NVFP4", "Q4_K_M"),
    unknown(41, "Q1_0", "Q2_K"),
    unknown(42, "Q2_0", "Q2_K"),
];

fn of(number: u32) -> Option<&'static Type> {
    TYPES.iter().find(|t| t.number == number)
}

/// Encoding of a type, if it is supported.
pub(super) fn encoding(number: u32) -> Option<Encoding> {
    of(number).and_then(|t| t.known.ok())
}

/// Name of a type, or its number if it has none.
pub(super) fn name(number: u32) -> String {
    of(number).map_or_else(|| format!("{number}"), |t| t.name.into())
}

/// Closest supported file of a model whose type is not supported.
pub(super) fn nearest(number: u32) -> &'static str {
    of(number).and_then(|t| t.known.err()).unwrap_or("Q4_K_M")
}

/// ggml's number of an encoding; `None` for llama2.c's int8.
pub fn number(encoding: Encoding) -> Option<u32> {
    let same = |t: &&Type| t.known == Ok(encoding);
    TYPES.iter().find(same).map(|t| t.number)
}
