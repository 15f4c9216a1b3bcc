//! Which family a model's template is of, told by signs in its text, in llama.cpp's order
//! (`llm_chat_detect_template` in its `llama-chat.cpp`); and what else can be read from it: a
//! system prompt of its own, and how its answers begin.

use crate::tokenizer::Tokenizer;
use alloc::{string::String, vec::Vec};

use super::{
    families::{
        CHATML, DEEPSEEK3, FALCON3, GRANITE, LLAMA2, LLAMA3, MISTRAL_V1, MISTRAL_V3,
        MISTRAL_V3_TEKKEN, MISTRAL_V7, MISTRAL_V7_TEKKEN, PHI3, PHI4, SMOLLM3, TemplateLayout,
        Trim, ZEPHYR,
    },
    literals::{behind, string, sum},
    template::{Empty, Template},
};

/// The longest template that is looked at; the longest known ones have 17 thousand bytes.
const LONGEST: usize = 1 << 18;

/// What Llama 3.1's and its followers' templates say before every system prompt, on the day that
/// they name where no clock is asked.
const LLAMA3_DATES: &str = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";

impl Template {
    /// The template that a file's Jinja program is. Takes time in proportion to its length,
    /// whatever it is.
    pub fn of(jinja: &str) -> Template {
        read(jinja)
    }

    /// The template of a tokenizer's file, if that has one.
    pub fn of_tokenizer(tokenizer: &Tokenizer) -> Option<Template> {
        tokenizer.chat_template().map(Template::of)
    }
}

/// The template that a file's Jinja program is.
fn read(jinja: &str) -> Template {
    let jinja = &jinja[..jinja.floor_char_boundary(LONGEST)];
    // Line feeds are written as such, or escaped.
    let plain = jinja.replace("\\n", "\n");
    let has = |sign: &str| plain.contains(sign);
    let found = family(&has);
    let layout = found.unwrap_or(CHATML);
    let mut template = Template {
        layout,
        known: found.is_some(),
        system: [None, None],
        empty: Empty::Shown,
        preface: [String::new(), String::new()],
        opening: ["", ""],
        thinks: false,
        writes_bos: writes(jinja, "bos_token"),
    };
    if layout == SMOLLM3 {
        smollm3(jinja, &plain, &mut template);
        return template;
    }
    let default = chatml_system(jinja)
        .filter(|_| layout == CHATML)
        .or_else(|| set_system(jinja))
        .filter(|_| template.known);
    template.system = [default.clone(), default];
    if layout == LLAMA3 && has("Cutting Knowledge Date: December 2023") && has("Today Date: ") {
        template.preface = [LLAMA3_DATES.into(), LLAMA3_DATES.into()];
    }
    if has("'system' and message['content']") || has("if system_message or tools") {
        template.empty = Empty::LeftOut;
    }
    if layout == GRANITE && has("if ns.system_message ") {
        template.empty = if template.system[0].is_some() {
            Empty::Default
        } else {
            Empty::LeftOut
        };
    }
    if template.known {
        begin_answers(&plain, &mut template);
    }
    template
}

/// Tells whether a template writes a variable: names it between braces or in a sum, not in a
/// comment or a condition alone.
fn writes(jinja: &str, name: &str) -> bool {
    let mut rest = jinja;
    while let Some(at) = rest.find('{') {
        rest = &rest[at + 1..];
        let (end, written) = match rest.as_bytes().first() {
            Some(b'#') => ("#}", false),
            Some(b'{') => ("}}", true),
            Some(b'%') => ("%}", false),
            _ => continue,
        };
        let tag = &rest[1..];
        let length = tag.find(end).unwrap_or(tag.len());
        let (tag, behind) = tag.split_at(length);
        // What is put into a variable is written later.
        let set = end == "%}" && tag.trim_start_matches(['-', '+', ' ']).starts_with("set ");
        if (written || set) && names(tag, name) {
            return true;
        }
        rest = behind;
    }
    false
}

