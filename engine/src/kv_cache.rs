//! KV cache: keys and values of all positions in pages, laid out so that attention reads linearly.
//!
//! A page holds [`PAGE`] positions of a sequence in all layers, so that a short conversation
//! touches little of what a long one would need; a [`PageTable`] says which pages a sequence has.
//! Sequences that begin with the same tokens may share pages: one that writes to a shared page gets
//! a copy of its own.
//! Within a page the keys of each layer and KV head are a packed matrix with a row for each
//! position (16 of them interleaved, as in [`crate::layout::float32`]), and the values stand row
//! after row.

use alloc::vec::Vec;
use core::ops::Range;

use crate::half::F16;

use crate::{
    buffer::{OutOfMemory, Reserve},
    config::Config,
    kernels::{AttentionWeights, Kernels, Quantized},
    layout::{Activations, BLOCK, PANEL, QUAD, Rounding, q8_0},
    parallel::Shared,
};

/// Positions per page: whole panels, and enough to hide the cost of changing pages.
pub(crate) const PAGE: usize = 128;

/// Positions that attention takes at a time: a part of a page.
const PIECE: usize = 32;

/// Positions per page for a context of `seq_len`.
fn page(seq_len: usize) -> usize {
    seq_len.next_multiple_of(PANEL).min(PAGE)
}

/// Type of keys and values in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvType {
    /// Single precision, as in llama2.c.
    #[default]
    F32,
    /// Half precision: half the memory, and half the time to read it.
    F16,
    /// Blocks of 32 int8 values with an f16 scale (GGUF's Q8_0): about half of F16's memory. The
    /// head size must be a multiple of the block.
    Q8_0,
}

impl KvType {
    /// All types.
    pub const ALL: [KvType; 3] = [KvType::F32, KvType::F16, KvType::Q8_0];

    /// Size of `count` numbers, which must be whole blocks, in bytes.
    pub fn bytes(self, count: u64) -> u64 {
        match self {
            KvType::F32 => count.saturating_mul(4),
            KvType::F16 => count.saturating_mul(2),
            KvType::Q8_0 => (count / BLOCK as u64).saturating_mul(q8_0::FILE_BLOCK as u64),
        }
    }

    /// Name, as in settings.
    pub fn name(self) -> &'static str {
        match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
            KvType::Q8_0 => "q8_0",
        }
    }
}

impl core::str::FromStr for KvType {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = KvType::ALL.into_iter().find(|kv| kv.name() == text);
        found.ok_or("must be f32, f16 or q8_0")
    }
}

/// Size of the keys and values of the whole context, in bytes.
pub(crate) fn kv_cache_bytes(c: &Config, kv: KvType) -> u64 {
    let rows = c.seq_len.next_multiple_of(page(c.seq_len));
    let numbers = [2, c.n_layers, rows, c.kv_dim()]
        .iter()
        .fold(1u64, |n, &factor| n.saturating_mul(factor as u64));
    // Pairs of blocks have room for two scales even if there is one block.
    let odd = kv == KvType::Q8_0 && !(c.head_dim() / BLOCK).is_multiple_of(2);
    let spare = if odd { numbers / BLOCK as u64 } else { 0 };
    // A page is in the list of free ones, in a table, and has a number of users.
    let lists = (2 * size_of::<usize>() + size_of::<u32>()) * c.seq_len.div_ceil(page(c.seq_len));
    kv.bytes(numbers)
        .saturating_add(spare)
        .saturating_add(lists as u64)
}

/// Numbers of any of the types.
enum Numbers {
    F32(Reserve<f32>),
    F16(Reserve<u16>),
    Q8_0(Reserve<u8>),
}

impl Numbers {
    fn reserve(kv: KvType, len: usize) -> Result<Self, OutOfMemory> {
        Ok(match kv {
            KvType::F32 => Numbers::F32(Reserve::new(len)?),
            KvType::F16 => Numbers::F16(Reserve::new(len)?),
            KvType::Q8_0 => Numbers::Q8_0(Reserve::new(len)?),
        })
    }

    fn zero(&mut self, range: Range<usize>) {
        match self {
            Numbers::F32(numbers) => numbers.zero(range),
            Numbers::F16(numbers) => numbers.zero(range),
            Numbers::Q8_0(numbers) => numbers.zero(range),
        }
    }

