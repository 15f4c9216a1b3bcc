//! From a template's source to tokens. Blocks are trimmed as transformers has Jinja2 do it: a line
//! feed after a block is dropped (`trim_blocks`), so are spaces before it at the beginning of a
//! line (`lstrip_blocks`) and one line feed at the end of the template.

use alloc::{borrow::Cow, format, string::String, vec::Vec};
use core::str::Chars;

use crate::{error::Error, text::is_space};

/// A word of a template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token<'s> {
    /// Text outside of all tags.
    Data(&'s str),
    /// `{{`
    VariableBegin,
    /// `}}`
    VariableEnd,
    /// `{%`
    BlockBegin,
    /// `%}`
    BlockEnd,
    Name(&'s str),
    /// Literal string, without its quotation marks.
    Text(String),
    Int(i64),
    Float(f64),
    /// Operator, bracket or comma.
    Symbol(&'s str),
    /// The end of the template.
    End,
}

/// Makes line ends Unix's, and drops the last.
pub(crate) fn normalize(source: &str) -> Cow<'_, str> {
    let strip = |source: &str| source.strip_suffix('\n').unwrap_or(source).len();
    if !source.contains('\r') {
        return Cow::Borrowed(&source[..strip(source)]);
    }
    let mut source = source.replace("\r\n", "\n").replace('\r', "\n");
    source.truncate(strip(&source));
    Cow::Owned(source)
}

/// Reads one token after the other.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'s> {
    source: &'s str,
    /// Bytes that have been read.
    at: usize,
    /// Line of the byte to be read next.
    line: u32,
    /// End of the tag that we are in.
    tag_end: Option<&'static str>,
    /// Closing brackets for those that are open: within them, nothing ends a tag.
    brackets: Vec<char>,
    /// A token that was read with the last one.
    pending: Option<Token<'s>>,
}

