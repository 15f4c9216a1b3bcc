//! What a model thinks before it answers, told apart from the answer: text between `<think>` and
//! `</think>`.

use alloc::string::String;

const MARKS: [&str; 2] = ["<think>", "</think>"];

/// Cuts a stream of text in two, wherever its pieces begin and end.
#[derive(Debug, Default)]
pub struct Thoughts {
    inside: bool,
    /// What may be the beginning of a mark.
    held: String,
}

impl Thoughts {
    /// For an answer that begins inside of a thought, where [`super::Template::opens_thought`] says
    /// so.
    pub fn begun(inside: bool) -> Thoughts {
        Thoughts {
            inside,
            held: String::new(),
        }
    }

    /// Gives out what is decided of `text` and of what came before, in its order, with whether it
    /// is thought; the marks go.
    pub fn push(&mut self, text: &str, out: &mut dyn FnMut(bool, &str)) {
        self.held.push_str(text);
        loop {
            let mark = MARKS[usize::from(self.inside)];
            if let Some(at) = self.held.find(mark) {
                out(self.inside, &self.held[..at]);
                self.held.drain(..at + mark.len());
                self.inside = !self.inside;
                continue;
            }
            let kept = (1..mark.len())
                .rev()
                .find(|&kept| self.held.ends_with(&mark[..kept]))
                .unwrap_or(0);
            let given = self.held.len() - kept;
            out(self.inside, &self.held[..given]);
            self.held.drain(..given);
            return;
        }
    }

    /// Gives out what was held back, and begins anew.
    pub fn finish(&mut self, out: &mut dyn FnMut(bool, &str)) {
        out(self.inside, &self.held);
        *self = Thoughts::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_same_thought_and_answer() {
        let text = "<think>\nHm < 5 </thin\n</think>\n\n1 <think 2 <think>ö</think>é<";
        let characters: alloc::vec::Vec<char> = text.chars().collect();
        for size in 1..=characters.len() {
            let (mut thoughts, mut thought, mut answer) =
                (Thoughts::default(), String::new(), String::new());
            let mut out = |inside: bool, text: &str| {
                let to = if inside { &mut thought } else { &mut answer };
                to.push_str(text);
            };
            for piece in characters.chunks(size) {
                let piece: String = piece.iter().collect();
                thoughts.push(&piece, &mut out);
            }
            thoughts.finish(&mut out);
            assert_eq!(thought, "\nHm < 5 </thin\nö", "{size}");
            assert_eq!(answer, "\n\n1 <think 2 é<", "{size}");
        }
    }

    #[test]
    fn an_answer_may_begin_inside_of_a_thought() {
        let mut thoughts = Thoughts::begun(true);
        let (mut thought, mut answer) = (String::new(), String::new());
        thoughts.push("Hm.\n</think>\nYes.", &mut |inside, text| {
            if inside {
                thought.push_str(text)
            } else {
                answer.push_str(text)
            }
        });
        assert_eq!((&thought[..], &answer[..]), ("Hm.\n", "\nYes."));
    }
}