    fn copy(&mut self, range: Range<usize>, to: usize) {
        match self {
            Numbers::F32(numbers) => numbers.copy(range, to),
            Numbers::F16(numbers) => numbers.copy(range, to),
            Numbers::Q8_0(numbers) => numbers.copy(range, to),
        }
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        match self {
            Numbers::F32(numbers) => numbers.bytes(range),
            Numbers::F16(numbers) => numbers.bytes(range),
            Numbers::Q8_0(numbers) => numbers.bytes(range),
        }
    }

    fn write_bytes(&mut self, to: usize, bytes: &[u8]) {
        match self {
            Numbers::F32(numbers) => numbers.write_bytes(to, bytes),
            Numbers::F16(numbers) => numbers.write_bytes(to, bytes),
            Numbers::Q8_0(numbers) => numbers.write_bytes(to, bytes),
        }
    }

    /// # Safety
    /// As for [`Shared::reserved`].
    unsafe fn share(&mut self) -> SharedNumbers<'_> {
        // Safety: as the caller says.
        unsafe {
            match self {
                Numbers::F32(numbers) => SharedNumbers::F32(Shared::reserved(numbers)),
                Numbers::F16(numbers) => SharedNumbers::F16(Shared::reserved(numbers)),
                Numbers::Q8_0(numbers) => SharedNumbers::Q8_0(Shared::reserved(numbers)),
            }
        }
    }
}

enum SharedNumbers<'a> {
    F32(Shared<'a, f32>),
    F16(Shared<'a, u16>),
    Q8_0(Shared<'a, u8>),
}

/// The pages of a sequence.
struct PageTable {
    /// Page numbers, in the order of the positions.
    pages: Vec<usize>,
    /// Number of positions from the start that are zeroed or written: a multiple of the panel.
    ready: usize,
}

/// Arrangement of keys and values in pages.
#[derive(Clone, Copy)]
struct CacheLayout {
    /// Positions per page.
    page: usize,
    head_dim: usize,
    kv_heads: usize,
    layers: usize,
    kv: KvType,
}

impl CacheLayout {
    /// Elements (bytes for blocks) of a panel of keys: 16 positions of a head.
    fn panel(&self) -> usize {
        match self.kv {
            KvType::Q8_0 => q8_0::LAYOUT.panel_bytes(self.head_dim).unwrap_or(0),
            _ => PANEL * self.head_dim,
        }
    }

    /// Elements (bytes for blocks) of a head's values at one position.
    fn row(&self) -> usize {
        match self.kv {
            KvType::Q8_0 => self.head_dim / BLOCK * q8_0::FILE_BLOCK,
            _ => self.head_dim,
        }
    }

    /// Index of the page's first position for this head and layer, counted over the positions of
    /// all heads, layers and pages.
    fn first(&self, table: &PageTable, layer: usize, head: usize, pos: usize) -> usize {
        let page = table.pages[pos / self.page];
        ((page * self.layers + layer) * self.kv_heads + head) * self.page
    }

    /// Index of the first element of the panel of keys that contains position `pos`.
    fn keys(&self, table: &PageTable, layer: usize, head: usize, pos: usize) -> usize {
        (self.first(table, layer, head, pos) + pos % self.page) / PANEL * self.panel()
    }

    /// Index of the first element of the values of position `pos`.
    fn values(&self, table: &PageTable, layer: usize, head: usize, pos: usize) -> usize {
        (self.first(table, layer, head, pos) + pos % self.page) * self.row()
    }

    /// Elements of the first `positions` (whole panels) of each head and layer in page `page`: of
    /// keys and of values.
    fn beginnings(
        self,
        page: usize,
        positions: usize,
    ) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let rows = self.layers * self.kv_heads;
        (page * rows..(page + 1) * rows).map(move |row| {
            let (keys, values) = (
                row * self.page / PANEL * self.panel(),
                row * self.page * self.row(),
            );
            (
                keys..keys + positions / PANEL * self.panel(),
                values..values + positions * self.row(),
            )
        })
    }

    /// Elements of the first `positions` of a table, in whole panels: of keys and of values.
    fn pieces(
        self,
        table: &PageTable,
        positions: usize,
    ) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let all = positions.next_multiple_of(PANEL);
        let pages = (0..all.div_ceil(self.page)).zip(&table.pages);
        pages.flat_map(move |(index, &page)| {
            self.beginnings(page, (all - index * self.page).min(self.page))
        })
    }

    /// Splits the positions `range` into pieces of at most [`PIECE`], none of them in two pages.
    fn parts(self, range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let mut next = range.start;
        let behind = |from: usize, size: usize| (from / size + 1) * size;
        core::iter::from_fn(move || {
            let from = next;
            next = behind(from, PIECE)
                .min(behind(from, self.page))
                .min(range.end);
            (from < range.end).then_some(from..next)
        })
    }
}

