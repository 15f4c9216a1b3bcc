//! Which of the files on a volume to run when nobody named one.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use llama2_engine::gguf::PartName;

/// Folders that are searched, in this order.
pub const FOLDERS: [&str; 2] = ["\\", "\\MODELS\\"];

/// A tokenizer's usual names, the second for volumes without long names.
pub const TOKENIZERS: [&str; 2] = ["TOKENIZER.BIN", "TOKEN.BIN"];

/// One file of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The folder, as in [`FOLDERS`].
    pub folder: &'static str,
    /// The name as the volume has it.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

impl Entry {
    /// Folder and name.
    pub fn path(&self) -> String {
        format!("{}{}", self.folder, self.name)
    }
}

/// What was chosen on one volume.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    /// The checkpoint.
    pub model: Entry,
    /// The tokenizer, if one was there.
    pub tokenizer: Option<Entry>,
    /// Other checkpoints that were there.
    pub others: Vec<String>,
}

fn is_model(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name == "MODEL.BIN"
        || (name.starts_with("STORIES") && name.ends_with(".BIN"))
        || (name.ends_with(".GGUF") && PartName::of(&name).is_none_or(|part| part.number == 1))
}

fn is_tokenizer(name: &str) -> bool {
    TOKENIZERS
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// The models among a volume's files, the first the one that is taken if nobody says another: `STORIES*.BIN` by name, `MODEL.BIN`, then `*.GGUF`,
/// the root before `\MODELS`.
pub fn models(entries: &[Entry]) -> Vec<&Entry> {
    let rank = |entry: &Entry| {
        let folder = FOLDERS.iter().position(|&folder| folder == entry.folder);
        let name = entry.name.to_ascii_uppercase();
        let kind = match () {
            () if name.ends_with(".GGUF") => 2,
            () if name == "MODEL.BIN" => 1,
            () => 0,
        };
        (folder, kind, name)
    };
    let mut models: Vec<&Entry> = entries
        .iter()
        .filter(|entry| is_model(&entry.name))
        .collect();
    models.sort_by_key(|entry| rank(entry));
    models
}

/// Chooses among a volume's files: the first of [`models`], with a tokenizer of the same folder if there is one.
pub fn choose(entries: &[Entry]) -> Option<Choice> {
    let models = models(entries);
    let (model, others) = models.split_first()?;
    let mut tokenizers: Vec<&Entry> = entries
        .iter()
        .filter(|entry| is_tokenizer(&entry.name))
        .collect();
    tokenizers.sort_by_key(|entry| {
        (
            entry.folder != model.folder,
            core::cmp::Reverse(entry.name.len()),
        )
    });
    Some(Choice {
        model: (*model).clone(),
        tokenizer: tokenizers.first().map(|&entry| entry.clone()),
        others: others.iter().map(|entry| entry.path()).collect(),
    })
}

/// A path as UEFI's file protocol wants it: backslashes, from the root.
pub fn normalise(path: &str) -> String {
    let path = path.trim().replace('/', "\\");
    // The Shell's `fs0:\name`: we search the volumes ourselves.
    let path = path
        .split_once(':')
        .map_or(path.as_str(), |(_, path)| path)
        .trim_start_matches('\\')
        .to_string();
    format!("\\{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> Entry {
        let folder = FOLDERS
            .into_iter()
            .rev()
            .find(|folder| path.starts_with(folder))
            .unwrap();
        Entry {
            folder,
            name: path[folder.len()..].into(),
            size: 1,
        }
    }

    fn choice(paths: &[&str]) -> Option<(String, Option<String>, Vec<String>)> {
        let entries: Vec<Entry> = paths.iter().map(|path| entry(path)).collect();
        choose(&entries).map(|c| (c.model.path(), c.tokenizer.map(|t| t.path()), c.others))
    }

    #[test]
    fn the_root_comes_first_and_stories_before_model() {
        assert_eq!(
            choice(&["\\LLAMA2.CFG", "\\TOKENIZER.BIN", "\\NOTES.TXT"]),
            None
        );
        let found = choice(&[
            "\\MODELS\\stories15M.bin",
            "\\model.bin",
            "\\MODELS\\Tokenizer.bin",
            "\\TOKEN.BIN",
        ])
        .unwrap();
        assert_eq!(
            found,
            (
                "\\model.bin".into(),
                Some("\\TOKEN.BIN".into()),
                vec!["\\MODELS\\stories15M.bin".into()]
            )
        );
        let found = choice(&[
            "\\MODEL.BIN",
            "\\stories42M.bin",
            "\\STORIES.BIN",
            "\\token.bin",
            "\\tokenizer.bin",
        ])
        .unwrap();
        assert_eq!(found.0, "\\STORIES.BIN");
        assert_eq!(found.1.as_deref(), Some("\\tokenizer.bin"));
        assert_eq!(found.2, ["\\stories42M.bin", "\\MODEL.BIN"]);
        let found = choice(&["\\b.gguf", "\\A.GGUF", "\\MODELS\\MODEL.BIN"]).unwrap();
        assert_eq!(found.0, "\\A.GGUF");
        assert_eq!(found.2, ["\\b.gguf", "\\MODELS\\MODEL.BIN"]);
        // Of a split model the first part stands for all.
        let found = choice(&[
            "\\b-00001-of-00002.gguf",
            "\\a-00002-of-00002.gguf",
            "\\b-00002-of-00002.gguf",
        ])
        .unwrap();
        assert_eq!(found.0, "\\b-00001-of-00002.gguf");
        assert!(found.2.is_empty());
        let found = choice(&["\\a.gguf", "\\MODEL.BIN"]).unwrap();
        assert_eq!(found.0, "\\MODEL.BIN");
        let found = choice(&["\\MODELS\\MODEL.BIN", "\\TOKENIZER.BIN"]).unwrap();
        assert_eq!(found.1.as_deref(), Some("\\TOKENIZER.BIN"));
        assert_eq!(
            choice(&["\\STORIES.TXT", "\\MYSTORIES.BIN", "\\TOKENIZER.BIN"]),
            None
        );
    }

    #[test]
    fn paths() {
        for path in [
            "models/a.bin",
            "\\models\\a.bin",
            "/models/a.bin",
            "fs0:\\models\\a.bin",
            " models\\a.bin ",
        ] {
            assert_eq!(normalise(path), "\\models\\a.bin");
        }
    }
}
