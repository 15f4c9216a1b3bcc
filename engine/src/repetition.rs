//! Answers that repeat themselves: small models, and greedy ones, may go round in circles until
//! their context is full.
//!
//! An answer repeats itself if it ends in the same tokens again and again: a period of at most
//! [`PERIOD`] tokens, [`PERIODS`] times and over at least [`TOKENS`] tokens, without any deviation.
//! Of a period of more than [`SHORT`] tokens, whole paragraphs, fewer are enough: as many tokens as
//! that of one of [`SHORT`] takes, but at least [`PERIODS_OF_LONG`] of them. Poems with a refrain,
//! lists that count, tables and code differ somewhere in so much text. What may not is made of few
//! different tokens, such as a matrix of zeros or the rows of an empty form: for those the limits
//! are higher.

/// Longest period, in tokens.
const PERIOD: usize = 256;
const SHORT: usize = 64;
/// Least number of periods, and of tokens in them.
const PERIODS: usize = 16;
const TOKENS: usize = 256;
/// Least number of periods of more than [`SHORT`] tokens.
const PERIODS_OF_LONG: usize = 8;
/// Both numbers for a period of at most [`FEW`] different tokens.
const PERIODS_OF_FEW: usize = 32;
const TOKENS_OF_FEW: usize = 768;
const FEW: usize = 8;

/// Observer of an answer, token by token.
pub(crate) struct Repetition {
    /// For each period, from 1 on: how many tokens at the end equal the one a period before.
    runs: [u32; PERIOD],
}

impl Repetition {
    pub(crate) const fn new() -> Repetition {
        Repetition { runs: [0; PERIOD] }
    }

    /// Forgets the answer: another begins.
    pub(crate) fn restart(&mut self) {
        *self = Repetition::new();
    }

    /// Takes the last token of `answer`, which is one longer than at the last call. Returns true if
    /// the answer repeats itself. Allocates nothing.
    pub(crate) fn follows(&mut self, answer: &[u32]) -> bool {
        let Some((last, before)) = answer.split_last() else {
            return false;
        };
        let mut repeats = false;
        let earlier = before.iter().rev();
        for ((period, run), token) in (1..).zip(&mut self.runs).zip(earlier) {
            *run = if token == last { *run + 1 } else { 0 };
            let len = *run as usize + period;
            if len >= least(period) && !repeats {
                let enough = || len >= TOKENS_OF_FEW.max(PERIODS_OF_FEW * period);
                repeats = enough() || !is_of_few(&answer[answer.len() - period..]);
            }
        }
        repeats
    }
}

/// Tokens that make a repetition with this period.
fn least(period: usize) -> usize {
    let paragraphs = PERIODS_OF_LONG * period;
    TOKENS.max(PERIODS * period.min(SHORT)).max(paragraphs)
}

/// Tells whether there are at most [`FEW`] different tokens.
fn is_of_few(tokens: &[u32]) -> bool {
    let is_new = |(i, token): &(usize, &u32)| !tokens[..*i].contains(token);
    tokens.iter().enumerate().filter(is_new).count() <= FEW
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// Length at which a text is ended, if it is.
    fn ended(tokens: impl IntoIterator<Item = u32>) -> Option<usize> {
        let mut repetition = Repetition::new();
        let mut answer = Vec::new();
        tokens.into_iter().find_map(|token| {
            answer.push(token);
            repetition.follows(&answer).then_some(answer.len())
        })
    }

    fn cycle(period: u32, len: usize) -> impl Iterator<Item = u32> {
        (0..period).cycle().take(len)
    }

    #[test]
    fn what_goes_round_in_circles_is_ended() {
        for period in 9..=PERIOD as u32 {
            let least = match period as usize {
                0..=16 => 256,
                period @ 17..=64 => 16 * period,
                65..=128 => 1024,
                period => 8 * period,
            };
            assert_eq!(ended(cycle(period, 9999)), Some(least), "{period}");
            // Whatever was before.
            let begin = 1000..1100;
            assert_eq!(ended(begin.chain(cycle(period, 9999))), Some(100 + least));
        }
        // Few tokens, as in zeros or dashes, may go on for longer.
        for period in 1..=8 {
            assert_eq!(ended(cycle(period, 9999)), Some(TOKENS_OF_FEW), "{period}");
        }
        assert_eq!(ended(cycle(PERIOD as u32 + 1, 9999)), None);
    }

    #[test]
    fn what_only_looks_like_it_is_not() {
        // One token less than enough, again and again.
        let nearly = (0..50).flat_map(|i| cycle(20, 319).chain([1000 + i]));
        assert_eq!(ended(nearly), None);
        // A list that counts: "1. Item\n2. Item\n", with the digits of the numbers.
        let digits = |i: u32| i.to_string().into_bytes().into_iter().map(u32::from);
        let list = (1..500).flat_map(|i| digits(i).chain([300, 301, 302, 303, 304]));
        assert_eq!(ended(list), None);
        // A song whose verses differ by a word.
        let song = (0..99).flat_map(|i| cycle(30, 30).chain([1000 + i]).chain(cycle(25, 25)));
        assert_eq!(ended(song), None);
        // A matrix of 16 x 16 zeros, "    [0, 0, ...],\n" in each line, in its declaration.
        let line = || {
            [400, 401]
                .into_iter()
                .chain((0..31).map(|i| 500 + i % 2))
                .chain([402, 403])
        };
        let matrix = [600, 601].into_iter().chain((0..16).flat_map(|_| line()));
        assert_eq!(ended(matrix.chain(cycle(9, 100))), None);
        // Ten empty rows of a form.
        assert_eq!(ended((0..10).flat_map(|_| cycle(40, 40))), None);
    }

    #[test]
    fn another_answer_begins_anew() {
        let mut repetition = Repetition::new();
        for _ in 0..10 {
            let answer: Vec<u32> = cycle(10, 200).collect();
            assert!((1..=answer.len()).all(|len| !repetition.follows(&answer[..len])));
            repetition.restart();
        }
        assert!(!repetition.follows(&[]));
    }
}