/// Keys and values.
pub(crate) struct KvCache {
    keys: Numbers,
    values: Numbers,
    places: CacheLayout,
    /// Free pages; the last one is used next.
    free: Vec<usize>,
    /// How many tables each page is in.
    users: Vec<u32>,
    /// One for each sequence.
    tables: Vec<PageTable>,
}

impl KvCache {
    /// Reserves memory for the whole contexts of so many sequences without touching it.
    pub(crate) fn new(c: &Config, kv: KvType, sequences: usize) -> Result<Self, OutOfMemory> {
        KvCache::in_pages(c, kv, page(c.seq_len), sequences)
    }

    /// Reserves memory in pages of `page` positions, a multiple of the panel.
    fn in_pages(
        c: &Config,
        kv: KvType,
        page: usize,
        sequences: usize,
    ) -> Result<Self, OutOfMemory> {
        let places = CacheLayout {
            page,
            head_dim: c.head_dim(),
            kv_heads: c.n_kv_heads,
            layers: c.n_layers,
            kv,
        };
        let each = c.seq_len.div_ceil(places.page);
        let pages = each
            .checked_mul(sequences)
            .ok_or(OutOfMemory { bytes: u64::MAX })?;
        let numbers = |each: usize, count: usize| {
            let len = [pages, c.n_layers, c.n_kv_heads, count]
                .iter()
                .try_fold(each, |n, &factor| n.checked_mul(factor));
            Numbers::reserve(kv, len.ok_or(OutOfMemory { bytes: u64::MAX })?)
        };
        let mut users = room_for(pages)?;
        users.resize(pages, 0);
        let mut tables = room_for(sequences)?;
        for _ in 0..sequences {
            tables.push(PageTable {
                pages: room_for(each)?,
                ready: 0,
            });
        }
        let mut cache = KvCache {
            keys: numbers(places.panel(), places.page / PANEL)?,
            values: numbers(places.row(), places.page)?,
            places,
            free: room_for(pages)?,
            users,
            tables,
        };
        cache.free.extend((0..pages).rev());
        Ok(cache)
    }

    /// Takes a free page. There is one: each sequence has room for its whole context, and a page
    /// that is shared leaves one free.
    fn take(&mut self) -> usize {
        let page = self
            .free
            .pop()
            .expect("every sequence has room for its context");
        self.users[page] = 1;
        page
    }

    fn give_back(&mut self, page: usize) {
        self.users[page] -= 1;
        if self.users[page] == 0 {
            self.free.push(page);
        }
    }

    /// Gives a sequence pages for its first `positions`, of which those from `from` on are written.
    /// Zeroes panel by panel, because allocated memory is not zeroed and attention reads whole
    /// panels of keys.
    fn reach(&mut self, sequence: usize, from: usize, positions: usize) {
        let p = self.places;
        for index in from / p.page..self.tables[sequence].pages.len() {
            self.make_own(sequence, index);
        }
        for pos in (self.tables[sequence].ready..positions).step_by(PANEL) {
            if pos % p.page == 0 {
                let page = self.take();
                self.tables[sequence].pages.push(page);
            }
            let table = &mut self.tables[sequence];
            for (layer, head) in (0..p.layers).flat_map(|l| (0..p.kv_heads).map(move |h| (l, h))) {
                let keys = p.keys(table, layer, head, pos);
                self.keys.zero(keys..keys + p.panel());
                let values = p.values(table, layer, head, pos);
                self.values.zero(values..values + PANEL * p.row());
            }
            table.ready = pos + PANEL;
        }
    }

    /// Gives a sequence a page of its own in the place of one that it shares.
    fn make_own(&mut self, sequence: usize, index: usize) {
        let p = self.places;
        let table = &self.tables[sequence];
        let page = table.pages[index];
        if self.users[page] == 1 {
            return;
        }
        let ready = (table.ready - index * p.page).min(p.page);
        let own = self.take();
        for ((keys, values), (own_keys, own_values)) in
            p.beginnings(page, ready).zip(p.beginnings(own, ready))
        {
            self.keys.copy(keys, own_keys.start);
            self.values.copy(values, own_values.start);
        }
        self.tables[sequence].pages[index] = own;
        self.give_back(page);
    }

