//! Chat templates: how a model was taught to tell who speaks, by the families that are known.
//!
//! A file's own template is a Jinja program (`tokenizer.chat_template`). As llama.cpp does without Jinja, it is only looked at
//! for signs of its family, whose layout is data here. What a user says is never read as a sign: it stays text.

use alloc::{string::String, vec::Vec};

/// A piece of a conversation before it is made of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragment<'a> {
    /// The template's own words, control tokens among them.
    Mark(&'a str),
    /// What somebody said: text and nothing else.
    Said(&'a str),
    /// The token that ends a text.
    End,
}

/// How turns are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    name: &'static str,
    /// Before and after the system prompt.
    system: [&'static str; 2],
    /// Whether the system prompt stands inside of the first user's turn.
    inside: bool,
    /// Before and after what the user says.
    user: [&'static str; 2],
    /// Before an answer.
    assistant: &'static str,
    /// What ends an answer; `None`: the token that ends texts.
    end: Option<&'static str>,
    /// What follows that before the next turn.
    after: &'static str,
    /// White space around what is said is left out.
    trims: bool,
}

const CHATML: Layout = Layout {
    name: "chatml",
    system: ["<|im_start|>system\n", "<|im_end|>\n"],
    inside: false,
    user: ["<|im_start|>user\n", "<|im_end|>\n"],
    assistant: "<|im_start|>assistant\n",
    end: Some("<|im_end|>"),
    after: "\n",
    trims: false,
};

const LLAMA3: Layout = Layout {
    name: "llama3",
    system: [
        "<|start_header_id|>system<|end_header_id|>\n\n",
        "<|eot_id|>",
    ],
    user: ["<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"],
    assistant: "<|start_header_id|>assistant<|end_header_id|>\n\n",
    end: Some("<|eot_id|>"),
    after: "",
    trims: true,
    ..CHATML
};

const GRANITE: Layout = Layout {
    name: "granite",
    system: [
        "<|start_of_role|>system<|end_of_role|>",
        "<|end_of_text|>\n",
    ],
    user: ["<|start_of_role|>user<|end_of_role|>", "<|end_of_text|>\n"],
    assistant: "<|start_of_role|>assistant<|end_of_role|>",
    end: Some("<|end_of_text|>"),
    ..CHATML
};

/// `</s>` stands for the token that ends texts.
const ZEPHYR: Layout = Layout {
    name: "zephyr",
    system: ["<|system|>\n", "</s>\n"],
    user: ["<|user|>\n", "</s>\n"],
    assistant: "<|assistant|>\n",
    end: None,
    ..CHATML
};

const PHI3: Layout = Layout {
    name: "phi3",
    system: ["<|system|>\n", "<|end|>\n"],
    user: ["<|user|>\n", "<|end|>\n"],
    assistant: "<|assistant|>\n",
    end: Some("<|end|>"),
    ..CHATML
};

const LLAMA2: Layout = Layout {
    name: "llama2",
    system: ["<<SYS>>\n", "\n<</SYS>>\n\n"],
    inside: true,
    user: ["[INST] ", " [/INST]"],
    assistant: "",
    end: None,
    after: "",
    trims: false,
};

const MISTRAL_V1: Layout = Layout {
    name: "mistral v1",
    system: ["", "\n\n"],
    user: [" [INST] ", " [/INST]"],
    ..LLAMA2
};

const MISTRAL_V3: Layout = Layout {
    name: "mistral v3",
    user: ["[INST] ", "[/INST]"],
    ..MISTRAL_V1
};

const MISTRAL_V3_TEKKEN: Layout = Layout {
    name: "mistral v3 tekken",
    user: ["[INST]", "[/INST]"],
    ..MISTRAL_V1
};

const MISTRAL_V7: Layout = Layout {
    name: "mistral v7",
    system: ["[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"],
    inside: false,
    user: ["[INST] ", "[/INST]"],
    ..MISTRAL_V1
};

const MISTRAL_V7_TEKKEN: Layout = Layout {
    name: "mistral v7 tekken",
    system: ["[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"],
    user: ["[INST]", "[/INST]"],
    ..MISTRAL_V7
};

/// What Llama 3.1's and 3.2's templates say before every system prompt, on the day that they name where no clock is asked.
const LLAMA3_DATES: &str = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";

/// A model's template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    layout: Layout,
    known: bool,
    /// What the template says where no system prompt is given.
    default_system: Option<String>,
    /// What it says before any system prompt, given or not.
    preface: &'static str,
    /// Models that think first can be told not to.
    thinks: bool,
}

impl Template {
    /// The family of a file's template.
    pub fn of(jinja: &str) -> Template {
        let has = |sign: &str| jinja.contains(sign);
        let found = if has("<|im_start|>") {
            Some(CHATML)
        } else if has("[INST]") {
            Some(if has("[SYSTEM_PROMPT] ") {
                MISTRAL_V7
            } else if has("[SYSTEM_PROMPT]") {
                MISTRAL_V7_TEKKEN
            } else if has("' [INST] ' + system_message") || has("[AVAILABLE_TOOLS]") {
                match (has(" [INST]"), has("\"[INST]\"")) {
                    (true, _) => MISTRAL_V1,
                    (_, true) => MISTRAL_V3_TEKKEN,
                    _ => MISTRAL_V3,
                }
            } else {
                Layout {
                    trims: has("content.strip()"),
                    after: if has("bos_token + '[INST]") {
                        "<s>"
                    } else {
                        ""
                    },
                    ..LLAMA2
                }
            })
        } else if has("<|assistant|>") && has("<|end|>") {
            Some(PHI3)
        } else if has("<|user|>") {
            Some(ZEPHYR)
        } else if has("<|start_header_id|>") && has("<|end_header_id|>") {
            Some(LLAMA3)
        } else if has("<|start_of_role|>") {
            Some(GRANITE)
        } else {
            None
        };
        let layout = found.unwrap_or(CHATML);
        Template {
            layout,
            known: found.is_some(),
            default_system: default_system(jinja, &layout),
            preface: if layout == LLAMA3 && has("Cutting Knowledge Date: December 2023") {
                LLAMA3_DATES
            } else {
                ""
            },
            thinks: has("enable_thinking") && has("<think>"),
        }
    }

    /// The family's name.
    pub fn name(&self) -> &'static str {
        self.layout.name
    }

    /// Whether the family was recognised; otherwise it is chatml, which most models understand.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Whether the model thinks before it answers, and can be told not to.
    pub fn thinks(&self) -> bool {
        self.thinks
    }

    /// A conversation's first turn, up to where the answer begins. An empty system prompt is none; where none is given, the
    /// template may have one of its own.
    pub fn first<'a>(
        &'a self,
        system: Option<&'a str>,
        user: &'a str,
        think: bool,
    ) -> Vec<Fragment<'a>> {
        let Layout {
            inside,
            system: around,
            user: [before, _],
            ..
        } = self.layout;
        let system = system.or(self.default_system.as_deref());
        let mut out = Vec::new();
        if inside {
            out.push(Fragment::Mark(before));
        }
        let system = system.unwrap_or_default();
        if !system.is_empty() || !self.preface.is_empty() {
            self.mark(around[0], &mut out);
            out.push(Fragment::Said(self.preface));
            out.push(self.said(system));
            self.mark(around[1], &mut out);
        }
        if !inside {
            out.push(Fragment::Mark(before));
        }
        self.ask(user, think, &mut out);
        out
    }

    /// A later turn, up to where the answer begins. `closed`: the answer before it has its end.
    pub fn next<'a>(&'a self, closed: bool, user: &'a str, think: bool) -> Vec<Fragment<'a>> {
        let mut out = Vec::new();
        if !closed {
            out.push(self.layout.end.map_or(Fragment::End, Fragment::Mark));
        }
        self.mark(self.layout.after, &mut out);
        out.push(Fragment::Mark(self.layout.user[0]));
        self.ask(user, think, &mut out);
        out
    }

    /// What the user says, and where the answer begins.
    fn ask<'a>(&'a self, user: &'a str, think: bool, out: &mut Vec<Fragment<'a>>) {
        out.push(self.said(user));
        self.mark(self.layout.user[1], out);
        self.mark(self.layout.assistant, out);
        if self.thinks && !think {
            self.mark("<think>\n\n</think>\n\n", out);
        }
    }

    fn said<'a>(&self, text: &'a str) -> Fragment<'a> {
        Fragment::Said(if self.layout.trims { text.trim() } else { text })
    }

    /// The template's own words; `</s>` is whatever ends the model's texts.
    fn mark<'a>(&self, words: &'a str, out: &mut Vec<Fragment<'a>>) {
        let mut first = true;
        for part in words.split("</s>") {
            if !core::mem::take(&mut first) {
                out.push(Fragment::End);
            }
            if !part.is_empty() {
                out.push(Fragment::Mark(part));
            }
        }
    }
}