/// Tells whether `name` stands in a Jinja expression as a variable, not inside of a string or of a
/// longer name.
fn names(tag: &str, name: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let (mut quote, mut at) = (None, 0);
    let mut characters = tag.char_indices();
    let mut before = ' ';
    while let Some((i, c)) = characters.next() {
        match quote {
            Some(_) if c == '\\' => drop(characters.next()),
            Some(open) if c == open => quote = None,
            Some(_) => (),
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if i >= at && !is_name(before) && tag[i..].starts_with(name) => {
                at = i + name.len();
                if !tag[at..].starts_with(is_name) {
                    return true;
                }
            }
            None => (),
        }
        before = c;
    }
    false
}

/// The family, of which there are more than are known here: those are no one's.
fn family(has: &dyn Fn(&str) -> bool) -> Option<TemplateLayout> {
    if has("<|im_start|>") {
        Some(if has("<|im_sep|>") {
            PHI4
        } else if has("Reasoning Mode: ") && has("## Custom Instructions\n\n") {
            SMOLLM3
        } else {
            CHATML
        })
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
            llama2(has)
        })
    } else if has("<|assistant|>") && has("<|end|>") {
        Some(PHI3)
    } else if has("[gMASK]") {
        None
    } else if has("<|assistant|>") && has("<|user|>") {
        let bare = has("'<|user|>\n' + message['content'] + '\n'");
        Some(if bare { FALCON3 } else { ZEPHYR })
    } else if has("<|user|>") && has("<|endoftext|>") {
        Some(ZEPHYR)
    } else if has("<|start_header_id|>") && has("<|end_header_id|>") {
        Some(LLAMA3)
    } else if has(DEEPSEEK3.assistant) && has(DEEPSEEK3.user[0]) {
        Some(DEEPSEEK3)
    } else if has("<|start_of_role|>") {
        Some(GRANITE)
    } else {
        None
    }
}

/// Llama 2's, in whose name models vary.
fn llama2(has: &dyn Fn(&str) -> bool) -> TemplateLayout {
    TemplateLayout {
        // A model that was taught none has it before the first question.
        system: if has("<<SYS>>") {
            LLAMA2.system
        } else {
            ["", "\n"]
        },
        trim: if has("content.strip()") {
            Trim::Llama2
        } else {
            Trim::Nowhere
        },
        after: if has("bos_token + '[INST]") {
            "<s>"
        } else {
            ""
        },
        ..LLAMA2
    }
}

/// How answers begin: models that think do so in the template's own words, or can be told not to.
fn begin_answers(plain: &str, template: &mut Template) {
    const PROMPT: &str = "add_generation_prompt";
    let tail = &plain[plain.rfind(PROMPT).unwrap_or(0)..];
    let has = |sign: &str| tail.contains(sign);
    let opens = has("'<think>\n'")
        || has("<|im_start|>assistant\n<think>\n'")
        || has("<｜Assistant｜><think>\n'");
    let without = if has("'<think>\n\n</think>\n\n'") {
        Some("<think>\n\n</think>\n\n")
    } else if has("assistant\n<think></think>'") {
        Some("<think></think>")
    } else if opens && has("'</think>'") {
        Some("<think>\n</think>")
    } else {
        None
    };
    // Where it takes more than that to make a model think, it does not.
    let asked = without.is_none() && has("if enable_thinking");
    let opening = if opens && !asked { "<think>\n" } else { "" };
    template.thinks = without.is_some() && plain.contains("enable_thinking");
    template.opening = [
        opening,
        without.filter(|_| template.thinks).unwrap_or(opening),
    ];
}