    /// Lets sequence `to` begin with the first `positions` of `from`, which have been written, in
    /// the same pages; what it had is gone.
    pub(crate) fn share_beginning(&mut self, from: usize, to: usize, positions: usize) {
        if from == to {
            return;
        }
        self.clear(to);
        let p = self.places;
        debug_assert!(positions <= self.tables[from].ready);
        for index in 0..positions.div_ceil(p.page) {
            let page = self.tables[from].pages[index];
            self.users[page] += 1;
            self.tables[to].pages.push(page);
        }
        // What is behind them in the last page is ready, too, and is written over.
        self.tables[to].ready = self.tables[from]
            .ready
            .min(positions.next_multiple_of(p.page));
    }

    /// Gives back a sequence's pages.
    pub(crate) fn clear(&mut self, sequence: usize) {
        self.tables[sequence].ready = 0;
        while let Some(page) = self.tables[sequence].pages.pop() {
            self.give_back(page);
        }
    }

    /// Gives a sequence's keys and values of its first `positions`, which have been written, piece
    /// by piece.
    pub(crate) fn export(&self, sequence: usize, positions: usize, out: &mut dyn FnMut(&[u8])) {
        let table = &self.tables[sequence];
        debug_assert!(positions <= table.ready);
        for (keys, values) in self.places.pieces(table, positions) {
            out(self.keys.bytes(keys));
            out(self.values.bytes(values));
        }
    }

    /// Takes over what [`KvCache::export`] gave, for as many positions; what the sequence had is
    /// gone. `false`, and the sequence is empty, if it is not as long.
    pub(crate) fn import(&mut self, sequence: usize, positions: usize, mut bytes: &[u8]) -> bool {
        self.clear(sequence);
        self.reach(sequence, 0, positions);
        let table = &self.tables[sequence];
        let mut left = bytes.len();
        for (keys, values) in self.places.pieces(table, positions) {
            for (numbers, range) in [(&mut self.keys, keys), (&mut self.values, values)] {
                let len = numbers.bytes(range.clone()).len();
                if let Some((piece, rest)) = bytes.split_at_checked(len) {
                    numbers.write_bytes(range.start, piece);
                    bytes = rest;
                }
                left = left.wrapping_sub(len);
            }
        }
        if left != 0 {
            self.clear(sequence);
        }
        left == 0
    }

    /// Number of sequences that there is room for.
    pub(crate) fn sequences(&self) -> usize {
        self.tables.len()
    }

    /// Bytes that attention reads at position `pos`.
    pub(crate) fn bytes_at(&self, pos: usize) -> u64 {
        let p = &self.places;
        let rows = (pos + 1).next_multiple_of(PANEL) + pos + 1;
        p.kv.bytes((p.layers * p.kv_heads * p.head_dim) as u64 * rows as u64)
    }

    /// Prepares a sequence for a pass that writes positions `from` to `to`.
    pub(crate) fn prepare(&mut self, sequence: usize, from: usize, to: usize) {
        self.reach(sequence, from, to);
    }

    /// Shares the cache among workers.
    pub(crate) fn share(&mut self) -> SharedKvCache<'_> {
        // Safety: the positions that `KvSequence`'s functions may access exist, as its type
        // requires.
        unsafe {
            SharedKvCache {
                keys: self.keys.share(),
                values: self.values.share(),
                places: self.places,
                tables: &self.tables,
            }
        }
    }
}

/// Room for `len` elements.
fn room_for<T>(len: usize) -> Result<Vec<T>, OutOfMemory> {
    let mut list = Vec::new();
    let bytes = (len * size_of::<T>()) as u64;
    let room = list.try_reserve_exact(len);
    room.map_err(|_| OutOfMemory { bytes }).map(|()| list)
}

/// [`KvCache`] during a pass.
pub(crate) struct SharedKvCache<'a> {
    keys: SharedNumbers<'a>,
    values: SharedNumbers<'a>,
    places: CacheLayout,
    tables: &'a [PageTable],
}

