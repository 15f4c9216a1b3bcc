//! Weights of a model, packed for the kernels while they are read from the file.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use crate::{
    buffer::{ALIGN, Arena, Buffer, OutOfMemory},
    checkpoint::{Checkpoint, Error, Role, Tensor},
    config::{Config, RopeLayout},
    layout::Encoding,
    matrix::Matrix,
    source::ByteSource,
};

/// Largest piece that is read at once, in bytes: some firmware fails on larger ones, and smaller
/// ones allow progress to be shown.
pub const PIECE: usize = 1 << 20;

/// Progress of loading.
#[derive(Debug, Clone, Copy)]
pub struct LoadProgress {
    /// Bytes read so far.
    pub done: u64,
    /// Bytes to read: the size of the file.
    pub total: u64,
}

/// Size and checksum of what was read, to be compared with `crc32 FILE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// Number of bytes read: the whole file.
    pub bytes: u64,
    /// CRC-32 (IEEE 802.3) of the whole file.
    pub crc32: u32,
}

/// Weights of one transformer layer.
pub struct Layer {
    /// RMSNorm before attention, `dim`.
    pub attention_norm: Buffer<f32>,
    /// Queries, `q_dim` × `dim`.
    pub wq: Matrix,
    /// Keys, `kv_dim` × `dim`.
    pub wk: Matrix,
    /// Values, `kv_dim` × `dim`.
    pub wv: Matrix,
    /// Attention's output, `dim` × `q_dim`.
    pub wo: Matrix,
    /// RMSNorm before the feed-forward layer, `dim`.
    pub ffn_norm: Buffer<f32>,
    /// Gate, `hidden_dim` × `dim`.
    pub w1: Matrix,
    /// Down, `dim` × `hidden_dim`.
    pub w2: Matrix,
    /// Up, `hidden_dim` × `dim`.
    pub w3: Matrix,
    /// Bias of queries, `q_dim`; empty if the model has none.
    pub bq: Buffer<f32>,
    /// Bias of keys, `kv_dim`; empty if the model has none.
    pub bk: Buffer<f32>,
    /// Bias of values, `kv_dim`; empty if the model has none.
    pub bv: Buffer<f32>,
    /// Bias of attention's output, `dim`; empty if the model has none.
    pub bo: Buffer<f32>,
    /// RMSNorm of each head's queries, `head_dim`; empty if the model has none.
    pub q_norm: Buffer<f32>,
    /// RMSNorm of each head's keys, `head_dim`; empty if the model has none.
    pub k_norm: Buffer<f32>,
}

impl Layer {
    /// Returns true if queries and keys have norms.
    pub(crate) fn has_head_norms(&self) -> bool {
        !self.q_norm.is_empty()
    }
}

/// Loaded model, independent of the format of its file.
pub struct Model {
    /// Shape of the model.
    pub config: Config,
    /// Values that share a scale in activations; `None` if no matrix is quantised.
    pub group: Option<usize>,
    /// Embedding of each token, `vocab_size` × `dim`.
    pub embedding: Matrix,
    /// Layers in order.
    pub layers: Vec<Layer>,
    /// RMSNorm before the classifier, `dim`.
    pub final_norm: Buffer<f32>,
    /// Divisors of RoPE's frequencies, `head_dim / 2`; empty if the model has none.
    pub rope_factors: Buffer<f32>,
    /// Classifier, `vocab_size` × `dim`, if it is not the embedding.
    own_classifier: Option<Matrix>,
}

impl Model {
    /// Loads the weights: allocates all buffers, then reads every byte of the file once, in order,
    /// in pieces of at most [`PIECE`]. `progress` is called after each piece and may stop the
    /// loading.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] before anything is read; [`Error::Read`] if the medium fails;
    /// [`Error::NotFinite`] for NaN or infinity in a tensor; [`Error::Stopped`] if `progress`
    /// breaks.
    pub fn load(
        checkpoint: &Checkpoint,
        source: &mut dyn ByteSource,
        progress: &mut dyn FnMut(LoadProgress) -> ControlFlow<()>,
    ) -> Result<(Model, Digest), Error> {
        let mut model = Model::zeroed(checkpoint)?;
        let mut stream = Stream::new(source, progress)?;
        for tensor in &checkpoint.tensors {
            stream.skip(tensor.offset)?;
            let mut take = model.place(tensor);
            let mut offset = 0;
            let mut finite = true;
            let parts = tensor.encoding.parts(tensor.rows, tensor.cols);
            for (number, part) in parts.into_iter().enumerate() {
                let unit = tensor.encoding.unit();
                stream.pass(part, unit, &mut |at, bytes| {
                    finite &= tensor.encoding.is_finite(number, bytes);
                    take(offset + at, bytes);
                })?;
                offset += part as usize;
            }
            if !finite && tensor.role != Role::RopeTables {
                return Err(Error::NotFinite {
                    tensor: tensor.name(),
                });
            }
        }
        let size = stream.source.size();
        stream.skip(size)?;
        Ok((model, stream.digest()))
    }

