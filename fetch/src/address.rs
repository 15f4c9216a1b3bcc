//! Names that users give: a row of the catalogue, a file on the hub, an address.

use std::fmt;

use crate::{
    catalogue::{CATALOGUE, Item, Origin, Wheel},
    digest::Stated,
    error::Error,
    lock, stated,
};

/// Place of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Address {
    Wheel(Wheel),
    Hub {
        /// OWNER/REPOSITORY.
        repository: String,
        /// Path in it.
        path: String,
    },
    Url(String),
}

/// As `models.lock` and messages have it, whatever mirror is used.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Wheel(wheel) => write!(f, "pip:{}=={}", wheel.package, wheel.version),
            Address::Hub { repository, path } => write!(f, "hf:{repository}/{path}"),
            Address::Url(url) => f.write_str(url),
        }
    }
}

/// File to fetch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub address: Address,
    /// Name of the local file.
    pub name: String,
    pub stated: Stated,
}

/// Files that belong together.
#[derive(Debug, PartialEq)]
pub(crate) struct Wish {
    /// The model; a split one has several parts.
    pub model: Vec<Wanted>,
    pub tokenizer: Option<Wanted>,
}

/// Reads what the user named. Pages of the hub at `endpoint` are files on the hub, too.
pub(crate) fn read(word: &str, endpoint: &str) -> Result<Wish, Error> {
    if let Some(row) = CATALOGUE
        .iter()
        .find(|row| row.name.eq_ignore_ascii_case(word))
    {
        return Ok(Wish {
            model: vec![item(&row.model)],
            tokenizer: row.tokenizer.as_ref().map(item),
        });
    }
    let (place, fragment) = word.split_once('#').unwrap_or((word, ""));
    let mut stated = Stated::default();
    if !fragment.is_empty() {
        let sum = fragment
            .strip_prefix("sha256=")
            .and_then(|sum| sum.parse().ok());
        stated.sha256 = Some(sum.ok_or_else(|| {
            Error::Failed(format!(
                "{word}: after # comes sha256= and 64 hexadecimal digits"
            ))
        })?);
    }
    let address = if let Some(path) = place.strip_prefix("hf:") {
        hub(path).ok_or_else(|| {
            Error::Failed(format!(
                "{word}: a file on the hub is hf:OWNER/REPOSITORY/FILE, of letters, digits and \
                 .-_+=, such as hf:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf"
            ))
        })?
    } else if let Some(page) = page(place, endpoint) {
        page
    } else if place.starts_with("https://") || place.starts_with("http://") {
        if place.starts_with("http://") && stated.sha256.is_none() {
            return Err(Error::Failed(format!(
                "{word}: anybody on the way can change what comes over http: use https, or add \
                 #sha256=DIGEST"
            )));
        }
        Address::Url(place.into())
    } else {
        return Err(Error::Failed(format!(
            "{word}: no model of this name; --list shows those that have one, others are \
             hf:OWNER/REPOSITORY/FILE or an address"
        )));
    };
    let path = match &address {
        Address::Hub { path, .. } => path,
        _ => place.split('?').next().unwrap_or(place),
    };
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    let small = name.to_ascii_lowercase();
    if small == lock::NAME || [".part", ".pip"].iter().any(|end| small.ends_with(end)) {
        return Err(Error::Failed(format!(
            "{word}: {} and names ending in .part or .pip are those of fetching's own files",
            lock::NAME
        )));
    }
    if !is_name(&name) {
        return Err(Error::Failed(format!(
            "{word}: an address must end in the name of a file, of letters, digits and .-_+="
        )));
    }
    let whole = Wanted {
        address,
        name,
        stated,
    };
    Ok(Wish {
        model: parts(whole),
        tokenizer: None,
    })
}

fn item(item: &Item) -> Wanted {
    let address = match item.origin {
        Origin::Wheel(wheel) => Address::Wheel(wheel),
        Origin::Url(url) => Address::Url(url.into()),
        Origin::Hub(path) => {
            let at = path.match_indices('/').nth(1).map_or(0, |(at, _)| at);
            Address::Hub {
                repository: path[..at].into(),
                path: path[at + 1..].into(),
            }
        }
    };
    Wanted {
        address,
        name: item.name.into(),
        stated: stated(item),
    }
}

/// Characters that mean the same in names of files, on the hub and in addresses.
fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+=".contains(c);
    !name.is_empty() && name.chars().all(is_plain) && !name.chars().all(|c| c == '.')
}

/// File from OWNER/REPOSITORY/PATH.
fn hub(text: &str) -> Option<Address> {
    let mut words = text.splitn(3, '/');
    let (owner, name, path) = (words.next()?, words.next()?, words.next()?);
    let is_sound = [owner, name]
        .into_iter()
        .chain(path.split('/'))
        .all(is_name);
    is_sound.then(|| Address::Hub {
        repository: format!("{owner}/{name}"),
        path: path.into(),
    })
}