/// SmolLM3's headings, and its two system prompts.
fn smollm3(jinja: &str, plain: &str, template: &mut Template) {
    let today = if plain.contains("Today Date: ") {
        "Today Date: 26 July 2024\n"
    } else {
        ""
    };
    let modes = ["/think", "/no_think"];
    template.preface = modes.map(|mode| {
        alloc::format!(
            "## Metadata\n\nKnowledge Cutoff Date: June 2025\n{today}Reasoning Mode: {mode}\n\n## Custom Instructions\n\n"
        )
    });
    let custom = behind(jinja, "## Custom Instructions").next();
    let texts = custom.and_then(|rest| behind(rest, "reasoning_mode == \"/think\"").next());
    let prompts: Vec<String> = texts.map_or(Vec::new(), |texts| {
        let strings = behind(texts, "{{- ").take(2).filter_map(string);
        strings.map(|(text, _)| text.trim_end().into()).collect()
    });
    template.system = [prompts.first().cloned(), prompts.get(1).cloned()];
    template.empty = Empty::Default;
    template.thinks = true;
    template.opening = ["", "<think>\n\n</think>\n"];
}

/// The system prompt that chatml's templates have for those who give none: literal text between the
/// marks.
fn chatml_system(jinja: &str) -> Option<String> {
    const START: &str = "<|im_start|>system";
    let places = jinja.match_indices(START).take(32);
    places.into_iter().find_map(|(at, _)| {
        let quote = &jinja[..at];
        let rest = &jinja[at + START.len()..];
        let text = match quote
            .chars()
            .next_back()
            .filter(|c| matches!(c, '"' | '\''))
        {
            // In a string: with its quotation mark before it, it is one.
            Some(_) => string(&jinja[at - 1..])?.0[START.len()..].into(),
            None => String::from(&rest[..rest.floor_char_boundary(1 << 15)]),
        };
        let text = text.strip_prefix('\n')?;
        let text = &text[..text.find("<|im_end|>")?];
        // Anything but a literal is a variable in between.
        (!text.is_empty() && !text.contains('{')).then(|| text.into())
    })
}

/// The system prompt that a template puts into a variable: `set system_message = "..."`, and what
/// it adds where there are neither tools nor documents.
fn set_system(jinja: &str) -> Option<String> {
    const NAMES: [&str; 3] = [
        "set system_message = ",
        "set default_system_message = ",
        "set g4_default_system_message = ",
    ];
    const ADDED: &str = "set system_message = system_message + ";
    let mut text = NAMES.iter().find_map(|name| {
        let places = jinja.match_indices(name).take(32);
        let mut texts = places.filter_map(|(at, _)| {
            let before = &jinja[..at];
            let before = &before[..before.rfind("{%")?];
            let condition = &before[before.rfind("{%").unwrap_or(0)..];
            if condition.contains("if tools") || condition.contains("if available_tools") {
                return None;
            }
            sum(jinja, &jinja[at + name.len()..]).filter(|text| !text.is_empty())
        });
        texts.next()
    })?;
    let mut added = jinja.match_indices(ADDED).take(32);
    let otherwise = added.find(|(at, _)| {
        let tag = jinja[..*at].trim_end().trim_end_matches(['{', '%', '-']);
        let tag = tag.trim_end().trim_end_matches(['%', '}', '-']);
        tag.trim_end().ends_with("else")
    });
    if let Some((at, _)) = otherwise {
        text.push_str(&sum(jinja, &jinja[at + ADDED.len()..]).unwrap_or_default());
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A template of a mebibyte, which is the most that a file may have, costs no time, whatever it
    /// was made for.
    #[test]
    fn hostile_templates_cost_no_time() {
        for part in [
            "<|im_start|>system\n",
            "'<|im_start|>system\\n",
            "{% set system_message = today %}",
            "set system_message = '",
            "<|im_start|>{% set system_message = system_message + ",
            "{{- ## Custom Instructions Reasoning Mode: reasoning_mode == \"/think\" <|im_start|>",
            "[",
            "<|",
            "\\n",
            "ö",
        ] {
            let start = std::time::Instant::now();
            for head in ["", "{% set system_message = '", "<|start_of_role|>"] {
                let hostile = alloc::format!("{head}{}", part.repeat((1 << 20) / part.len()));
                read(&hostile);
            }
            let took = start.elapsed();
            assert!(took.as_millis() < 3000, "{part}: {took:?}");
        }
    }
}