    /// Allocates all buffers, zeroed.
    fn zeroed(checkpoint: &Checkpoint) -> Result<Model, OutOfMemory> {
        let config = checkpoint.config;
        let mut tensors: Vec<&Tensor> = checkpoint.used().collect();
        tensors.sort_unstable_by_key(|t| (t.role, t.layer));
        // All weights side by side, on large pages.
        let bytes = tensors.iter().fold(0u64, |sum, t| {
            let one = t.packed_bytes().unwrap_or(u64::MAX);
            let padding = one.wrapping_neg() % ALIGN as u64;
            sum.saturating_add(one).saturating_add(padding)
        });
        let arena = &mut Arena::new(bytes);
        let matrix = |role: Role, layer: usize, arena: &mut Arena| {
            let found = tensors.binary_search_by_key(&(role, layer), |t| (t.role, t.layer));
            let encoding = found.map_or(Encoding::F32, |i| tensors[i].encoding);
            let (rows, cols) = role.shape(&config);
            Matrix::zeroed(rows, cols, encoding, arena)
        };
        let vector = |role: Role, layer: usize, arena: &mut Arena| {
            let found = tensors.binary_search_by_key(&(role, layer), |t| (t.role, t.layer));
            arena.zeroed(found.map_or(0, |i| tensors[i].cols))
        };
        let layer = |index, arena: &mut Arena| -> Result<Layer, OutOfMemory> {
            Ok(Layer {
                attention_norm: arena.zeroed(config.dim)?,
                wq: matrix(Role::Wq, index, arena)?,
                wk: matrix(Role::Wk, index, arena)?,
                wv: matrix(Role::Wv, index, arena)?,
                wo: matrix(Role::Wo, index, arena)?,
                ffn_norm: arena.zeroed(config.dim)?,
                w1: matrix(Role::W1, index, arena)?,
                w3: matrix(Role::W3, index, arena)?,
                w2: matrix(Role::W2, index, arena)?,
                bq: vector(Role::Bq, index, arena)?,
                bk: vector(Role::Bk, index, arena)?,
                bv: vector(Role::Bv, index, arena)?,
                bo: vector(Role::Bo, index, arena)?,
                q_norm: vector(Role::QNorm, index, arena)?,
                k_norm: vector(Role::KNorm, index, arena)?,
            })
        };
        Ok(Model {
            config,
            group: tensors.iter().find_map(|t| t.encoding.group()),
            embedding: matrix(Role::Embedding, 0, arena)?,
            layers: (0..config.n_layers)
                .map(|index| layer(index, arena))
                .collect::<Result<_, _>>()?,
            final_norm: arena.zeroed(config.dim)?,
            rope_factors: vector(Role::RopeFactors, 0, arena)?,
            own_classifier: if config.shared_classifier {
                None
            } else {
                Some(matrix(Role::Classifier, 0, arena)?)
            },
        })
    }