/// The system prompt that a template has for those who give none: literal text between the marks.
fn default_system(jinja: &str, layout: &Layout) -> Option<String> {
    if *layout != CHATML {
        return None;
    }
    let start = "<|im_start|>system\\n";
    jinja.match_indices(start).find_map(|(at, _)| {
        let rest = &jinja[at + start.len()..];
        // Anything but a literal is a variable in between. The literal's end is looked for first, and is not behind the next
        // mark: a template of nothing but marks would else be searched to its end for each of them.
        let literal = rest.split(['\'', '"', '{', '}', '\n', '\\']).next()?;
        let text = &literal[..literal.find("<|im_end|>")?];
        (!text.is_empty()).then(|| text.into())
    })
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn text(fragments: &[Fragment<'_>]) -> String {
        let each = fragments.iter().map(|fragment| match fragment {
            Fragment::Mark(text) | Fragment::Said(text) => text.to_string(),
            Fragment::End => "</s>".to_string(),
        });
        each.collect()
    }

    /// Signs of real templates, and the text that Jinja2 makes of these for a system prompt, two questions and an answer.
    const CASES: [(&str, &str, &str); 11] = [
        (
            "{{'<|im_start|>' + message['role'] + '\n'}}",
            "chatml",
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'",
            "llama3",
            "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (
            "'<|start_of_role|>user<|end_of_role|>'",
            "granite",
            "<|start_of_role|>system<|end_of_role|>Be brief.<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>Hi<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>Hello<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>Who?<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
        ),
        (
            "{{ '<|user|>\n' + message['content'] + eos_token }}",
            "zephyr",
            "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello</s>\n<|user|>\nWho?</s>\n<|assistant|>\n",
        ),
        (
            "<<SYS>> '[INST] ' + content + ' [/INST]'",
            "llama2",
            "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST]Hello</s>[INST] Who? [/INST]",
        ),
        (
            "' [INST] ' + system_message",
            "mistral v1",
            " [INST] Be brief.\n\nHi [/INST]Hello</s> [INST] Who? [/INST]",
        ),
        (
            "[AVAILABLE_TOOLS] '[INST] '",
            "mistral v3",
            "[INST] Be brief.\n\nHi[/INST]Hello</s>[INST] Who?[/INST]",
        ),
        (
            "[AVAILABLE_TOOLS] \"[INST]\"",
            "mistral v3 tekken",
            "[INST]Be brief.\n\nHi[/INST]Hello</s>[INST]Who?[/INST]",
        ),
        (
            "Cutting Knowledge Date: December 2023 '<|start_header_id|>' <|end_header_id|>",
            "llama3",
            "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (
            "'[SYSTEM_PROMPT]' [INST]",
            "mistral v7 tekken",
            "[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]Hi[/INST]Hello</s>[INST]Who?[/INST]",
        ),
        (
            "[SYSTEM_PROMPT] [INST]",
            "mistral v7",
            "[SYSTEM_PROMPT] Be brief.[/SYSTEM_PROMPT][INST] Hi[/INST]Hello</s>[INST] Who?[/INST]",
        ),
    ];

    #[test]
    fn conversations_are_laid_out_as_each_family_was_taught() {
        for (jinja, name, want) in CASES {
            let template = Template::of(jinja);
            assert!(template.is_known());
            assert_eq!(template.name(), name, "{jinja}");
            for closed in [true, false] {
                let mut found = text(&template.first(Some("Be brief."), "Hi", true));
                found += "Hello";
                if closed {
                    found += template.layout.end.unwrap_or("</s>");
                }
                found += &text(&template.next(closed, "Who?", true));
                assert_eq!(found, want, "{name}");
            }
        }
    }

    #[test]
    fn what_a_template_says_by_itself() {
        let qwen = Template::of(
            "{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{{- '<|im_start|>system\\n' + messages[0].content }}",
        );
        assert_eq!(
            text(&qwen.first(None, "Hi", true)),
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        );
        // An empty one is none.
        assert!(!text(&qwen.first(Some(""), "Hi", true)).contains("system"));
        let thinker = Template::of("<|im_start|> <think> enable_thinking is false");
        assert!(thinker.thinks());
        assert!(text(&thinker.first(None, "Hi", false)).ends_with("<think>\n\n</think>\n\n"));
        assert!(!text(&thinker.first(None, "Hi", true)).contains("think"));
    }

    #[test]
    fn an_unknown_template_is_taken_for_chatml_and_said_to_be_unknown() {
        let template = Template::of("{{ 'Q: ' + q }}");
        assert_eq!((template.name(), template.is_known()), ("chatml", false));
    }

    #[test]
    fn what_people_say_stays_text() {
        let template = Template::of("<|im_start|>");
        let said = "<|im_end|></s>";
        let fragments = template.first(Some(said), said, true);
        let saids = fragments.iter().filter(|f| **f == Fragment::Said(said));
        assert_eq!(saids.count(), 2);
    }
}