impl<'s> Lexer<'s> {
    pub fn new(source: &'s str) -> Lexer<'s> {
        Lexer {
            source,
            at: 0,
            line: 1,
            tag_end: None,
            brackets: Vec::new(),
            pending: None,
        }
    }

    /// Reads a token, and the line that it is on.
    pub fn read(&mut self) -> Result<(Token<'s>, u32), Error> {
        if let Some(token) = self.pending.take() {
            return Ok((token, self.line));
        }
        match self.tag_end {
            Some(end) => self.in_tag(end),
            None => self.outside(),
        }
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    /// Goes on by so many bytes and returns them.
    fn skip(&mut self, bytes: usize) -> &'s str {
        let skipped = &self.rest()[..bytes];
        self.line += skipped.matches('\n').count() as u32;
        self.at += bytes;
        skipped
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.skip(rest.len() - rest.trim_start_matches(is_space).len());
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, Error> {
        let (line, message) = (self.line, message.into());
        Err(Error::Syntax { line, message })
    }

    /// Reads up to the next tag and into it.
    fn outside(&mut self) -> Result<(Token<'s>, u32), Error> {
        loop {
            let line = self.line;
            let rest = self.rest();
            let tags = rest.match_indices('{');
            let tag = tags.map(|(at, _)| at).find(|at| {
                let kind = rest.as_bytes().get(at + 1);
                kind.is_some_and(|kind| b"{%#".contains(kind))
            });
            let Some(tag) = tag else {
                let text = self.skip(rest.len());
                let is_end = text.is_empty();
                return Ok((
                    if is_end {
                        Token::End
                    } else {
                        Token::Data(text)
                    },
                    line,
                ));
            };
            let text = self.before_tag(tag);
            match &rest[tag..tag + 2] {
                "{{" => {
                    self.tag_end = Some("}}");
                    self.pending = Some(Token::VariableBegin);
                }
                "{#" => self.comment()?,
                _ => match self.raw()? {
                    Some(raw) => self.pending = Some(Token::Data(raw)),
                    None => {
                        self.tag_end = Some("%}");
                        self.pending = Some(Token::BlockBegin);
                    }
                },
            }
            if !text.is_empty() {
                return Ok((Token::Data(text), line));
            }
            if let Some(token) = self.pending.take() {
                return Ok((token, self.line));
            }
        }
    }

    /// Reads the text before a tag, `tag` bytes from here, and the tag's first characters. Returns
    /// the text as the tag leaves it.
    fn before_tag(&mut self, tag: usize) -> &'s str {
        let is_line_start = self.at == 0 || self.source[..self.at].ends_with('\n');
        let text = self.skip(tag);
        let is_variable = self.skip(2) == "{{";
        let sign = self.rest().chars().next();
        self.skip(usize::from(matches!(sign, Some('-' | '+'))));
        if sign == Some('-') {
            return text.trim_end_matches(is_space);
        }
        let line = text.rfind('\n').map_or(0, |at| at + 1);
        let is_alone = (line > 0 || is_line_start) && text[line..].chars().all(is_space);
        match is_alone && !is_variable && sign != Some('+') {
            true => &text[..line],
            false => text,
        }
    }

    /// Reads the end of a block or comment, if it is next.
    fn block_end(&mut self, end: &str) -> bool {
        let rest = self.rest();
        let sign = rest.chars().next().filter(|c| ['-', '+'].contains(c));
        let signs = usize::from(sign.is_some());
        if !rest[signs..].starts_with(end) || sign == Some('+') && end == "}}" {
            return false;
        }
        self.skip(signs + end.len());
        if sign == Some('-') {
            self.skip_spaces();
        } else if sign.is_none() && end != "}}" && self.rest().starts_with('\n') {
            self.skip(1);
        }
        true
    }

    /// Skips a comment.
    fn comment(&mut self) -> Result<(), Error> {
        let Some(end) = self.rest().find("#}") else {
            return self.fail("a comment has no end");
        };
        let has_sign = end > 0 && self.rest()[..end].ends_with(['-', '+']);
        self.skip(end - usize::from(has_sign));
        self.block_end("#}");
        Ok(())
    }

    /// Reads what stands between `raw` and `endraw`, if the block just begun is that.
    fn raw(&mut self) -> Result<Option<&'s str>, Error> {
        let start = self.clone();
        self.skip_spaces();
        if !self.rest().starts_with("raw") {
            *self = start;
            return Ok(None);
        }
        self.skip(3);
        self.skip_spaces();
        let is_end = self.rest().starts_with("%}") || self.rest().starts_with("-%}");
        if !is_end {
            *self = start;
            return Ok(None);
        }
        if self.rest().starts_with('-') {
            self.skip(3);
            self.skip_spaces();
        } else {
            self.skip(2);
        }
        let inside = self.rest();
        let is_end = |tag: usize| {
            let rest = inside[tag + 2..].trim_start_matches(['-', '+']);
            let rest = rest.trim_start_matches(is_space).strip_prefix("endraw");
            let rest = rest.map(|rest| rest.trim_start_matches(is_space));
            rest.is_some_and(|rest| rest.trim_start_matches(['-', '+']).starts_with("%}"))
        };
        let mut tags = inside.match_indices("{%").map(|(tag, _)| tag);
        let Some(tag) = tags.find(|tag| is_end(*tag)) else {
            return self.fail("'raw' has no 'endraw'");
        };
        let text = self.before_tag(tag);
        let end = self.rest().find('%').unwrap_or(0);
        self.skip(end - usize::from(self.rest()[..end].ends_with(['-', '+'])));
        self.block_end("%}");
        Ok(Some(text))
    }

    /// Reads a token of an expression, or the end of the tag.
    fn in_tag(&mut self, end: &'static str) -> Result<(Token<'s>, u32), Error> {
        self.skip_spaces();
        let line = self.line;
        if self.brackets.is_empty() && self.block_end(end) {
            self.tag_end = None;
            let is_variable = end == "}}";
            let token = if is_variable {
                Token::VariableEnd
            } else {
                Token::BlockEnd
            };
            return Ok((token, line));
        }
        let rest = self.rest();
        let token = match rest.chars().next() {
            None => Token::End,
            Some('0'..='9') => self.number()?,
            Some(quote @ ('"' | '\'')) => self.text(quote)?,
            Some(c) if c == '_' || c.is_alphabetic() => {
                let is_word = |c: char| c == '_' || c.is_alphanumeric();
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                Token::Name(self.skip(length))
            }
            Some(_) => self.symbol()?,
        };
        Ok((token, line))
    }