/// File whose page or download link on the hub is named.
fn page(place: &str, endpoint: &str) -> Option<Address> {
    let rest = place.strip_prefix(endpoint)?.strip_prefix('/')?;
    let rest = rest.split('?').next()?;
    let words = ["/resolve/main/", "/blob/main/"];
    let (repository, path) = words.iter().find_map(|word| rest.split_once(word))?;
    hub(&format!("{repository}/{path}"))
}

/// All parts of a split model: NAME-00001-of-00003.gguf and its siblings.
fn parts(whole: Wanted) -> Vec<Wanted> {
    let Some((begin, count)) = split(&whole.name) else {
        return vec![whole];
    };
    let named = (1..=count).map(|number| {
        let name = format!("{begin}-{number:05}-of-{count:05}.gguf");
        let renamed = |text: &str| text.replace(&whole.name, &name);
        let address = match &whole.address {
            Address::Hub { repository, path } => Address::Hub {
                repository: repository.clone(),
                path: renamed(path),
            },
            Address::Url(url) => Address::Url(renamed(url)),
            Address::Wheel(wheel) => Address::Wheel(*wheel),
        };
        // A digest is that of the part that was named.
        let is_named = name == whole.name;
        let stated = if is_named {
            whole.stated
        } else {
            Stated::default()
        };
        Wanted {
            address,
            name,
            stated,
        }
    });
    named.collect()
}

/// Beginning of a part's name, and number of parts.
fn split(name: &str) -> Option<(&str, u32)> {
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (begin, number) = rest.rsplit_once('-')?;
    let read = |text: &str| text.parse::<u32>().ok().filter(|_| text.len() == 5);
    let count = read(count).filter(|count| (2..=999).contains(count))?;
    read(number).filter(|number| (1..=count).contains(number))?;
    Some((begin, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUB: &str = "https://huggingface.co";

    fn names(word: &str) -> Vec<String> {
        let wish = read(word, HUB).unwrap();
        wish.model
            .iter()
            .map(|wanted| wanted.address.to_string())
            .collect()
    }

    #[test]
    fn three_ways_to_name_a_file() {
        let wish = read("Stories15m", HUB).unwrap();
        assert_eq!(
            wish.model[0].address.to_string(),
            "hf:karpathy/tinyllamas/stories15M.bin"
        );
        assert_eq!(wish.tokenizer.unwrap().name, "tokenizer.bin");
        let direct = names("hf:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf");
        assert_eq!(direct, ["hf:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf"]);
        for page in ["resolve", "blob"] {
            let page = format!("{HUB}/Qwen/Qwen3-0.6B-GGUF/{page}/main/Qwen3-0.6B-Q8_0.gguf");
            assert_eq!(names(&(page + "?download=true")), direct);
        }
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let wish = read(&format!("http://host:80/a/b.gguf?x=/1#sha256={sum}"), HUB).unwrap();
        let [wanted] = &wish.model[..] else {
            panic!("{wish:?}")
        };
        assert_eq!(wanted.name, "b.gguf");
        assert_eq!(
            wanted.address,
            Address::Url("http://host:80/a/b.gguf?x=/1".into())
        );
        assert_eq!(wanted.stated.sha256.unwrap().to_string(), sum);
    }

    #[test]
    fn all_parts_of_a_split_model() {
        let all = names("hf:a/b/sub/m-00002-of-00003.gguf");
        let want = [1, 2, 3].map(|number| format!("hf:a/b/sub/m-0000{number}-of-00003.gguf"));
        assert_eq!(all, want);
        for whole in [
            "m-00004-of-00003.gguf",
            "m-1-of-3.gguf",
            "m-00001-of-00001.gguf",
        ] {
            assert_eq!(names(&format!("hf:a/b/{whole}")).len(), 1, "{whole}");
        }
    }

    #[test]
    fn what_cannot_be_named_is_a_sentence() {
        for (word, says) in [
            ("hf:a/b", "hf:OWNER/REPOSITORY/FILE"),
            ("hf:a/b/../c", "hf:OWNER/REPOSITORY/FILE"),
            ("hf:a/b/c d", "hf:OWNER/REPOSITORY/FILE"),
            ("hf:a//c", "hf:OWNER/REPOSITORY/FILE"),
            ("https://host/", "must end in the name of a file"),
            ("https://host/..", "must end in the name of a file"),
            ("https://host/a%2Fb", "must end in the name of a file"),
            ("https://host/a#sha256=12", "64 hexadecimal digits"),
            ("http://host/a.gguf", "use https, or add #sha256="),
            ("hf:a/b/models.lock", "fetching's own files"),
            ("https://host/Models.Lock?x", "fetching's own files"),
            ("https://host/m.gguf.PART", "fetching's own files"),
            ("hf:a/b/sub/m.gguf.pip", "fetching's own files"),
            ("ftp://host/a.gguf", "no model of this name"),
            ("", "no model of this name"),
        ] {
            let said = read(word, HUB).unwrap_err().to_string();
            assert!(said.contains(says), "{word}: {said}");
        }
    }
}
