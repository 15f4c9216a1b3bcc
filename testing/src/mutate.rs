//! Structural mutations of GGUF files: an entry or a tensor is changed, doubled, moved or removed,
//! and the file is written again around it, with lengths and counts that are right or wrong.

/// Reads as far as possible; only fuzzers use it, so nothing is checked twice.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: u64) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(usize::try_from(len).ok()?)?;
        self.rest = tail;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        let len = self.u64()?;
        self.bytes(len).map(Into::into)
    }
}

#[derive(Clone)]
struct Entry {
    key: Vec<u8>,
    kind: u32,
    value: Value,
}

#[derive(Clone)]
enum Value {
    /// A number, or anything of a fixed size.
    Plain(Vec<u8>),
    Text(Vec<u8>),
    /// An array of elements of a fixed size.
    Numbers(u32, u64, Vec<u8>),
    Texts(Vec<Vec<u8>>),
}

#[derive(Clone)]
struct Tensor {
    name: Vec<u8>,
    shape: Vec<u64>,
    kind: u32,
    offset: u64,
}

struct File {
    version: u32,
    entries: Vec<Entry>,
    tensors: Vec<Tensor>,
    data: Vec<u8>,
}

/// Largest length in bytes to which texts grow by repetition.
const LONGEST: usize = 64 << 10;

/// Size of a value of a fixed size, in bytes.
fn size(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

fn read(bytes: &[u8]) -> Option<File> {
    let mut reader = Reader {
        rest: bytes.strip_prefix(b"GGUF")?,
    };
    let version = reader.u32()?;
    let (tensor_count, entry_count) = (reader.u64()?, reader.u64()?);
    let (mut entries, mut tensors) = (Vec::new(), Vec::new());
    for _ in 0..entry_count {
        let (key, kind) = (reader.text()?, reader.u32()?);
        let value = match kind {
            8 => Value::Text(reader.text()?),
            9 => {
                let (element, count) = (reader.u32()?, reader.u64()?);
                if element == 8 {
                    let mut texts = Vec::new();
                    for _ in 0..count {
                        texts.push(reader.text()?);
                    }
                    Value::Texts(texts)
                } else {
                    let bytes = count.checked_mul(size(element)?)?;
                    Value::Numbers(element, count, reader.bytes(bytes)?.into())
                }
            }
            _ => Value::Plain(reader.bytes(size(kind)?)?.into()),
        };
        entries.push(Entry { key, kind, value });
    }
    for _ in 0..tensor_count {
        let name = reader.text()?;
        let dimensions = reader.u32()?.min(8);
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.push(reader.u64()?);
        }
        tensors.push(Tensor {
            name,
            shape,
            kind: reader.u32()?,
            offset: reader.u64()?,
        });
    }
    let at = bytes.len() - reader.rest.len();
    let data = bytes.get(at.next_multiple_of(32)..).unwrap_or_default();
    Some(File {
        version,
        entries,
        tensors,
        data: data.into(),
    })
}

impl File {
    /// Writes the file. Counts are correct, except for the `lies`.
    fn write(&self, lies: [u64; 2]) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        let text = |out: &mut Vec<u8>, text: &[u8]| {
            out.extend((text.len() as u64).to_le_bytes());
            out.extend(text);
        };
        out.extend(self.version.to_le_bytes());
        out.extend(
            (self.tensors.len() as u64)
                .wrapping_add(lies[0])
                .to_le_bytes(),
        );
        out.extend(
            (self.entries.len() as u64)
                .wrapping_add(lies[1])
                .to_le_bytes(),
        );
        for entry in &self.entries {
            text(&mut out, &entry.key);
            out.extend(entry.kind.to_le_bytes());
            match &entry.value {
                Value::Plain(bytes) => out.extend(bytes),
                Value::Text(bytes) => text(&mut out, bytes),
                Value::Numbers(kind, count, bytes) => {
                    out.extend(kind.to_le_bytes());
                    out.extend(count.to_le_bytes());
                    out.extend(bytes);
                }
                Value::Texts(texts) => {
                    out.extend(8u32.to_le_bytes());
                    out.extend((texts.len() as u64).to_le_bytes());
                    texts.iter().for_each(|word| text(&mut out, word));
                }
            }
        }
        for tensor in &self.tensors {
            text(&mut out, &tensor.name);
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            out.extend(tensor.shape.iter().flat_map(|n| n.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.to_le_bytes());
        }
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend(&self.data);
        out
    }
}

