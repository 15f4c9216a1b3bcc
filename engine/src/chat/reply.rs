//! An answer as people are to see it: who speaks, thoughts apart from what is said, and no empty
//! lines between.

use alloc::string::String;

use super::{Chat, Thoughts};
use crate::settings::Think;

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Who answers: not the model's words.
    Label,
    /// Word that a thought follows: not the model's.
    ThoughtLabel,
    /// Words that the model thinks.
    Thought,
    /// What it answers.
    Answer,
}

/// Before a thought, and before an answer.
const THINKING: &str = "Thinking: ";
const ASSISTANT: &str = "Assistant: ";

/// Makes pieces of an answer's text. Takes memory: it is for the side that shows them.
#[derive(Debug)]
pub struct Reply {
    /// Told apart from the answer, where the model has a template.
    thoughts: Option<Thoughts>,
    hide: bool,
    labelled: bool,
    /// What is being shown, once its label was.
    part: Option<Part>,
    /// True if a word of it was shown.
    words: bool,
    /// White space behind that word, shown if another one follows.
    held: String,
    line_ended: bool,
}

impl Reply {
    /// For the next answer of `chat`.
    pub fn new(chat: &Chat, think: Think) -> Reply {
        Reply {
            thoughts: chat
                .template()
                .map(|template| Thoughts::begun(template.opens_thought(think != Think::Off))),
            hide: think == Think::Hide,
            labelled: !chat.is_completion(),
            part: None,
            words: false,
            held: String::new(),
            line_ended: false,
        }
    }

    /// The answer is being made. Its label is shown at once where no thought can come before it.
    pub fn begin(&mut self, show: &mut dyn FnMut(Part, &str)) {
        if self.part.is_none() && (self.thoughts.is_none() || self.hide) {
            self.turn_to(Part::Answer, show);
        }
    }

    /// Takes text that the model said.
    pub fn push(&mut self, text: &str, show: &mut dyn FnMut(Part, &str)) {
        self.begin(show);
        match self.thoughts.take() {
            Some(mut thoughts) => {
                thoughts.push(text, &mut |inside, text| self.split(inside, text, show));
                self.thoughts = Some(thoughts);
            }
            None => self.show(Part::Answer, text, show),
        }
    }

    /// The end of the answer. Where thoughts are told apart, it ends its line.
    pub fn finish(&mut self, show: &mut dyn FnMut(Part, &str)) {
        self.begin(show);
        if let Some(mut thoughts) = self.thoughts.take() {
            thoughts.finish(&mut |inside, text| self.split(inside, text, show));
            if self.part != Some(Part::Answer) {
                self.turn_to(Part::Answer, show);
            }
            self.show(Part::Answer, "\n", show);
        }
    }

    /// Tells whether what was shown ends with a line's end.
    pub fn line_ended(&self) -> bool {
        self.line_ended
    }

    /// Shows text of a thought or an answer, without white space before its first word and behind
    /// its last one.
    fn split(&mut self, inside: bool, text: &str, show: &mut dyn FnMut(Part, &str)) {
        let part = if inside { Part::Thought } else { Part::Answer };
        if inside && self.hide {
            return;
        }
        let begun = self.part == Some(part) && self.words;
        let text = if begun { text } else { text.trim_start() };
        let words = text.trim_end().len();
        if words > 0 {
            if self.part != Some(part) {
                self.turn_to(part, show);
            }
            let held = core::mem::take(&mut self.held);
            self.show(part, &held, show);
            self.show(part, &text[..words], show);
            self.words = true;
        }
        if self.part == Some(part) {
            self.held.push_str(&text[words..]);
        }
    }

    /// Another part begins, on a line of its own.
    fn turn_to(&mut self, part: Part, show: &mut dyn FnMut(Part, &str)) {
        self.held.clear();
        self.words = false;
        if let Some(before) = self.part.replace(part) {
            self.show(before, "\n", show);
        }
        match part {
            Part::Thought => self.show(Part::ThoughtLabel, THINKING, show),
            _ if self.labelled => self.show(Part::Label, ASSISTANT, show),
            _ => (),
        }
    }

    fn show(&mut self, part: Part, text: &str, show: &mut dyn FnMut(Part, &str)) {
        if let Some(last) = text.bytes().next_back() {
            self.line_ended = last == b'\n';
            show(part, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of `text` in pieces of so many characters.
    fn shown(text: &str, size: usize, hide: bool) -> String {
        let mut reply = Reply {
            thoughts: Some(Thoughts::default()),
            hide,
            labelled: true,
            part: None,
            words: false,
            held: String::new(),
            line_ended: false,
        };
        let mut out = String::new();
        let mut show = |part: Part, text: &str| {
            if matches!(part, Part::Thought | Part::ThoughtLabel) {
                out.push_str(&text.to_uppercase());
            } else {
                out.push_str(text);
            }
        };
        let characters: alloc::vec::Vec<char> = text.chars().collect();
        for piece in characters.chunks(size) {
            reply.push(&piece.iter().collect::<String>(), &mut show);
        }
        reply.finish(&mut show);
        assert!(reply.line_ended());
        out
    }

    #[test]
    fn thoughts_and_answers_stand_on_lines_of_their_own_however_they_come() {
        for (text, told, hidden) in [
            (
                "<think>\nhm\n\nso\n</think>\n\nyes,  I\ndo\n",
                "THINKING: HM\n\nSO\nAssistant: yes,  I\ndo\n",
                "Assistant: yes,  I\ndo\n",
            ),
            // A thought of nothing is none.
            (
                "<think>\n\n</think>\n\nyes\n",
                "Assistant: yes\n",
                "Assistant: yes\n",
            ),
            ("<think>hm", "THINKING: HM\nAssistant: \n", "Assistant: \n"),
            ("", "Assistant: \n", "Assistant: \n"),
            (
                "a <think>b</think> c",
                "Assistant: a\nTHINKING: B\nAssistant: c\n",
                "Assistant: a  c\n",
            ),
        ] {
            for size in 1..=text.len().max(1) {
                assert_eq!(shown(text, size, false), told, "{size}");
                assert_eq!(shown(text, size, true), hidden, "{size}");
            }
        }
    }
}