    /// Returns a function that stores bytes of `tensor`; its arguments are the offset in the tensor
    /// and the bytes. Pairs of rows that RoPE rotates are made adjacent, whatever their order in
    /// the file.
    fn place(&mut self, tensor: &Tensor) -> impl FnMut(usize, &[u8]) {
        enum Place<'a> {
            Matrix(&'a mut Matrix),
            Vector(&'a mut [f32]),
            Nowhere,
        }
        let turned = tensor.role.is_turned();
        let halves = turned && self.config.variant.rope.layout == RopeLayout::Halves;
        let head_dim = self.config.head_dim();
        let layers = &mut self.layers;
        let mut place = match tensor.role {
            Role::RopeTables => Place::Nowhere,
            Role::Embedding => Place::Matrix(&mut self.embedding),
            Role::FinalNorm => Place::Vector(&mut self.final_norm),
            Role::RopeFactors => Place::Vector(&mut self.rope_factors),
            Role::Classifier => self
                .own_classifier
                .as_mut()
                .map_or(Place::Nowhere, Place::Matrix),
            Role::AttentionNorm => Place::Vector(&mut layers[tensor.layer].attention_norm),
            Role::FfnNorm => Place::Vector(&mut layers[tensor.layer].ffn_norm),
            Role::Bq => Place::Vector(&mut layers[tensor.layer].bq),
            Role::Bk => Place::Vector(&mut layers[tensor.layer].bk),
            Role::Bv => Place::Vector(&mut layers[tensor.layer].bv),
            Role::Bo => Place::Vector(&mut layers[tensor.layer].bo),
            Role::QNorm => Place::Vector(&mut layers[tensor.layer].q_norm),
            Role::KNorm => Place::Vector(&mut layers[tensor.layer].k_norm),
            Role::Wq => Place::Matrix(&mut layers[tensor.layer].wq),
            Role::Wk => Place::Matrix(&mut layers[tensor.layer].wk),
            Role::Wv => Place::Matrix(&mut layers[tensor.layer].wv),
            Role::Wo => Place::Matrix(&mut layers[tensor.layer].wo),
            Role::W1 => Place::Matrix(&mut layers[tensor.layer].w1),
            Role::W2 => Place::Matrix(&mut layers[tensor.layer].w2),
            Role::W3 => Place::Matrix(&mut layers[tensor.layer].w3),
        };
        // Bytes of a row, if rows are reordered.
        let row_bytes = tensor.encoding.file_bytes(1, tensor.cols).unwrap_or(1) as usize;
        move |offset, bytes| match &mut place {
            Place::Matrix(matrix) if halves => {
                let (mut at, mut rest) = (offset, bytes);
                while !rest.is_empty() {
                    let (row, inside) = (at / row_bytes, at % row_bytes);
                    let (part, behind) = rest.split_at(rest.len().min(row_bytes - inside));
                    matrix.pack(paired(row, head_dim) * row_bytes + inside, part);
                    at += part.len();
                    rest = behind;
                }
            }
            Place::Matrix(matrix) => matrix.pack(offset, bytes),
            Place::Vector(vector) => {
                for (i, b) in (offset / 4..).zip(bytes.chunks_exact(4)) {
                    let i = if halves { paired(i, head_dim) } else { i };
                    vector[i] = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                }
            }
            Place::Nowhere => (),
        }
    }

    /// Bytes of weights that a decode step reads: every layer's matrices and norms, and the
    /// classifier.
    pub fn bytes_per_token(&self) -> u64 {
        let layers = self.layers.iter().map(|layer| {
            let norms = size_of_val(&layer.attention_norm[..]) + size_of_val(&layer.ffn_norm[..]);
            let matrices = [
                &layer.wq, &layer.wk, &layer.wv, &layer.wo, &layer.w1, &layer.w2, &layer.w3,
            ];
            norms as u64 + matrices.map(Matrix::bytes).iter().sum::<u64>()
        });
        layers.sum::<u64>() + self.classifier().bytes() + size_of_val(&self.final_norm[..]) as u64
    }

    /// Matrix that turns the last state into logits.
    pub fn classifier(&self) -> &Matrix {
        self.own_classifier.as_ref().unwrap_or(&self.embedding)
    }
}

/// New index of row `row` of queries or keys, so that i and i + head_dim / 2 of a head are
/// adjacent.
fn paired(row: usize, head_dim: usize) -> usize {
    let (inside, half) = (row % head_dim, head_dim / 2);
    row - inside + 2 * (inside % half) + inside / half
}

/// Source read from front to back, with its checksum.
struct Stream<'a> {
    source: &'a mut dyn ByteSource,
    progress: &'a mut dyn FnMut(LoadProgress) -> ControlFlow<()>,
    piece: Buffer<u8>,
    done: u64,
    crc: crc32fast::Hasher,
}

impl<'a> Stream<'a> {
    fn new(
        source: &'a mut dyn ByteSource,
        progress: &'a mut dyn FnMut(LoadProgress) -> ControlFlow<()>,
    ) -> Result<Self, OutOfMemory> {
        Ok(Stream {
            source,
            progress,
            piece: Buffer::zeroed(PIECE)?,
            done: 0,
            crc: crc32fast::Hasher::new(),
        })
    }

    /// Reads up to byte `offset`, for the checksum only.
    fn skip(&mut self, offset: u64) -> Result<(), Error> {
        self.pass(offset.saturating_sub(self.done), 1, &mut |_, _| ())
    }

    /// Reads the next `bytes` bytes and passes them on in pieces of whole units, each with its
    /// offset.
    fn pass(
        &mut self,
        bytes: u64,
        unit: usize,
        take: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(), Error> {
        let most = (PIECE / unit * unit) as u64;
        let mut offset = 0;
        while offset < bytes {
            let piece = &mut self.piece[..(bytes - offset).min(most) as usize];
            self.source.read_at(self.done, piece)?;
            self.crc.update(piece);
            take(offset as usize, piece);
            offset += piece.len() as u64;
            self.done += piece.len() as u64;
            if (self.progress)(LoadProgress {
                done: self.done,
                total: self.source.size(),
            })
            .is_break()
            {
                return Err(Error::Stopped);
            }
        }
        Ok(())
    }

    fn digest(self) -> Digest {
        Digest {
            bytes: self.done,
            crc32: self.crc.finalize(),
        }
    }
}
