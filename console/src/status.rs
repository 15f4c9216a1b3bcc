//! Status line during a reply, and summary line after it.

use alloc::{
    format,
    string::{String, ToString},
};

use crate::width;

/// Phase of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The prompt is processed.
    Prefill {
        /// Tokens processed so far.
        done: usize,
        /// Tokens of the prompt.
        total: usize,
    },
    /// Hidden reasoning is generated.
    Thinking {
        /// Tokens generated so far.
        tokens: usize,
    },
    /// The reply is generated.
    Decode {
        /// Tokens generated so far.
        tokens: usize,
    },
}

/// Progress of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Current phase.
    pub phase: Phase,
    /// Duration of this phase, in microseconds.
    pub microseconds: u64,
    /// Positions of the context in use, and all.
    pub context: (usize, usize),
}

/// Width of the progress bar, in columns.
const BAR: usize = 20;

impl Status {
    /// Formats the line, shorter than `width` columns; less important parts are left out first.
    pub fn line(&self, width: usize) -> String {
        let (used, all) = self.context;
        let context = format!("context {used} / {all}");
        match self.phase {
            Phase::Prefill { done, total } => {
                let rate = rate(done, self.microseconds);
                let tokens = format!("{done} / {total} tokens");
                let full = (done.min(total) as u128 * BAR as u128)
                    .checked_div(total as u128)
                    .map_or(BAR, |full| full as usize);
                let bar = format!("[{}{}]", "#".repeat(full), ".".repeat(BAR - full));
                fitting(
                    &["reading", &bar, &tokens, &rate, &context],
                    &[4, 1, 3],
                    width,
                )
            }
            Phase::Thinking { tokens } => self.made("thinking", tokens, &context, width),
            Phase::Decode { tokens } => self.made("writing", tokens, &context, width),
        }
    }

    fn made(&self, what: &str, tokens: usize, context: &str, width: usize) -> String {
        let rate = rate(tokens, self.microseconds);
        fitting(&[what, &count(tokens), &rate, context], &[3, 2], width)
    }
}

/// Reason for the end of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The model ended it, or a stop string was found.
    Own,
    /// The user stopped it with a key.
    Stopped,
    /// The limit of `/max` was reached.
    Limit,
    /// The context is full.
    Full,
    /// Endless repetition.
    Repeats,
}

/// Statistics of a finished reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Tokens of the reply, including reasoning, and microseconds from the first to the last.
    pub decode: (usize, u64),
    /// Microseconds from the question to the first token.
    pub first: u64,
    /// Positions of the context in use, and all.
    pub context: (usize, usize),
    /// Reason for the end.
    pub end: End,
}

impl Summary {
    /// Formats the line, shorter than `width` columns.
    pub fn line(&self, width: usize) -> String {
        let (tokens, microseconds) = self.decode;
        // Between the first and the last there is one fewer.
        let speed = rate(tokens.saturating_sub(1), microseconds);
        let first = format!("first after {}", seconds(self.first));
        let (used, all) = self.context;
        let mut context = format!("context {used} / {all}");
        let end = match self.end {
            End::Own => "",
            End::Stopped => "stopped",
            End::Limit => "cut at /max",
            End::Repeats => "repeats itself",
            End::Full => {
                context.clear();
                "context full"
            }
        };
        fitting(
            &[&count(tokens), &speed, &first, end, &context],
            &[4, 2],
            width,
        )
    }
}

/// Joins the parts that are not empty. Those of `expendable` are removed, in their order, until the
/// line is shorter than `width`; then it is cut.
fn fitting(parts: &[&str], expendable: &[usize], width: usize) -> String {
    for gone in 0..=expendable.len() {
        let mut line = String::new();
        for (i, part) in parts.iter().enumerate() {
            if part.is_empty() || expendable[..gone].contains(&i) {
                continue;
            }
            if !line.is_empty() {
                // A bar is no part of a list.
                line.push_str(if line.ends_with(']') || part.starts_with('[') {
                    " "
                } else {
                    ", "
                });
            }
            line.push_str(part);
        }
        if width::text(&line) < width {
            return line;
        }
        if gone == expendable.len() {
            return width::cut(&line, width.saturating_sub(1)).to_string();
        }
    }
    String::new()
}

