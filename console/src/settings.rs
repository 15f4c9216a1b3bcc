//! Commands that show and change settings of a conversation.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use llama2_settings::{Defaults, Overrides, Param};

use crate::{commands::Command, config::quoted};

/// Applies a command to the settings. Returns a description of the result; `None` if the command is
/// about something else.
pub fn apply(settings: &mut Overrides, command: &Command) -> Option<String> {
    let Command::Setting { param, to } = command else {
        return None;
    };
    for (param, value) in to {
        if let Err(most) = settings.add(*param, value.clone()) {
            let (command, what) = (param.spec().commands[0], list(*param));
            return Some(format!(
                "no more than {most} {what} are allowed: /{command} off removes them"
            ));
        }
    }
    Some(said(settings, *param))
}

/// Name of the elements of a list.
fn list(param: Param) -> &'static str {
    match param {
        Param::Stop => "texts to stop at",
        _ => "biases",
    }
}

/// Description of a setting.
fn said(settings: &Overrides, param: Param) -> String {
    let spec = param.spec();
    let number = |param: Param| match (settings.number(param), param.spec().defaults) {
        (Some(number), _) => number,
        (None, Defaults::Sampler(defaults)) => defaults.llama_cpp,
        (None, Defaults::Elsewhere) => 0.0,
    };
    match (param, spec.defaults) {
        (Param::Seed, _) => match settings.whole(param).unwrap_or(0) {
            0 => "seed random".to_string(),
            seed => format!("seed {}", seed as u64),
        },
        (Param::Steps, _) => match settings.whole(param).unwrap_or(0) {
            0 => "a reply is as long as the context holds".to_string(),
            max => format!("a reply has at most {max} tokens"),
        },
        (Param::Stop, _) => match settings.texts(param).map_or(&[][..], Vec::as_slice) {
            [] => "no stop texts are set".to_string(),
            texts => {
                let all: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
                format!("replies end at {}", all.join(", "))
            }
        },
        (Param::LogitBias, _) => match settings.biases(param).map_or(&[][..], Vec::as_slice) {
            [] => "no token has a bias".to_string(),
            biases => {
                let biases = biases.iter();
                let all: Vec<String> = biases
                    .map(|(token, bias)| format!("{token}={bias}"))
                    .collect();
                format!("biases {}", all.join(", "))
            }
        },
        (Param::RepeatPenalty, Defaults::Sampler(_)) => {
            let penalty = number(param);
            let none = if spec.is_special(penalty) {
                " (none)"
            } else {
                ""
            };
            format!(
                "repetition penalty {penalty}{none}, over the last {} tokens",
                number(Param::RepeatLastN)
            )
        }
        (_, Defaults::Sampler(defaults)) => {
            let (value, (special, meaning)) = (number(param), defaults.special);
            let meaning = match value == special {
                true => format!(" ({meaning})"),
                false => String::new(),
            };
            format!("{} {value}{meaning}", spec.key)
        }
        _ => format!("{} {}", spec.key, settings.text(param).unwrap_or("show")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama2_settings::ParamValue;

    use crate::commands::{Input, Place, parse};

    #[test]
    fn showing_and_setting() {
        let mut settings = Overrides::default();
        for (line, said) in [
            ("/temp", "temperature 0.8"),
            ("/temp 0", "temperature 0 (the most likely token each time)"),
            ("/top_p 1", "top_p 1 (keeps all)"),
            ("/top_p 0.9", "top_p 0.9"),
            ("/top_k 0", "top_k 0 (keeps all)"),
            ("/min_p", "min_p 0.05"),
            (
                "/repeat",
                "repetition penalty 1 (none), over the last 64 tokens",
            ),
            (
                "/repeat 1.1",
                "repetition penalty 1.1, over the last 64 tokens",
            ),
            (
                "/repeat 1.2 128",
                "repetition penalty 1.2, over the last 128 tokens",
            ),
            ("/seed", "seed random"),
            ("/seed 42", "seed 42"),
            ("/max", "a reply is as long as the context holds"),
            ("/max 100", "a reply has at most 100 tokens"),
            ("/think hide", "think hide"),
            ("/typical", "typical 1 (keeps all)"),
            ("/typical 0.5", "typical 0.5"),
            ("/frequency 0.5", "frequency_penalty 0.5"),
            ("/presence", "presence_penalty 0 (none)"),
            ("/repeat_last_n 32", "repeat_last_n 32"),
            ("/logit_bias", "no token has a bias"),
            ("/logit_bias 7=-1.5", "biases 7=-1.5"),
            ("/logit_bias 8=2", "biases 7=-1.5, 8=2"),
            ("/logit_bias off", "no token has a bias"),
            ("/stop", "no stop texts are set"),
            ("/stop \\nUser:", "replies end at \"\\nUser:\""),
            ("/stop \\nUser:", "replies end at \"\\nUser:\""),
            ("/stop End.", "replies end at \"\\nUser:\", \"End.\""),
        ] {
            let Ok(Input::Command(command)) = parse(line, Place::Boot) else {
                panic!("{line}");
            };
            assert_eq!(
                apply(&mut settings, &command).as_deref(),
                Some(said),
                "{line}"
            );
        }
        assert_eq!(apply(&mut settings, &Command::Info), None);
        let mut last = None;
        for i in 0..70 {
            let to = ParamValue::Texts([i.to_string()].into());
            let to = Vec::from([(Param::Stop, to)]);
            last = apply(
                &mut settings,
                &Command::Setting {
                    param: Param::Stop,
                    to,
                },
            );
        }
        let most = "no more than 64 texts to stop at are allowed: /stop off removes them";
        assert_eq!(last.as_deref(), Some(most));
        assert_eq!(settings.texts(Param::Stop).map(Vec::len), Some(64));
    }
}
