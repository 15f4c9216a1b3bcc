//! The files of `firmware/` use each other in one direction: what is below knows nothing of what is
//! above it.

use std::{collections::BTreeMap, fs, path::Path};

/// The modules that a file names after `super::`.
fn used(text: &str) -> Vec<String> {
    let mut used = Vec::new();
    for rest in text.split("super::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            used.push(rest.to_owned());
            continue;
        };
        // Names at the first level of the braces.
        let (mut depth, mut fresh) = (0, true);
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => fresh = true,
                letter if fresh && !letter.is_whitespace() => {
                    used.push(list[at..].to_owned());
                    fresh = false;
                }
                _ => (),
            }
        }
    }
    let name = |text: &String| {
        let is_part = |letter: char| letter == '_' || letter.is_ascii_alphanumeric();
        text.split(|letter| !is_part(letter))
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    used.iter().map(name).collect()
}

/// A way from the last of `way` back to its first, if there is one.
fn circle(uses: &BTreeMap<String, Vec<String>>, way: &mut Vec<String>) -> bool {
    let last = way.last().and_then(|last| uses.get(last));
    for next in last.into_iter().flatten() {
        if *next == way[0] {
            return true;
        }
        if !way.contains(next) {
            way.push(next.clone());
            if circle(uses, way) {
                return true;
            }
            way.pop();
        }
    }
    false
}

#[test]
fn no_file_of_the_firmware_uses_itself_by_way_of_others() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/firmware");
    let mut uses = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // It holds the application's name; all else of it is a list.
        if name != "mod" {
            uses.insert(name, used(&fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(uses["app"].contains(&"terminal".into()) && uses.len() > 20);
    for file in uses.keys() {
        let mut way = vec![file.clone()];
        assert!(
            !circle(&uses, &mut way),
            "in a circle: {}",
            way.join(" -> ")
        );
    }
}