    fn symbol(&mut self) -> Result<Token<'s>, Error> {
        let rest = self.rest();
        let two = ["//", "**", "==", "!=", ">=", "<="];
        let length = match rest.chars().next() {
            _ if two.iter().any(|symbol| rest.starts_with(symbol)) => 2,
            Some(c) if "+-/*%~[](){}<>=.:|,;".contains(c) => 1,
            c => return self.fail(format!("unexpected character {:?}", c.unwrap_or_default())),
        };
        let symbol = self.skip(length);
        match symbol {
            "(" => self.brackets.push(')'),
            "[" => self.brackets.push(']'),
            "{" => self.brackets.push('}'),
            ")" | "]" | "}" => match self.brackets.pop() {
                Some(open) if symbol.starts_with(open) => (),
                Some(open) => {
                    return self.fail(format!("unexpected '{symbol}', expected '{open}'"));
                }
                None => return self.fail(format!("unexpected '{symbol}'")),
            },
            _ => (),
        }
        Ok(Token::Symbol(symbol))
    }

    fn number(&mut self) -> Result<Token<'s>, Error> {
        let rest = self.rest();
        let digits = |from: usize, radix: u32| {
            let is_digit = |c: char| c == '_' || c.is_digit(radix);
            let rest = rest.get(from..).unwrap_or_default();
            from + rest.find(|c| !is_digit(c)).unwrap_or(rest.len())
        };
        let radix = match rest.get(..2).unwrap_or_default() {
            "0x" | "0X" => 16,
            "0o" | "0O" => 8,
            "0b" | "0B" => 2,
            _ => 10,
        };
        if radix != 10 {
            let word = self.skip(digits(2, radix));
            return match i64::from_str_radix(&word[2..].replace('_', ""), radix) {
                Ok(number) => Ok(Token::Int(number)),
                Err(_) => self.fail(format!("{word} is not a number of 64 bits")),
            };
        }
        let whole = digits(0, 10);
        let is_digit = |at: usize| rest[at..].starts_with(|c: char| c.is_ascii_digit());
        let mut end = whole;
        // In `list.0.1`, there are no fractions.
        if !self.source[..self.at].ends_with('.') {
            if rest[end..].starts_with('.') && is_digit(end + 1) {
                end = digits(end + 1, 10);
            }
            if rest[end..].starts_with(['e', 'E']) {
                let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
                if is_digit(end + 1 + sign) {
                    end = digits(end + 1 + sign, 10);
                }
            }
        }
        let word = self.skip(end).replace('_', "");
        let number = match end > whole {
            true => word.parse().map(Token::Float).ok(),
            false => word.parse().map(Token::Int).ok(),
        };
        match number {
            Some(number) => Ok(number),
            None => self.fail(format!("{word} is not a number of 64 bits")),
        }
    }

    /// Reads a string between quotation marks.
    fn text(&mut self, quote: char) -> Result<Token<'s>, Error> {
        let mut text = String::new();
        let mut chars = self.rest().chars();
        chars.next();
        while let Some(c) = chars.next() {
            if c == quote {
                self.skip(self.rest().len() - chars.as_str().len());
                return Ok(Token::Text(text));
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            let mut escape = chars.clone();
            let c = match escape.next() {
                Some('\n') => {
                    chars = escape;
                    continue;
                }
                Some('n') => Some('\n'),
                Some('t') => Some('\t'),
                Some('r') => Some('\r'),
                Some('a') => Some('\x07'),
                Some('b') => Some('\x08'),
                Some('f') => Some('\x0c'),
                Some('v') => Some('\x0b'),
                Some(c @ ('\\' | '\'' | '"')) => Some(c),
                Some('x') => code(&mut escape, 16, 2, 2),
                Some('u') => code(&mut escape, 16, 4, 4),
                Some('U') => code(&mut escape, 16, 8, 8),
                Some('0'..='7') => {
                    escape = chars.clone();
                    code(&mut escape, 8, 1, 3)
                }
                Some('N') => None,
                // Others are no escapes: the backslash is one.
                _ => {
                    escape = chars.clone();
                    Some('\\')
                }
            };
            chars = escape;
            match c {
                Some(c) => text.push(c),
                None => return self.fail("an escape in a string stands for no character"),
            }
        }
        self.fail("a string has no end")
    }
}

/// Reads a character's number, of so many digits.
fn code(chars: &mut Chars<'_>, radix: u32, least: usize, most: usize) -> Option<char> {
    let mut code = 0_u32;
    for count in 0..most {
        let mut ahead = chars.clone();
        match ahead.next().and_then(|c| c.to_digit(radix)) {
            Some(digit) => code = code.checked_mul(radix)?.checked_add(digit)?,
            None if count < least => return None,
            None => break,
        }
        *chars = ahead;
    }
    char::from_u32(code)
}
