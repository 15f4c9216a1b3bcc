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
pub struct ListedFile {
    /// The folder, as in [`FOLDERS`].
    pub folder: &'static str,
    /// The name as the volume has it.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

impl ListedFile {
    /// Folder and name.
    pub fn path(&self) -> String {
        format!("{}{}", self.folder, self.name)
    }
}

/// Tells whether a file of this name is taken for a model, of a split one for its first part.
pub fn is_model(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name == "MODEL.BIN"
        || (name.starts_with("STORIES") && name.ends_with(".BIN"))
        || (name.ends_with(".GGUF") && PartName::of(&name).is_none_or(|part| part.number == 1))
}

/// The models among a volume's files, the first the one that is taken if nobody says another:
/// `STORIES*.BIN` by name, `MODEL.BIN`, then `*.GGUF`, the root before `\MODELS`.
pub fn models(entries: &[ListedFile]) -> Vec<&ListedFile> {
    let rank = |entry: &ListedFile| {
        let folder = FOLDERS.iter().position(|&folder| folder == entry.folder);
        let name = entry.name.to_ascii_uppercase();
        let kind = match () {
            () if name.ends_with(".GGUF") => 2,
            () if name == "MODEL.BIN" => 1,
            () => 0,
        };
        (folder, kind, name)
    };
    let mut models: Vec<&ListedFile> = entries
        .iter()
        .filter(|entry| is_model(&entry.name))
        .collect();
    models.sort_by_key(|entry| rank(entry));
    models
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

    fn entry(path: &str) -> ListedFile {
        let folder = FOLDERS
            .into_iter()
            .rev()
            .find(|folder| path.starts_with(folder))
            .unwrap();
        ListedFile {
            folder,
            name: path[folder.len()..].into(),
            size: 1,
        }
    }

    fn order(paths: &[&str]) -> Vec<String> {
        let entries: Vec<ListedFile> = paths.iter().map(|path| entry(path)).collect();
        models(&entries).into_iter().map(ListedFile::path).collect()
    }

    #[test]
    fn the_root_comes_first_and_stories_before_model() {
        for (files, models) in [
            (
                &["\\LLAMA2.CFG", "\\TOKENIZER.BIN", "\\NOTES.TXT"][..],
                &[][..],
            ),
            (
                &["\\MODELS\\stories15M.bin", "\\model.bin", "\\TOKEN.BIN"],
                &["\\model.bin", "\\MODELS\\stories15M.bin"],
            ),
            (
                &["\\MODEL.BIN", "\\stories42M.bin", "\\STORIES.BIN"],
                &["\\STORIES.BIN", "\\stories42M.bin", "\\MODEL.BIN"],
            ),
            (
                &["\\b.gguf", "\\A.GGUF", "\\MODELS\\MODEL.BIN"],
                &["\\A.GGUF", "\\b.gguf", "\\MODELS\\MODEL.BIN"],
            ),
            // Of a split model the first part stands for all.
            (
                &[
                    "\\b-00001-of-00002.gguf",
                    "\\a-00002-of-00002.gguf",
                    "\\b-00002-of-00002.gguf",
                ],
                &["\\b-00001-of-00002.gguf"],
            ),
            (&["\\a.gguf", "\\MODEL.BIN"], &["\\MODEL.BIN", "\\a.gguf"]),
            (&["\\STORIES.TXT", "\\MYSTORIES.BIN"], &[]),
        ] {
            assert_eq!(order(files), models);
        }
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