impl SharedKvCache<'_> {
    /// Keys and values of a sequence.
    pub(crate) fn sequence(&self, sequence: usize) -> KvSequence<'_> {
        KvSequence {
            keys: &self.keys,
            values: &self.values,
            places: self.places,
            table: &self.tables[sequence],
        }
    }
}

/// A sequence's keys and values during a pass.
///
/// # Safety
/// The functions require the same as those of [`Shared`]: a position's numbers of a row are written
/// by one worker, and read by others only after the next barrier. Positions must be among those
/// passed to [`KvCache::prepare`].
pub(crate) struct KvSequence<'a> {
    keys: &'a SharedNumbers<'a>,
    values: &'a SharedNumbers<'a>,
    places: CacheLayout,
    table: &'a PageTable,
}

impl KvSequence<'_> {
    /// Stores the keys of position `pos`, starting at row `row` of all heads; blocks must be whole.
    ///
    /// # Safety
    /// As for the type.
    pub(crate) unsafe fn put_keys(
        &self,
        kernels: &Kernels,
        layer: usize,
        pos: usize,
        row: usize,
        keys: &[f32],
    ) {
        let p = &self.places;
        for (keys, row) in keys.chunks(BLOCK).zip((row..).step_by(BLOCK)) {
            let (mut head, mut inside) = (row / p.head_dim, row % p.head_dim);
            // Safety: as the caller says.
            unsafe {
                if let SharedNumbers::Q8_0(shared) = self.keys {
                    let block = Block::of(kernels, keys);
                    let (scale, values) =
                        q8_0::LAYOUT.places(p.head_dim, pos % PANEL, inside / BLOCK);
                    let panel = p.keys(self.table, layer, head, pos);
                    let scale = panel + scale;
                    shared.write(scale..scale + 2).copy_from_slice(&block.scale);
                    for (q, quad) in block.quants.chunks_exact(QUAD).enumerate() {
                        let place = panel + values + (q * PANEL + pos % PANEL) * QUAD;
                        shared.write(place..place + QUAD).copy_from_slice(quad);
                    }
                    continue;
                }
                let mut bits = [0; BLOCK];
                if let SharedNumbers::F16(_) = self.keys {
                    (kernels.to_f16)(keys, &mut bits[..keys.len()]);
                }
                let panel = p.keys(self.table, layer, head, pos);
                let mut place = panel + inside * PANEL + pos % PANEL;
                for i in 0..keys.len() {
                    match self.keys {
                        SharedNumbers::F32(shared) => shared.put(place, keys[i]),
                        SharedNumbers::F16(shared) => shared.put(place, bits[i]),
                        SharedNumbers::Q8_0(_) => (),
                    }
                    (inside, place) = (inside + 1, place + PANEL);
                    if inside == p.head_dim {
                        (head, inside) = (head + 1, 0);
                        place = p.keys(self.table, layer, head, pos) + pos % PANEL;
                    }
                }
            }
        }
    }

    /// Stores the values of position `pos`, starting at row `row` of all heads; blocks must be
    /// whole.
    ///
    /// # Safety
    /// As for the type.
    pub(crate) unsafe fn put_values(
        &self,
        kernels: &Kernels,
        layer: usize,
        pos: usize,
        row: usize,
        values: &[f32],
    ) {
        let p = &self.places;
        let (mut row, mut rest) = (row, values);
        while !rest.is_empty() {
            let (head, inside) = (row / p.head_dim, row % p.head_dim);
            let (part, behind) = rest.split_at(rest.len().min(p.head_dim - inside));
            let start = p.values(self.table, layer, head, pos);
            let at = start + inside;
            // Safety: as the caller says.
            unsafe {
                match self.values {
                    SharedNumbers::F32(shared) => {
                        shared.write(at..at + part.len()).copy_from_slice(part);
                    }
                    SharedNumbers::F16(shared) => {
                        (kernels.to_f16)(part, shared.write(at..at + part.len()));
                    }
                    SharedNumbers::Q8_0(shared) => {
                        let first = start + inside / BLOCK * q8_0::FILE_BLOCK;
                        let places = (first..).step_by(q8_0::FILE_BLOCK);
                        for (part, at) in part.chunks_exact(BLOCK).zip(places) {
                            let block = Block::of(kernels, part);
                            let place = shared.write(at..at + q8_0::FILE_BLOCK);
                            place[..2].copy_from_slice(&block.scale);
                            place[2..].copy_from_slice(&block.quants);
                        }
                    }
                }
            }
            (row, rest) = (row + part.len(), behind);
        }
    }

    /// Elements of the keys of positions `range`, whole panels of one page.
    fn keys_of(&self, layer: usize, head: usize, range: &Range<usize>) -> Range<usize> {
        let start = self.places.keys(self.table, layer, head, range.start);
        start..start + range.len() / PANEL * self.places.panel()
    }

    /// Elements of the values of positions `range` of one page, from the first of `columns` (whole
    /// blocks) to the last.
    fn values_of(
        &self,
        layer: usize,
        head: usize,
        range: &Range<usize>,
        columns: Range<usize>,
    ) -> Range<usize> {
        let p = &self.places;
        let start = p.values(self.table, layer, head, range.start);
        let last = start + (range.len() - 1) * p.row();
        // Of a row.
        let elements = |columns| columns * p.row() / p.head_dim;
        start + elements(columns.start)..last + elements(columns.end)
    }

    /// Multiplies each of the vectors `q` with a head's keys from position `begin` (the first of a
    /// panel) on, as many positions as fit into `scores`: whole panels for each vector. `room` must
    /// hold a piece for each vector.
    ///
    /// # Safety
    /// As for the type.
    #[allow(clippy::too_many_arguments)]
    pub(crate) unsafe fn scores(
        &self,
        kernels: &Kernels,
        layer: usize,
        head: usize,
        begin: usize,
        q: &Activations<'_>,
        scores: &mut [f32],
        room: &mut [f32],
    ) {
        let each = scores.len() / q.tokens;
        let end = begin + each;
        for part in self.places.parts(begin..end) {
            let range = self.keys_of(layer, head, &part);
            // Kernels write the results of several vectors one after another.
            let direct = q.tokens == 1 || part.len() == each;
            let at = part.start - begin;
            let out = if direct {
                &mut scores[at..at + part.len() * q.tokens]
            } else {
                &mut room[..part.len() * q.tokens]
            };
            // Safety: as the caller says.
            unsafe {
                match self.keys {
                    SharedNumbers::F32(keys) => (kernels.f32)(keys.read(range), q, out),
                    SharedNumbers::F16(keys) => (kernels.f16)(keys.read(range), q, out),
                    SharedNumbers::Q8_0(keys) => (kernels.q8_0)(keys.read(range), q, out),
                }
            }
            if !direct {
                let of_each = room.chunks_exact(part.len());
                for (scores, out) in scores.chunks_exact_mut(each).zip(of_each) {
                    scores[at..at + part.len()].copy_from_slice(out);
                }
            }
        }
    }

    /// Sums a head's values from position `begin` on, weighted, for each token of the weights, from
    /// column `column` on, the first of a block.
    ///
    /// # Safety
    /// As for the type.
    #[allow(clippy::too_many_arguments)]
    pub(crate) unsafe fn weigh(
        &self,
        kernels: &Kernels,
        layer: usize,
        head: usize,
        begin: usize,
        column: usize,
        weights: &AttentionWeights<'_>,
        out: &mut [f32],
    ) {
        let (width, end) = (weights.width, begin + weights.rows);
        out.fill(0.0);
        for part in self.places.parts(begin..end) {
            let range = self.values_of(layer, head, &part, column..column + width);
            let weights = &AttentionWeights {
                values: &weights.values[part.start - begin..],
                rows: part.len(),
                ..*weights
            };
            // Safety: as the caller says.
            unsafe {
                match self.values {
                    SharedNumbers::F32(rows) => {
                        (kernels.weighted_sum_f32)(rows.read(range), weights, out, width);
                    }
                    SharedNumbers::F16(rows) => {
                        (kernels.weighted_sum_f16)(rows.read(range), weights, out, width);
                    }
                    SharedNumbers::Q8_0(rows) => {
                        (kernels.weighted_sum_q8_0)(rows.read(range), weights, out, width);
                    }
                }
            }
        }
    }
}

