//! Sentences about what the engine reports as values.

use alloc::{
    format,
    string::{String, ToString},
};

use llama2_engine::{
    chat::{ChatTemplate, Forgotten},
    settings::Remark,
    tokenizer::Tokenizer,
    units::Grouped,
};

/// Sentence where the model's result cannot be used.
pub const NOT_NUMBERS: &str = "the model's numbers are not numbers (NaN or infinite): its file is damaged, or was made wrongly; fetch it again, or take another";

/// Remark where an answer was ended because it repeated itself.
pub const REPEATS: &str = "the answer repeated the same words again and again, and was ended; asking again, another temperature or a repeat penalty may help; repeat_guard off lets it go on";

/// Sentence about a fact that a user should know before a run.
pub fn remark(remark: Remark) -> String {
    match remark {
        Remark::Steps { steps, seq_len } => {
            format!("{steps} steps are more than the model's context holds: taking {seq_len}")
        }
        Remark::BadTemplate(why) => format!(
            "the model's chat template cannot be used: {why}; using chatml's, which most models understand"
        ),
        Remark::CannotThinkLess => {
            "the model's chat template has no way to switch thinking off".into()
        }
        Remark::NoTemplate => {
            "the model's file has no chat template: it continues what you type instead of answering"
                .into()
        }
        Remark::NoSystemPrompt => {
            "without a chat template there is no place for a system prompt: it is ignored".into()
        }
    }
}

/// A model's chat template in some words.
pub fn template(tokenizer: &Tokenizer) -> String {
    let Some(template) = ChatTemplate::of_tokenizer(tokenizer) else {
        return "none: the model continues a text".into();
    };
    if let Some(fault) = template.fault() {
        return format!("its own cannot be used ({fault}): chatml's");
    }
    let length = Grouped(template.length() as u64);
    let thinks = match template.thinks() {
        true => ", thinking can be switched off",
        false => "",
    };
    format!("its own, {length} bytes{thinks}")
}

/// Sentence about what a full context of `seq_len` tokens has lost.
pub fn forgotten(forgotten: Forgotten, seq_len: usize) -> String {
    let lost = match forgotten {
        Forgotten::Tokens(tokens) => format!("the text's first {tokens} are forgotten"),
        Forgotten::Turns {
            turns,
            keeps_system,
        } => {
            let turns = match turns {
                1 => "the oldest turn is".to_string(),
                turns => format!("the {turns} oldest turns are"),
            };
            let kept = match keeps_system {
                true => ", the system prompt is kept",
                false => "",
            };
            format!("{turns} forgotten{kept}")
        }
    };
    format!("the context of {seq_len} tokens is full: {lost}")
}
