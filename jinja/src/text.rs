//! Strings that know, byte for byte, where they come from.

use alloc::{string::String, vec::Vec};
use core::ops::Range;

use crate::{
    error::Error,
    limits::{Budget, OVERHEAD},
};

/// Origin of words. Numbers other than 0 are the caller's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Source(pub u32);

impl Source {
    /// The template's own words.
    pub const TEMPLATE: Source = Source(0);
}

/// A string of runs, each from one source. Whatever a template makes of strings, each byte keeps
/// the source of the one that it was made from.
#[derive(Clone, Debug, Default)]
pub struct Text {
    text: String,
    /// Ends of runs, in bytes, and their sources; what is behind the last is the template's.
    runs: Vec<(usize, Source)>,
    /// True for what the filters `safe` and `escape` return (Python's `Markup`): where it is added
    /// to other strings, those are escaped.
    pub(crate) is_markup: bool,
}

impl Text {
    /// A string from one source.
    pub(crate) fn new(text: &str, source: Source) -> Text {
        let mut new = Text::default();
        new.add(text, source);
        new
    }

    /// The whole string.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The runs from first to last, none of them empty; neighbours have different sources.
    pub fn runs(&self) -> impl Iterator<Item = (Source, &str)> {
        self.pieces(0..self.text.len())
    }

    /// The runs in a range of bytes.
    pub(crate) fn pieces(&self, range: Range<usize>) -> impl Iterator<Item = (Source, &str)> {
        let first = self.runs.partition_point(|(end, _)| *end <= range.start);
        let rest = (self.text.len(), Source::TEMPLATE);
        let runs = self.runs[first..].iter().copied().chain([rest]);
        let mut start = range.start;
        runs.map_while(move |(end, source)| {
            let end = end.min(range.end);
            let piece = (start < end).then(|| (source, &self.text[start..end]));
            start = end;
            piece
        })
    }

    /// The characters with their sources.
    pub(crate) fn chars(&self) -> impl Iterator<Item = (Source, char)> {
        self.runs()
            .flat_map(|(source, run)| run.chars().map(move |c| (source, c)))
    }

    /// Appends a string from one source.
    pub(crate) fn push_str(
        &mut self,
        text: &str,
        source: Source,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        budget.work(1)?;
        budget.bytes(text.len())?;
        self.add(text, source);
        Ok(())
    }

    /// Appends a string `count` times.
    pub(crate) fn push_times(
        &mut self,
        text: &Text,
        count: usize,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        budget.work(count)?;
        budget.bytes(text.text.len().saturating_mul(count))?;
        for _ in 0..count {
            text.runs().for_each(|(source, run)| self.add(run, source));
        }
        Ok(())
    }

    /// Appends a character `count` times.
    pub(crate) fn push_char(
        &mut self,
        c: char,
        source: Source,
        count: usize,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        let text = Text::new(c.encode_utf8(&mut [0; 4]), source);
        self.push_times(&text, count, budget)
    }

    /// Appends a string.
    pub(crate) fn push(&mut self, text: &Text, budget: &mut Budget) -> Result<(), Error> {
        self.push_part(text, 0..text.text.len(), budget)
    }

    /// Appends a range of a string's bytes.
    pub(crate) fn push_part(
        &mut self,
        text: &Text,
        range: Range<usize>,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        budget.work(1)?;
        budget.bytes(range.len())?;
        for (source, piece) in text.pieces(range) {
            self.add(piece, source);
        }
        Ok(())
    }

    /// Copies a range of its bytes.
    pub(crate) fn part(&self, range: Range<usize>, budget: &mut Budget) -> Result<Text, Error> {
        budget.bytes(OVERHEAD)?;
        let mut part = Text::default();
        part.push_part(self, range, budget)?;
        part.is_markup = self.is_markup;
        Ok(part)
    }

    /// Number of characters.
    pub(crate) fn length(&self, budget: &mut Budget) -> Result<usize, Error> {
        budget.scan(self.text.len())?;
        Ok(self.text.chars().count())
    }

    /// Bytes of the characters from the one with a number to before the one with another, both at
    /// most the length.
    pub(crate) fn range_of_chars(
        &self,
        start: usize,
        end: usize,
        budget: &mut Budget,
    ) -> Result<Range<usize>, Error> {
        budget.scan(self.text.len())?;
        let mut starts = self.text.char_indices().map(|(at, _)| at);
        let first = starts.nth(start).unwrap_or(self.text.len());
        let last = match end.checked_sub(start + 1) {
            None => Some(first),
            Some(more) => starts.nth(more),
        };
        Ok(first..last.unwrap_or(self.text.len()).max(first))
    }

    fn add(&mut self, text: &str, source: Source) {
        let start = self.text.len();
        let known = self.runs.last().map_or(0, |(end, _)| *end);
        self.text.push_str(text);
        let end = self.text.len();
        if source == Source::TEMPLATE || start == end {
            return;
        }
        if known < start {
            self.runs.push((start, Source::TEMPLATE));
        }
        match self.runs.last_mut() {
            Some(last) if last.1 == source => last.0 = end,
            _ => self.runs.push((end, source)),
        }
    }
}

/// Python's `str.isspace` of a character.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}
