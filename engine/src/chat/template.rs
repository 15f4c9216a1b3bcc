//! Chat templates: how a model was taught to tell who speaks, by the families that are known.
//!
//! A file's own template is a Jinja program (`tokenizer.chat_template`). As llama.cpp does without
//! Jinja, it is only looked at for signs of its family (`detect`), whose layout is data here
//! (`families`). What a user says is never read as a sign: it stays text.
//! `engine/tests/engine/chat_templates.rs` compares what comes out with what Jinja2 makes of the
//! models' own templates.

use alloc::{string::String, vec::Vec};

use super::families::{TemplateLayout, Trim};
use crate::tokenizer::Fragment;

/// What becomes of an empty system prompt that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    /// Its marks stand around nothing.
    Shown,
    /// It is as if there were none, not even the template's own.
    LeftOut,
    /// It is as if none had been given.
    Default,
}

/// A model's template. What there is two of is for models that think before they answer, and for
/// those who do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub(super) layout: TemplateLayout,
    pub(super) known: bool,
    /// What the template says where no system prompt is given.
    pub(super) system: [Option<String>; 2],
    pub(super) empty: Empty,
    /// What it says before any system prompt, given or not.
    pub(super) preface: [String; 2],
    /// How an answer begins, in the template's own words.
    pub(super) opening: [&'static str; 2],
    /// True if the model thinks first, and can be told not to.
    pub(super) thinks: bool,
    /// True if it writes what texts begin with.
    pub(super) writes_bos: bool,
}

impl Template {
    /// The family's name.
    pub fn name(&self) -> &'static str {
        self.layout.name
    }

    /// Tells whether the family was recognised; otherwise it is chatml, which most models
    /// understand.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Tells whether the model thinks before it answers, and can be told not to.
    pub fn thinks(&self) -> bool {
        self.thinks
    }

    /// Tells whether it writes what texts begin with: then a conversation begins so, even where
    /// other texts do not.
    pub fn writes_bos(&self) -> bool {
        self.writes_bos
    }

    /// Tells whether the answer begins inside of a thought, whose `<think>` the template has said
    /// already.
    pub fn opens_thought(&self, think: bool) -> bool {
        let opening = self.opening[usize::from(!think)];
        opening.contains("<think>") && !opening.contains("</think>")
    }

    /// A conversation's first turn, up to where the answer begins. Where no system prompt is given,
    /// the template may have one of its own; an empty one is what the template makes of it, mostly
    /// marks around nothing.
    pub fn first<'a>(
        &'a self,
        system: Option<&'a str>,
        user: &'a str,
        think: bool,
    ) -> Vec<Fragment<'a>> {
        let TemplateLayout {
            inside,
            system: around,
            user: [before, _],
            trim,
            ..
        } = self.layout;
        let mode = usize::from(!think);
        let own = self.system[mode].as_deref();
        let preface = &self.preface[mode];
        let system = match system.map(|text| self.trimmed_system(text)) {
            None => own,
            Some("") if self.empty == Empty::Default => own,
            Some("") if self.empty == Empty::LeftOut => None,
            given => given,
        };
        let mut out = Vec::new();
        if inside {
            out.push(Fragment::Mark(before));
        }
        if system.is_some() || !preface.is_empty() {
            self.mark(around[0], &mut out);
            out.push(Fragment::Said(preface));
            out.push(Fragment::Said(system.unwrap_or_default()));
            self.mark(around[1], &mut out);
        }
        if !inside {
            out.push(Fragment::Mark(before));
        }
        let user = match trim {
            Trim::Llama2 if system.is_some() => user.trim_end(),
            Trim::Llama2 | Trim::Both => user.trim(),
            Trim::AfterSystem | Trim::Nowhere => user,
        };
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
        let user = match self.layout.trim {
            Trim::Llama2 | Trim::Both => user.trim(),
            Trim::AfterSystem | Trim::Nowhere => user,
        };
        self.ask(user, think, &mut out);
        out
    }

    /// What the user says, and where the answer begins.
    fn ask<'a>(&'a self, user: &'a str, think: bool, out: &mut Vec<Fragment<'a>>) {
        out.push(Fragment::Said(user));
        self.mark(self.layout.user[1], out);
        self.mark(self.layout.assistant, out);
        self.mark(self.opening[usize::from(!think)], out);
    }

    fn trimmed_system<'a>(&self, text: &'a str) -> &'a str {
        match self.layout.trim {
            Trim::Both => text.trim(),
            Trim::AfterSystem => text.trim_end(),
            Trim::Llama2 | Trim::Nowhere => text,
        }
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

    /// Signs of real templates, and the text that Jinja2 makes of these for a system prompt, two
    /// questions and an answer.
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
            "{{ '<|user|>\n' + message['content'] + eos_token }}{{ '<|assistant|>' }}",
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
            "Cutting Knowledge Date: December 2023 Today Date: '<|start_header_id|>' <|end_header_id|>",
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
        // An empty one is as Jinja has it.
        let empty = text(&qwen.first(Some(""), "Hi", true));
        assert!(empty.starts_with("<|im_start|>system\n<|im_end|>\n<|im_start|>user\n"));
        let thinker =
            Template::of("<|im_start|> enable_thinking is false '<think>\\n\\n</think>\\n\\n'");
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
