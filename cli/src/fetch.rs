//! `llama2 fetch`, and the models that `llama2 chat --get` fetches.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
};

use indicatif::ProgressFinish;
use llama2_fetch::{FetchArgs, Fetched, Observer, folder_or, list};

use crate::{
    args::ChatArgs,
    failure::{Failure, name, say},
    plain,
    progress::{self, Unit},
};

/// Largest file on FAT32, in bytes.
const LARGEST_ON_FAT: u64 = u32::MAX as u64;

/// Standard error.
struct StandardError {
    /// Shows progress only.
    is_quiet: bool,
}

impl Observer for StandardError {
    fn say(&self, sentence: &str) {
        if !self.is_quiet {
            say(sentence);
        }
    }

    fn begin(&self, name: &str, total: u64) -> Box<dyn FnMut(u64)> {
        let bar = progress::of("fetching", Path::new(name), total, Unit::Bytes);
        let bar = bar.with_finish(ProgressFinish::AndClear);
        Box::new(move |done| bar.set_position(done))
    }
}

/// The user's folder for models: that of the XDG Base Directory Specification for data, on Windows
/// that of local application data.
fn own_folder() -> Option<PathBuf> {
    let folder = |name: &str| {
        let path = PathBuf::from(env::var_os(name)?);
        // By the specification a relative one is to be ignored.
        path.is_absolute().then_some(path)
    };
    let data = match cfg!(windows) {
        true => folder("LOCALAPPDATA"),
        false => folder("XDG_DATA_HOME").or_else(|| Some(folder("HOME")?.join(".local/share"))),
    };
    Some(data?.join("llama2").join("models"))
}

fn get(args: &FetchArgs, is_quiet: bool) -> Result<Vec<Fetched>, Failure> {
    let folder = args.output.clone().or_else(|| folder_or(own_folder));
    let folder = folder.ok_or_else(|| {
        Failure::Input("this user has no folder of their own; name one with -o".into())
    })?;
    let fetched = args.fetch(&folder, &StandardError { is_quiet });
    fetched.map_err(|error| Failure::Input(error.to_string()))
}

/// Runs `llama2 fetch`.
pub fn fetch(args: &FetchArgs) -> Result<(), Failure> {
    if args.list {
        let written = plain::stdout().write_all(list().as_bytes());
        return written.map_err(|error| Failure::output(&error));
    }
    for fetched in get(args, false)? {
        let model = name(&fetched.model);
        match fetched.tokenizer {
            Some(tokenizer) => say(format_args!(
                "run it: llama2 run {model} -z {}",
                name(&tokenizer)
            )),
            None => say(format_args!("chat with it: llama2 chat {model}")),
        }
        let size = fetched
            .model
            .metadata()
            .map_or(0, |metadata| metadata.len());
        if size > LARGEST_ON_FAT {
            say(format_args!(
                "for a stick with FAT32 it has to be split: llama2 split {model}"
            ));
        }
    }
    Ok(())
}

/// Fetches the model that `--get` names, if there is one, for the chat.
pub fn with_model(mut args: ChatArgs) -> Result<ChatArgs, Failure> {
    if let Some(model) = args.get.take() {
        let request = FetchArgs {
            models: vec![model],
            output: None,
            list: false,
        };
        let fetched = get(&request, args.quiet)?.pop();
        args.checkpoint = fetched.as_ref().map(|fetched| fetched.model.clone());
        args.tokenizer = args
            .tokenizer
            .or(fetched.and_then(|fetched| fetched.tokenizer));
    }
    Ok(args)
}
