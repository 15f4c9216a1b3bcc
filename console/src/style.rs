//! Styles of text: what a piece of it is, from which each output makes what it looks like.

/// Kind of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Name of the program; heading of an answer.
    Title,
    /// Message of the program.
    Info,
    /// Label of a value that follows.
    Name,
    /// Warning.
    Warning,
    /// Error message.
    Error,
    /// Message of the user.
    User,
    /// Reasoning of the model.
    Thought,
    /// Text of the model, shown as it is.
    Answer,
    /// Answer in Markdown, which a front lays out ([`crate::markdown`]) in the styles above and the
    /// five below.
    Markdown,
    /// Strong emphasis.
    Strong,
    /// Emphasis.
    Emphasis,
    /// Code within a sentence.
    Code,
    /// Code on lines of its own.
    Listing,
    /// Marks and rules, and addresses of links.
    Faint,
    /// Prompt of the input line.
    Prompt,
    /// Text typed at it.
    Typed,
    /// Statistics of a reply.
    Summary,
}