/// Random numbers (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % count.max(1)
    }

    /// A number of a kind that often reveals bugs.
    fn number(&mut self) -> u64 {
        const EDGES: [u64; 24] = [
            0,
            1,
            2,
            3,
            4,
            8,
            16,
            31,
            32,
            33,
            64,
            255,
            256,
            4096,
            65_535,
            1 << 20,
            1 << 24,
            (1 << 24) + 1,
            u32::MAX as u64,
            1 << 32,
            1 << 60,
            1 << 63,
            i64::MAX as u64,
            u64::MAX,
        ];
        EDGES[self.below(EDGES.len())]
    }

    fn float(&mut self) -> f32 {
        const EDGES: [f32; 12] = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            1e-45,
            1e-38,
            f32::MAX,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            1e6,
        ];
        EDGES[self.below(EDGES.len())]
    }
}

/// Keys and words with a meaning.
const WORDS: [&str; 34] = [
    "general.alignment",
    "general.architecture",
    "split.count",
    "split.no",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.model",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.token_type",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.scores",
    "tokenizer.ggml.tokens",
    "tokenizer.chat_template",
    "llama.expert_count",
    "llama.rope.scaling.type",
    "llama.rope.scaling.factor",
    "llama.rope.scale_linear",
    "llama.rope.scaling.attn_factor",
    "llama.rope.scaling.original_context_length",
    "llama.attention.sliding_window",
    "llama.attention.value_length",
    "llama.rope.dimension_count",
    "granite.rope.scaling.finetuned",
    "yarn",
    "linear",
    "none",
    "gpt2",
    "llama",
    "qwen3",
    "tekken",
    "output.weight",
    "rope_freqs.weight",
    "blk.0.attn_q.bias",
];

/// Applies one to three changes to `bytes`; `None` if they are not a GGUF file. One part of a split
/// model is changed.
pub fn gguf(bytes: &[u8], seed: u64) -> Option<Vec<u8>> {
    let random = &mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    if bytes.starts_with(b"PART") {
        let mut parts = Vec::new();
        let mut rest = bytes;
        while let Some((head, tail)) = rest
            .strip_prefix(b"PART")
            .and_then(|rest| rest.split_at_checked(4))
        {
            let length = u32::from_le_bytes(head.try_into().ok()?) as usize;
            let (part, behind) = tail.split_at(length.min(tail.len()));
            parts.push(part.to_vec());
            rest = behind;
        }
        // A mark without a length behind it gives no part.
        if parts.is_empty() {
            return None;
        }
        let at = random.below(parts.len());
        match random.below(8) {
            0 => parts.push(parts[at].clone()),
            1 => drop(parts.remove(at)),
            2 => parts.swap(at, 0),
            // Parts have no parts: those that say so would be opened up thousands deep.
            _ => parts[at] = file(&parts[at], random)?,
        }
        let mut out = Vec::new();
        for part in parts {
            out.extend(b"PART");
            out.extend((part.len() as u32).to_le_bytes());
            out.extend(part);
        }
        return Some(out);
    }
    file(bytes, random)
}

fn file(bytes: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let mut file = read(bytes)?;
    let mut lies = [0, 0];
    for _ in 0..=random.below(3) {
        match random.below(16) {
            0 => lies[random.below(2)] = random.number(),
            1 => file.version = random.below(5) as u32,
            2..=8 => change_entries(&mut file.entries, random),
            _ => change_tensors(&mut file.tensors, random),
        }
    }
    Some(file.write(lies))
}

