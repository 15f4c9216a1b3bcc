//! Flags generated from the table of parameters.

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, error::ErrorKind};
use llama2_settings::{Defaults, Domain, Overrides, Param, ParamValue, Spec, TABLE};

/// Values of flags: all that `run` and `chat` share, or only those of the machine.
pub struct Flags<const MACHINE_ONLY: bool>(pub Overrides);

/// Parameters with flags defined in [`crate::args`], or for firmware only.
const OTHERS: [Param; 10] = [
    Param::Model,
    Param::Tokenizer,
    Param::Prompt,
    Param::PromptFile,
    Param::Mode,
    Param::Bench,
    Param::Log,
    Param::Exit,
    Param::Keyboard,
    Param::Display,
];

const MACHINE: [Param; 5] = [
    Param::Context,
    Param::Speculation,
    Param::Threads,
    Param::Kernels,
    Param::Kv,
];

fn rows(machine_only: bool) -> impl Iterator<Item = &'static Spec> {
    let rows = TABLE.iter().filter(|spec| !spec.flags.is_empty());
    rows.filter(move |spec| match machine_only {
        // Only conversations have a context, and tokens to guess.
        true => MACHINE[2..].contains(&spec.param),
        false => !OTHERS.contains(&spec.param),
    })
}

fn arg(spec: &'static Spec) -> Arg {
    let name = spec.flags[0];
    let mut arg = Arg::new(name)
        .long(name)
        .visible_aliases(spec.flags.get(1).copied())
        .aliases(spec.flags.iter().skip(2).copied())
        .allow_hyphen_values(true)
        .value_name(match spec.domain {
            Domain::Word(_) | Domain::Date => spec.value_name,
            Domain::Text | Domain::Texts => "TEXT",
            Domain::Biases => "BIAS",
            _ => "NUMBER",
        })
        .value_parser(|word: &str| {
            let parsed = spec.parse_flag(word);
            parsed.map_err(|allowed| format!("it must be {allowed}"))
        })
        .help(help(spec));
    if spec.letter != ' ' {
        arg = arg.short(spec.letter);
    }
    if matches!(spec.domain, Domain::Texts | Domain::Biases) {
        arg = arg.action(ArgAction::Append);
    }
    let is_run_c_s = matches!(spec.domain, Domain::Number { adjusted: true, .. });
    match (spec.defaults, spec.domain) {
        _ if MACHINE.contains(&spec.param) => arg.help_heading("Machine"),
        (Defaults::Sampler(_), _) if is_run_c_s => arg,
        (Defaults::Sampler(_), _) | (_, Domain::Texts | Domain::Biases) => {
            arg.help_heading("Sampling (llama.cpp's samplers, in its order)")
        }
        _ => arg,
    }
}

/// Help text: the row's sentence, and the default.
fn help(spec: &Spec) -> String {
    let help = spec.help.trim_end_matches('.');
    match (spec.param, spec.defaults) {
        (Param::Steps, _) => format!(
            "{help}. In a GGUF model's chat: maximum tokens per answer [default: 256, bundled \
             model 512; there 1024]"
        ),
        (Param::LogitBias, _) => {
            format!("{help}: TOKEN=NUMBER; may be given several times")
        }
        (Param::Stop, _) => format!("{help}; may be given several times"),
        (_, Defaults::Sampler(defaults)) if defaults.run_c != defaults.llama_cpp => format!(
            "{help} [default: {}; in a GGUF model's chat {}]",
            defaults.run_c, defaults.llama_cpp
        ),
        (_, Defaults::Sampler(defaults)) => format!("{help} [default: {}]", defaults.run_c),
        _ => match spec.note.strip_prefix("Default: ") {
            Some(default) => format!("{help} [default: {}]", default.trim_end_matches('.')),
            None => help.into(),
        },
    }
}

impl<const MACHINE_ONLY: bool> clap::Args for Flags<MACHINE_ONLY> {
    fn augment_args(command: Command) -> Command {
        command.args(rows(MACHINE_ONLY).map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const MACHINE_ONLY: bool> FromArgMatches for Flags<MACHINE_ONLY> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Flags(Overrides::default());
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for spec in rows(MACHINE_ONLY) {
            let values = matches.get_many::<ParamValue>(spec.flags[0]);
            for value in values.into_iter().flatten() {
                self.0.add(spec.param, value.clone()).map_err(|most| {
                    let sentence = format!("--{} is given more than {most} times\n", spec.flags[0]);
                    clap::Error::raw(ErrorKind::TooManyValues, sentence)
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Args;
    use llama2_settings::flags::{CommandLine, parse};

    use super::*;

    /// The command accepts the same flags as the UEFI Shell, with the same results.
    #[test]
    fn both_shells_read_the_same() {
        let command = || Flags::<false>::augment_args(Command::new("llama2"));
        for spec in rows(false) {
            let words = match spec.domain {
                Domain::Number { least, most, .. } => vec![least.to_string(), most.to_string()],
                Domain::Whole { least, .. } => vec![least.to_string(), i64::MAX.to_string()],
                Domain::Seed => vec![u64::MAX.to_string(), "-1".into()],
                Domain::Word(words) => words.iter().map(|word| word.to_uppercase()).collect(),
                Domain::Biases => vec!["7=-1.5".into()],
                _ => vec!["-a b".into()],
            };
            let words = words
                .into_iter()
                .chain(["x".into(), "nan".into(), "".into()]);
            for word in words {
                let flag = format!("--{}", spec.flags[0]);
                let host = command()
                    .try_get_matches_from(["llama2", &flag, &word])
                    .and_then(|matches| Flags::<false>::from_arg_matches(&matches));
                let shell = parse(&[&flag, &word]);
                match (host, shell) {
                    (Ok(host), Ok(CommandLine::Run(shell))) => {
                        // A number may be NaN.
                        assert_eq!(format!("{:?}", host.0), format!("{shell:?}"));
                    }
                    (Err(_), Err(_)) => (),
                    (_, shell) => panic!("{flag} {word}: {shell:?}"),
                }
            }
        }
    }
}