fn count(tokens: usize) -> String {
    match tokens {
        1 => "1 token".to_string(),
        _ => format!("{tokens} tokens"),
    }
}

/// Tokens per second; empty if it is not known yet.
fn rate(tokens: usize, microseconds: u64) -> String {
    if tokens == 0 || microseconds == 0 {
        return String::new();
    }
    let rate = tokens as f64 * 1e6 / microseconds as f64;
    match rate {
        ..10.0 => format!("{rate:.2} tok/s"),
        10.0..1000.0 => format!("{rate:.1} tok/s"),
        _ => format!("{rate:.0} tok/s"),
    }
}

/// A time in words.
pub fn seconds(microseconds: u64) -> String {
    match microseconds {
        ..1_000_000 => format!("{} ms", microseconds / 1000),
        1_000_000..100_000_000 => format!("{:.1} s", microseconds as f64 / 1e6),
        _ => format!(
            "{} min {} s",
            microseconds / 60_000_000,
            microseconds / 1_000_000 % 60
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_it_works() {
        let mut status = Status {
            phase: Phase::Prefill {
                done: 512,
                total: 1024,
            },
            microseconds: 2_000_000,
            context: (600, 32_768),
        };
        assert_eq!(
            status.line(100),
            "reading [##########..........] 512 / 1024 tokens, 256.0 tok/s, context 600 / 32768"
        );
        assert_eq!(
            status.line(64),
            "reading [##########..........] 512 / 1024 tokens, 256.0 tok/s"
        );
        assert_eq!(status.line(36), "reading, 512 / 1024 tokens");
        status.phase = Phase::Decode { tokens: 1 };
        assert_eq!(
            status.line(80),
            "writing, 1 token, 0.50 tok/s, context 600 / 32768"
        );
        status.phase = Phase::Thinking { tokens: 0 };
        assert_eq!(status.line(80), "thinking, 0 tokens, context 600 / 32768");
        status.phase = Phase::Prefill { done: 0, total: 0 };
        assert_eq!(
            status.line(45),
            "reading [####################] 0 / 0 tokens"
        );
    }

    #[test]
    fn when_it_is_done() {
        let summary = Summary {
            decode: (129, 4_000_000),
            first: 250_000,
            context: (153, 2048),
            end: End::Own,
        };
        assert_eq!(
            summary.line(80),
            "129 tokens, 32.0 tok/s, first after 250 ms, context 153 / 2048"
        );
        assert_eq!(
            summary.line(45),
            "129 tokens, 32.0 tok/s, first after 250 ms"
        );
        let full = Summary {
            end: End::Full,
            context: (2048, 2048),
            ..summary
        };
        let line = full.line(120);
        assert_eq!(line.matches("context").count(), 1, "{line}");
        let stopped = Summary {
            end: End::Stopped,
            decode: (0, 0),
            first: 75_000_000,
            ..summary
        };
        assert_eq!(stopped.line(40), "0 tokens, first after 75.0 s, stopped");
    }

    #[test]
    fn every_width() {
        for number in [0, 1, 999, 1000, usize::MAX] {
            for width in 0..120 {
                for end in [End::Own, End::Full, End::Limit, End::Repeats] {
                    let summary = Summary {
                        decode: (number, number as u64),
                        first: number as u64,
                        context: (number, number),
                        end,
                    };
                    assert!(width::text(&summary.line(width)) < width.max(1));
                }
                for phase in [
                    Phase::Prefill {
                        done: number,
                        total: number / 2,
                    },
                    Phase::Thinking { tokens: number },
                ] {
                    let status = Status {
                        phase,
                        microseconds: number as u64,
                        context: (number, number),
                    };
                    assert!(width::text(&status.line(width)) < width.max(1));
                }
            }
        }
        assert_eq!(seconds(600_500_000), "10 min 0 s");
        assert_eq!(rate(123_456, 1_000_000), "123456 tok/s");
    }
}
