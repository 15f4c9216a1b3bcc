//! Rules of this project that can be checked in its source: widths, names, floors.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Widest line, in characters.
const WIDEST: usize = 100;

/// Crates whose types users and developers see; tools may name their types freely.
const CRATES: [&str; 11] = [
    "tensor", "jinja", "engine", "convert", "fetch", "settings", "console", "screen", "app", "cli",
    "efi",
];

/// Names that several public types may have: a crate or a format has one of each, and always
/// mentions its own name with it. Beside errors, these are what templates are made of.
const SHARED_NAMES: [&str; 5] = ["Error", "Source", "Template", "Text", "Value"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Finds files below `folder` that end in one of `endings`, except built and downloaded ones.
fn files(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let is_ours = !name.starts_with('.')
                && ![
                    "target",
                    "dist",
                    "fetched",
                    "corpus",
                    "artifacts",
                    "node_modules",
                ]
                .contains(&&name[..]);
            if is_ours {
                files(&path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

/// Source files below a folder: path in it, and text without unit tests.
fn sources(folder: &str) -> Vec<(String, String)> {
    let folder = root().join(folder);
    let mut found = Vec::new();
    files(&folder, &[".rs"], &mut found);
    found.sort();
    let texts = found.into_iter().map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let tests = [
            "#[cfg(test)]\nmod tests",
            "#[cfg(test)]\npub(crate) mod tests",
        ];
        let end = tests.iter().filter_map(|tests| text.find(tests)).min();
        let end = end.unwrap_or(text.len());
        let inside = path.strip_prefix(&folder).unwrap().display().to_string();
        (inside, text[..end].to_string())
    });
    texts
        .filter(|(path, _)| !path.ends_with("tests.rs"))
        .collect()
}

/// Removes the text between the first and the last quotation mark of a line, or up to its end if
/// the quotation continues on the next line.
fn without_quoted(line: &str) -> String {
    let Some(first) = line.find('"') else {
        return line.into();
    };
    let last = line.rfind('"').filter(|last| *last > first);
    let behind = last.map_or("", |last| &line[last..]);
    format!("{}{behind}", &line[..first])
}

/// Returns true for lines that may be wider: tables, links and quoted text.
fn may_be_wide(path: &Path, line: &str) -> bool {
    let trimmed = line.trim_start();
    let is_comment = trimmed.starts_with("//");
    line.contains("://")
        || match path.extension().and_then(|ending| ending.to_str()) {
            Some("md") => trimmed.starts_with('|'),
            Some("rs") if is_comment => {
                trimmed.trim_start_matches(['/', '!', ' ']).starts_with('|')
            }
            _ => without_quoted(line).chars().count() <= WIDEST,
        }
}

#[test]
fn no_line_is_wider_than_a_hundred() {
    let mut found = Vec::new();
    files(&root(), &[".rs", ".md", ".toml"], &mut found);
    assert!(found.len() > 200, "{} files", found.len());
    let mut wide = Vec::new();
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        let mut is_code = false;
        for (number, line) in text.lines().enumerate() {
            // Commands in Markdown cannot be broken.
            is_code ^= path.extension().is_some_and(|e| e == "md") && line.starts_with("```");
            if is_code {
                continue;
            }
            if line.chars().count() > WIDEST && !may_be_wide(&path, line) {
                wide.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(wide.is_empty(), "wider than {WIDEST}:\n{}", wide.join("\n"));
}

#[test]
fn no_documentation_holds_a_program() {
    let mut found = Vec::new();
    files(&root(), &[".rs"], &mut found);
    let mut programs = Vec::new();
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        let comments = text.lines().map(str::trim_start).filter_map(|line| {
            let comment = line.strip_prefix("//!").or(line.strip_prefix("///"))?;
            comment.trim_start().strip_prefix("```")
        });
        // The first of each pair of fences says what is between them.
        programs.extend(
            comments
                .step_by(2)
                .filter(|language| *language != "text")
                .map(|language| format!("{}: ```{language}", path.display())),
        );
    }
    assert!(
        programs.is_empty(),
        "no test runs:\n{}",
        programs.join("\n")
    );
}

#[test]
fn only_arch_asks_which_processor_it_is_built_for() {
    let mut found = Vec::new();
    files(&root(), &[".rs"], &mut found);
    let asks = format!("target_{}", "arch");
    let is_elsewhere = |path: &PathBuf| {
        let inside = path.strip_prefix(root()).unwrap();
        let inside_arch = inside.components().any(|part| part.as_os_str() == "arch");
        !inside_arch && fs::read_to_string(path).unwrap().contains(&asks)
    };
    found.retain(is_elsewhere);
    assert!(found.is_empty(), "{asks} outside of arch/: {found:#?}");
}

#[test]
fn one_word_one_public_type() {
    let mut homes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for krate in CRATES {
        for (path, text) in sources(&format!("{krate}/src")) {
            for line in text.lines().map(str::trim_start) {
                let Some(rest) = line.strip_prefix("pub ") else {
                    continue;
                };
                let rest = rest.strip_prefix("unsafe ").unwrap_or(rest);
                let kind = ["struct ", "enum ", "trait ", "type ", "union "];
                if let Some(rest) = kind.iter().find_map(|kind| rest.strip_prefix(kind)) {
                    let name = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap();
                    // One that a file has twice is another on another system; so is one that
                    // several architectures have.
                    let home = format!("{krate}/src/{path}");
                    let home = match home.split_once("/arch/") {
                        Some((folder, _)) => format!("{folder}/arch"),
                        None => home,
                    };
                    homes.entry(name.into()).or_default().insert(home);
                }
            }
        }
    }
    assert!(homes.len() > 150, "{} types", homes.len());
    homes.retain(|name, homes| homes.len() > 1 && !SHARED_NAMES.contains(&&name[..]));
    assert!(homes.is_empty(), "one name for several types: {homes:#?}");
}

/// Modules that `text` uses by paths that begin with `prefix`.
fn uses(text: &str, prefix: &str) -> BTreeSet<String> {
    let code: Vec<&str> = text
        .lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let word = |text: &str| -> String {
        let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
        text.trim_start().chars().take_while(is_word).collect()
    };
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        if !rest.starts_with('{') {
            found.insert(word(rest));
            continue;
        }
        // Parts at the first level of braces.
        let (mut depth, mut start) = (0, 1);
        for (i, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => (),
            }
            if c == ',' && depth == 1 || depth == 0 {
                found.insert(word(&rest[start..i]));
                start = i + 1;
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

/// Modules in a folder, each with those that it uses.
fn graph(folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let (_, inside) = folder.split_once("/src").unwrap();
    let prefix = format!("crate{}::", inside.replace('/', "::"));
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources(folder) {
        let first = path.split('/').next().unwrap();
        let module = first.strip_suffix(".rs").unwrap_or(first);
        if ["lib", "main", "mod"].contains(&module) {
            continue;
        }
        let mut used = uses(&text, &prefix);
        if !path.contains('/') || path == format!("{module}/mod.rs") {
            used.extend(uses(&text, "super::"));
        }
        graph.entry(module.into()).or_default().extend(used);
    }
    let modules: BTreeSet<String> = graph.keys().cloned().collect();
    for (module, used) in &mut graph {
        used.retain(|name| name != module && modules.contains(name));
    }
    graph
}

/// Folders of a crate's source, its own first.
fn folders(krate: &str) -> BTreeSet<String> {
    let paths = sources(&format!("{krate}/src"));
    let inside = paths.iter().filter_map(|(path, _)| path.rsplit_once('/'));
    let inside = inside.map(|(folder, _)| format!("{krate}/src/{folder}"));
    inside.chain([format!("{krate}/src")]).collect()
}

#[test]
fn modules_use_only_those_below_them() {
    let tools = ["xtask", "checks", "boot-tests", "bench-compare"];
    let all: Vec<String> = CRATES
        .iter()
        .chain(&tools)
        .flat_map(|krate| folders(krate))
        .collect();
    assert!(all.len() > 20, "{all:?}");
    for folder in all {
        let mut graph = graph(&folder);
        // Removes the lowest floor, again and again: the remainder is circular.
        while let Some(lowest) = graph
            .iter()
            .find(|(_, used)| used.is_empty())
            .map(|(module, _)| module.clone())
        {
            graph.remove(&lowest);
            graph.values_mut().for_each(|used| {
                used.remove(&lowest);
            });
        }
        assert!(graph.is_empty(), "{folder}: in circles: {graph:#?}");
    }
}

/// Floors of a crate, each preceded by a comment in its `lib.rs`: its modules, the lowest first.
fn floors(krate: &str) -> Vec<Vec<String>> {
    let lib = fs::read_to_string(root().join(krate).join("src/lib.rs")).unwrap();
    let mut floors = Vec::new();
    for line in lib.lines() {
        if line.starts_with("// ") {
            floors.push(Vec::new());
        }
        let line = line.strip_prefix("pub ").unwrap_or(line);
        if let (Some(name), Some(floor)) = (line.strip_prefix("mod "), floors.last_mut()) {
            floor.push(name.trim_end_matches(';').to_string());
        }
    }
    floors
}

#[test]
fn the_engine_s_modules_use_only_floors_below_them() {
    let floors = floors("engine");
    assert!(floors.len() > 3, "{floors:?}");
    let floor = |name: &String| floors.iter().position(|floor| floor.contains(name));
    for (module, used) in graph("engine/src") {
        assert!(floor(&module).is_some(), "{module} is on no floor");
        for below in used {
            assert!(
                floor(&below) <= floor(&module),
                "{module} uses {below}, which is above it"
            );
        }
    }
}

/// Crates of the project, each with those that it may depend on: the floors of ARCHITECTURE.md.
const FLOORS: [(&str, &[&str]); 16] = [
    ("tensor", &[]),
    ("jinja", &[]),
    ("settings", &[]),
    ("engine", &["tensor", "jinja", "settings"]),
    ("convert", &["engine"]),
    ("fetch", &[]),
    ("console", &["settings"]),
    ("screen", &["console"]),
    ("app", &["console", "engine", "settings"]),
    (
        "cli",
        &["console", "convert", "engine", "fetch", "settings", "app"],
    ),
    ("efi", &["console", "engine", "screen", "settings", "app"]),
    ("testing", &["convert", "engine"]),
    ("xtask", &["console", "engine", "fetch", "settings", "app"]),
    ("boot-tests", &["engine", "testing", "xtask"]),
    ("bench-compare", &["engine", "xtask"]),
    ("checks", &["boot-tests", "xtask"]),
];

#[test]
fn crates_depend_on_floors_below_them() {
    for (krate, below) in FLOORS {
        let manifest = fs::read_to_string(root().join(krate).join("Cargo.toml")).unwrap();
        let (manifest, _) = manifest
            .split_once("[dev-dependencies]")
            .unwrap_or((&manifest, ""));
        for line in manifest.lines() {
            let name = line.split(['.', ' ']).next().unwrap_or_default();
            let name = name.strip_prefix("llama2-").unwrap_or(name);
            let is_ours =
                FLOORS.iter().any(|(ours, _)| *ours == name) && line.contains("workspace");
            assert!(
                !is_ours || below.contains(&name),
                "{krate} depends on {name}"
            );
        }
    }
}

/// Paths between backticks, such as `engine/src/session.rs`, of files or folders of the project.
fn paths(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_path = |word: &&str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
        let top = word.split('/').next().unwrap_or_default();
        !word.starts_with('/')
            && word.contains('/')
            && word.chars().all(is_plain)
            && root().join(top).is_dir()
    };
    quoted.filter(is_path).collect()
}

#[test]
fn paths_in_the_handbook_exist() {
    let mut found = Vec::new();
    files(&root().join("docs"), &[".md"], &mut found);
    found.extend(["ARCHITECTURE.md", "README.md", "SECURITY.md"].map(|name| root().join(name)));
    let mut count = 0;
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        for named in paths(&text) {
            let is_built = [
                "target/",
                "models/fetched",
                "fuzz/artifacts",
                "fuzz/corpus",
                "fuzz/regressions/TARGET",
            ]
            .iter()
            .any(|made| named.starts_with(made));
            // Builds, fuzzers and downloads make theirs.
            let exists = is_built || root().join(named).exists();
            assert!(
                exists,
                "{} names {named}, which is not there",
                path.display()
            );
            count += 1;
        }
    }
    assert!(count > 20, "{count} paths");
}
