//! Events of a sequence, in the order in which they happen: its prompt is read, tokens become
//! reasoning and text, and it ends for a reason.

/// Reason why a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The model gave a token that ends texts or turns.
    EndToken,
    /// A stop string came. It is not part of the text.
    StopString,
    /// As many tokens as were allowed.
    Limit,
    /// The context is full.
    ContextFull,
    /// The answer repeats the same tokens without end (`repetition.rs`).
    Repeats,
    /// Logits that are NaN or infinite: no token can be chosen by them. The weights are damaged, or
    /// lead out of single precision.
    NotNumbers,
}

/// Tokens of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tokens<'a> {
    /// Ids in the vocabulary; none for a prompt's text.
    pub ids: &'a [u32],
    /// Natural logarithm of each one's probability, before any sampler changed it. Empty unless
    /// asked for.
    pub logprobs: &'a [f32],
    /// The most likely tokens at each one's place with their logarithms, the most likely first: as
    /// many for each as were asked for.
    pub top: &'a [(u32, f32)],
}

/// Event of a sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    /// So many tokens of the prompt have been read, of all that were to be.
    PromptRead {
        /// Tokens read.
        done: usize,
        /// Tokens in all; those that the KV cache already held are not counted.
        total: usize,
    },
    /// Text that the model thinks before it answers.
    Reasoning {
        /// Whole characters.
        text: &'a str,
        /// Tokens that end in it.
        tokens: Tokens<'a>,
    },
    /// Text of the answer or story.
    Text {
        /// Whole characters, without stop strings; of a story the prompt as well.
        text: &'a str,
        /// Tokens that end in it.
        tokens: Tokens<'a>,
    },
    /// Nothing follows.
    End(EndReason),
}