/// A block of GGUF's Q8_0.
struct Block {
    /// f16, little-endian.
    scale: [u8; 2],
    quants: [u8; BLOCK],
}

impl Block {
    /// Quantises 32 numbers.
    fn of(kernels: &Kernels, values: &[f32]) -> Block {
        let (mut quants, mut scale) = ([0; BLOCK], [0.0]);
        let out = Quantized {
            quants: &mut quants,
            scales: &mut scale,
            sums: &mut [0],
            lower: &mut [0],
        };
        (kernels.quantize)(values, Rounding::Q8_0, out);
        Block {
            scale: F16::from_f32(scale[0]).to_le_bytes(),
            quants: quants.map(|quant| quant as u8),
        }
    }
}

#[cfg(test)]
mod tests {
    use llama2_testing::random::Random;

    use super::*;
    use crate::{
        config::Variant,
        kernels::{self, Features},
        quantized::QuantizedActivations,
    };

    const SHAPE: Config = Config {
        dim: 128,
        hidden_dim: 1,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        vocab_size: 1,
        seq_len: 300,
        shared_classifier: true,
        variant: Variant::LLAMA2C,
    };

    /// Attention outputs for `count` queries over positions `begin` to `end`, in all layers and
    /// heads.
    fn attended(cache: &mut KvCache, (begin, end): (usize, usize), count: usize) -> Vec<u32> {
        let kernels = kernels::best(Features::of_this_core());
        let (mut random, head_dim) = (Random(9), SHAPE.head_dim());
        let mut quants = QuantizedActivations::new(count, head_dim, Some(BLOCK)).unwrap();
        let panels = (end - begin).next_multiple_of(PANEL);
        let (mut scores, mut room) = (vec![0.0; count * panels], vec![0.0; count * PAGE]);
        let (shared, quants) = (cache.share(), quants.share());
        let shared = shared.sequence(0);
        let mut all = Vec::new();
        for (layer, head) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let q: Vec<f32> = (0..count * head_dim).map(|_| random.float()).collect();
            let mut out = vec![7.0; count * head_dim];
            // Safety: there are no other users, and `end` positions exist.
            unsafe {
                for (t, q) in q.chunks(head_dim).enumerate() {
                    quants.fill(kernels, Some(Rounding::Q8_0), t, q);
                }
                let q = Activations {
                    stride: head_dim,
                    ..quants.beside(0, count, head_dim, &q)
                };
                shared.scores(kernels, layer, head, begin, &q, &mut scores, &mut room);
                let weights = AttentionWeights {
                    values: &scores,
                    stride: panels,
                    tokens: count,
                    rows: end - begin,
                    row_stride: head_dim,
                    width: head_dim,
                };
                shared.weigh(kernels, layer, head, begin, 0, &weights, &mut out);
            }
            for scores in scores.chunks(panels) {
                all.extend(scores[..end - begin].iter().map(|x| x.to_bits()));
            }
            all.extend(out.iter().map(|x| x.to_bits()));
        }
        all
    }

    /// Cache with keys and values of the first `positions`, with its pages in arbitrary order.
    fn filled(kv: KvType, page: usize, positions: usize) -> KvCache {
        let kernels = kernels::best(Features::of_this_core());
        let mut cache = KvCache::in_pages(&SHAPE, kv, page, 1).unwrap();
        let (mut random, mut order) = (Random(4), Random(5));
        for free in (1..cache.free.len()).rev() {
            let other = order.next() as usize % (free + 1);
            cache.free.swap(free, other);
        }
        for pos in 0..positions {
            cache.prepare(0, pos, pos + 1);
            let shared = cache.share();
            let shared = shared.sequence(0);
            for layer in 0..SHAPE.n_layers {
                let row: Vec<f32> = (0..2 * SHAPE.kv_dim()).map(|_| random.float()).collect();
                let (keys, values) = row.split_at(SHAPE.kv_dim());
                // Safety: there are no other users.
                unsafe {
                    shared.put_keys(kernels, layer, pos, 0, keys);
                    shared.put_values(kernels, layer, pos, 0, values);
                }
            }
        }
        cache
    }

    #[test]
    fn pages_give_the_bits_of_rows_that_lie_one_after_the_other() {
        for kv in KvType::ALL {
            for end in [1, 16, 127, 128, 129, 200, 256, 257, 300] {
                let mut whole = filled(kv, 304, end);
                assert_eq!(whole.tables[0].pages, [0]);
                for page in [16, 48, 128] {
                    let mut cache = filled(kv, page, end);
                    assert_eq!(cache.tables[0].pages.len(), end.div_ceil(page));
                    for begin in [0, 16, 112, 128, 144, 240].into_iter().filter(|b| *b < end) {
                        let range = (begin, end);
                        for count in [1, 2, 5, 12] {
                            assert!(
                                attended(&mut whole, range, count)
                                    == attended(&mut cache, range, count),
                                "{kv:?}, pages of {page}, {range:?}, {count} queries"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn pages_are_taken_when_they_are_reached_and_kept() {
        let mut cache = KvCache::new(&SHAPE, KvType::F16, 1).unwrap();
        let held = |cache: &KvCache| {
            (
                cache.tables[0].pages.len(),
                cache.tables[0].ready,
                cache.free.len(),
            )
        };
        assert_eq!(held(&cache), (0, 0, 3));
        for (positions, want) in [
            (1, (1, 16, 2)),
            (128, (1, 128, 2)),
            (129, (2, 144, 1)),
            (5, (2, 144, 1)),
            (300, (3, 304, 0)),
            (300, (3, 304, 0)),
        ] {
            cache.prepare(0, 0, positions);
            assert_eq!(held(&cache), want, "{positions}");
        }
        for (seq_len, pages, each) in [(1, 1, 16), (100, 1, 112), (128, 1, 128), (129, 2, 128)] {
            let shape = Config { seq_len, ..SHAPE };
            let cache = KvCache::new(&shape, KvType::F32, 1).unwrap();
            assert_eq!((cache.free.len(), cache.places.page), (pages, each));
            let (Numbers::F32(keys), Numbers::F32(values)) = (&cache.keys, &cache.values) else {
                panic!("not in single precision");
            };
            let bytes = 4 * (keys.len() + values.len()) + 20 * pages;
            assert_eq!(kv_cache_bytes(&shape, KvType::F32), bytes as u64);
        }
    }

    /// Sequences that share pages in any order of sharing, writing and forgetting: what each holds
    /// is what it wrote or took over, and no page is lost.
    #[test]
    fn shared_pages_are_copied_before_they_are_written_to() {
        const COUNT: usize = 3;
        let kernels = kernels::best(Features::of_this_core());
        let shape = Config {
            seq_len: 100,
            ..SHAPE
        };
        let mut cache = KvCache::in_pages(&shape, KvType::F32, 32, COUNT).unwrap();
        let mut random = Random(21);
        // What each position holds: a number for all of it.
        let mut held: [Vec<f32>; COUNT] = Default::default();
        for round in 0..600 {
            let (one, other) = (
                random.next() as usize % COUNT,
                random.next() as usize % COUNT,
            );
            match random.next() % 8 {
                0 => {
                    cache.clear(one);
                    held[one].clear();
                }
                1 | 2 if one != other => {
                    let most = random.next() as usize % (held[one].len() + 1);
                    cache.share_beginning(one, other, most);
                    held[other] = held[one][..most].to_vec();
                }
                _ => {
                    // Behind what there is, or from an earlier position on.
                    let from = match random.next() % 3 {
                        0 => random.next() as usize % (held[one].len() + 1),
                        _ => held[one].len(),
                    };
                    let to = (from + 1 + random.next() as usize % 40).min(shape.seq_len);
                    held[one].truncate(from);
                    cache.prepare(one, from, to);
                    let shared = cache.share();
                    let shared = shared.sequence(one);
                    for pos in from..to {
                        let number = (round * 1000 + pos) as f32;
                        let row = vec![number; shape.kv_dim()];
                        held[one].push(number);
                        for layer in 0..shape.n_layers {
                            // Safety: there are no other users.
                            unsafe {
                                shared.put_keys(kernels, layer, pos, 0, &row);
                                shared.put_values(kernels, layer, pos, 0, &row);
                            }
                        }
                    }
                }
            }
            let used: usize = cache.users.iter().filter(|users| **users > 0).count();
            assert_eq!(used + cache.free.len(), cache.users.len());
            let p = cache.places;
            let (Numbers::F32(keys), Numbers::F32(values)) = (&mut cache.keys, &mut cache.values)
            else {
                panic!("not in single precision");
            };
            for (table, held) in cache.tables.iter().zip(&held) {
                for (pos, number) in held.iter().enumerate() {
                    for (layer, head) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                        let key = p.keys(table, layer, head, pos) + pos % PANEL;
                        let value = p.values(table, layer, head, pos);
                        // Safety: both were written.
                        let found = unsafe {
                            [
                                keys.start().add(key).read(),
                                values.start().add(value).read(),
                            ]
                        };
                        assert_eq!(found, [*number; 2], "round {round}, position {pos}");
                    }
                }
            }
        }
    }
}
