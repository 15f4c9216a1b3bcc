//! The command that `llama2` and `cargo xtask` share.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    address::{self, Wish},
    catalogue::{CATALOGUE, Origin},
    client::Client,
    digest::size,
    download::{self, Observer},
    error::Error,
};

/// Arguments of `fetch`.
#[derive(clap::Args)]
pub struct FetchArgs {
    /// Models: names of --list, hf:OWNER/REPOSITORY/FILE on the Hugging Face hub, or https
    /// addresses, after which #sha256=DIGEST may follow
    #[arg(required_unless_present = "list", value_name = "MODEL")]
    pub models: Vec<String>,

    /// Folder to put them in [default: the folder in LLAMA2_MODELS, else llama2/models in the
    /// user's data]
    #[arg(short, long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,

    /// List models for machines of 1 to 16 GiB
    #[arg(short, long)]
    pub list: bool,
}

/// Model that was fetched.
#[derive(Debug, PartialEq)]
pub struct Fetched {
    /// Its file, or the first part of a split one.
    pub model: PathBuf,
    /// Its tokenizer, if that is a file of its own.
    pub tokenizer: Option<PathBuf>,
}

impl FetchArgs {
    /// Fetches all models into a folder, one after another.
    ///
    /// # Errors
    /// The first one that cannot be fetched, in a sentence.
    pub fn fetch(&self, folder: &Path, observer: &dyn Observer) -> Result<Vec<Fetched>, Error> {
        let client = Client::from_environment();
        let read = |word: &String| address::read(word, &client.endpoint);
        // All names are read before anything is fetched.
        let wishes: Result<Vec<Wish>, Error> = self.models.iter().map(read).collect();
        let wishes = wishes?;
        fs::create_dir_all(folder).map_err(|error| Error::file(folder, &error))?;
        let wishes = wishes.iter();
        wishes
            .map(|wish| fetch(&client, wish, folder, observer))
            .collect()
    }
}

pub(crate) fn fetch(
    client: &Client,
    wish: &Wish,
    folder: &Path,
    observer: &dyn Observer,
) -> Result<Fetched, Error> {
    let get = |wanted| download::fetch(client, wanted, folder, observer);
    let paths: Result<Vec<PathBuf>, Error> = wish.model.iter().map(get).collect();
    Ok(Fetched {
        model: paths?.swap_remove(0),
        tokenizer: wish.tokenizer.as_ref().map(get).transpose()?,
    })
}

/// The catalogue as a table of text.
pub fn list() -> String {
    let mut text = String::from("name            machine  download  licence     what\n");
    for row in &CATALOGUE {
        let (memory, bytes) = (format!("{} GiB", row.memory), size(row.model.size));
        let _ = writeln!(
            text,
            "{:<14} {memory:>8} {bytes:>9}  {:<10}  {}",
            row.name, row.licence, row.about
        );
    }
    text += "\nFrom their makers' repositories on the Hugging Face hub:\n";
    for row in &CATALOGUE {
        if let Origin::Hub(path) = row.model.origin {
            let _ = writeln!(text, "{:<14} hf:{path}", row.name);
        }
    }
    text += "\nA machine's memory has to hold the model, its context and the system; sizes are \
             approximate.\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_a_table() {
        let text = list();
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
        for words in [
            "smollm2-135m      1 GiB     98 MB  Apache-2.0  SmolLM2",
            "qwen3-14b        16 GiB    9.0 GB",
            "qwen3-8b       hf:Qwen/Qwen3-8B-GGUF/Qwen3-8B-Q4_K_M.gguf\n",
        ] {
            assert!(text.contains(words), "{words}:\n{text}");
        }
        assert!(!text.contains("smollm2-135m   hf:"));
    }
}