fn change_entries(entries: &mut Vec<Entry>, random: &mut Random) {
    let at = random.below(entries.len());
    let word = WORDS[random.below(WORDS.len())].as_bytes().to_vec();
    let value = match random.below(3) {
        0 => (
            4,
            Value::Plain((random.number() as u32).to_le_bytes().into()),
        ),
        1 => (6, Value::Plain(random.float().to_le_bytes().into())),
        _ => (8, Value::Text(WORDS[random.below(WORDS.len())].into())),
    };
    if entries.is_empty() || random.below(6) == 0 {
        let (kind, value) = value;
        return entries.push(Entry {
            key: word,
            kind,
            value,
        });
    }
    let entry = &mut entries[at];
    match random.below(12) {
        0 => drop(entries.remove(at)),
        1 => entries.push(entries[at].clone()),
        2 => entry.key = word,
        3 => (entry.kind, entry.value) = value,
        4 => entry.kind = random.below(14) as u32,
        // The same number in other widths.
        5 => {
            let number = random.number();
            (entry.kind, entry.value) = match random.below(4) {
                0 => (10, Value::Plain(number.to_le_bytes().into())),
                1 => (11, Value::Plain(number.to_le_bytes().into())),
                2 => (2, Value::Plain((number as u16).to_le_bytes().into())),
                _ => (
                    12,
                    Value::Plain(f64::from_bits(number).to_le_bytes().into()),
                ),
            };
        }
        _ => match &mut entry.value {
            Value::Plain(bytes) => {
                let number = match entry.kind {
                    6 => random.float().to_bits().into(),
                    _ => random.number(),
                };
                let len = bytes.len().min(8);
                bytes[..len].copy_from_slice(&number.to_le_bytes()[..len]);
            }
            Value::Text(text) => change_text(text, random),
            Value::Numbers(kind, count, bytes) => match random.below(4) {
                0 => *count = random.number(),
                1 => *kind = random.below(14) as u32,
                2 => {
                    let number = random.number().to_le_bytes();
                    let at = random.below(bytes.len()) / 4 * 4;
                    bytes
                        .iter_mut()
                        .skip(at)
                        .zip(number)
                        .take(4)
                        .for_each(|(b, n)| *b = n);
                }
                _ => {
                    let size = size(*kind).unwrap_or(1);
                    *count = (*count / 2).max(1);
                    // The count may be wrong already.
                    bytes.truncate(count.saturating_mul(size) as usize);
                }
            },
            Value::Texts(texts) => {
                let at = random.below(texts.len());
                match random.below(4) {
                    0 if !texts.is_empty() => drop(texts.remove(at)),
                    1 => texts.insert(at, word),
                    2 => texts.truncate(at),
                    _ => {
                        if let Some(text) = texts.get_mut(at) {
                            change_text(text, random);
                        }
                    }
                }
            }
        },
    }
}

fn change_text(text: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(text.len());
    match random.below(5) {
        // Three times forty times a long text would be gigabytes.
        0 => *text = text.repeat(1 + random.below(40).min(LONGEST / text.len().max(1))),
        1 => text.truncate(at),
        2 => text.insert(at.min(text.len()), random.below(256) as u8),
        3 => *text = WORDS[random.below(WORDS.len())].into(),
        _ => {
            if let Some(byte) = text.get_mut(at) {
                *byte = random.below(256) as u8;
            }
        }
    }
}

fn change_tensors(tensors: &mut Vec<Tensor>, random: &mut Random) {
    if tensors.is_empty() {
        return;
    }
    let (at, other) = (random.below(tensors.len()), random.below(tensors.len()));
    let tensor = &mut tensors[at];
    match random.below(12) {
        0 => drop(tensors.remove(at)),
        1 => tensors.push(tensors[at].clone()),
        2 => tensors.swap(at, other),
        3 => tensors[at].name = tensors[other].name.clone(),
        4 => change_text(&mut tensor.name, random),
        5 => tensors[at].offset = tensors[other].offset,
        6 => tensor.offset = random.number(),
        7 => {
            tensor.offset = tensor
                .offset
                .wrapping_add(32)
                .wrapping_sub(64 * random.below(2) as u64)
        }
        8 => tensor.kind = random.below(44) as u32,
        9 => tensor.shape.push(random.number()),
        _ => {
            let at = random.below(tensor.shape.len());
            if let Some(length) = tensor.shape.get_mut(at) {
                *length = random.number();
            }
        }
    }
}
