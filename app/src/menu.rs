//! Choosing a model from a list: with the arrow keys, or by waiting.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use llama2_console::{
    front::{Bottom, Menu, MenuRow},
    keys::Key,
};
use llama2_engine::units::Bytes;

use crate::platform::{Console, ModelEntry};

/// Milliseconds between two looks at the keys.
const REST: u64 = 10;
/// Rows that a page key moves.
const PAGE: usize = 10;

/// The rows of a menu of models.
pub fn rows<'o>(offers: impl IntoIterator<Item = &'o ModelEntry>) -> Vec<MenuRow> {
    let row = |offer: &ModelEntry| {
        let about = match &offer.trouble {
            Some(trouble) => trouble.clone(),
            None if offer.needs == 0 => String::new(),
            None => format!("needs {} of {} free", Bytes(offer.needs), Bytes(offer.free)),
        };
        MenuRow {
            cells: [
                offer.name.clone(),
                offer.kind.clone(),
                Bytes(offer.size).to_string(),
                about,
            ]
            .into(),
            grey: offer.trouble.is_some(),
        }
    };
    offers.into_iter().map(row).collect()
}

/// Shows a menu of models until one is chosen; `None` if none is to be. Those that cannot be taken
/// stand last, and cannot be selected. With a `countdown` in seconds the selected one, or the
/// first, is taken when nobody presses a key until then. Without any that can be taken, only Esc
/// helps.
pub fn choose(
    offers: &[ModelEntry],
    selected: usize,
    countdown: Option<u64>,
    clock: fn() -> u64,
    console: &mut dyn Console,
) -> Option<usize> {
    let mut order: Vec<usize> = (0..offers.len()).collect();
    order.sort_by_key(|&offer| offers[offer].trouble.is_some());
    let usable = offers
        .iter()
        .filter(|offer| offer.trouble.is_none())
        .count();
    let last = usable.saturating_sub(1);
    let place = order
        .iter()
        .take(usable)
        .position(|&offer| offer == selected);
    let mut menu = Menu {
        title: "Models".to_string(),
        rows: rows(order.iter().map(|&offer| &offers[offer])),
        selected: place.unwrap_or(0),
        note: String::new(),
    };
    let end = countdown.map(|seconds| clock() + seconds * 1_000_000);
    let mut waiting = end.filter(|_| usable > 0);
    let mut shown = None;
    let chosen = loop {
        let left = waiting.map(|end| end.saturating_sub(clock()).div_ceil(1_000_000));
        if left == Some(0) {
            break Some(menu.selected);
        }
        if shown != Some((left, menu.selected)) {
            shown = Some((left, menu.selected));
            let keys = "Up and Down choose, Return loads";
            menu.note = match left {
                Some(left) => format!("{keys}; loading this one in {left} s"),
                None if usable == 0 => "None of them can be loaded; Esc cancels".to_string(),
                None if countdown.is_some() => format!("{keys}, Esc loads the first"),
                None => format!("{keys}, Esc cancels"),
            };
            console.bottom(Bottom::Menu(&menu));
        }
        let Some(key) = console.key() else {
            console.flush();
            console.rest(REST);
            continue;
        };
        waiting = None;
        match key {
            Key::Up | Key::Ctrl('p') => menu.selected = menu.selected.saturating_sub(1),
            Key::Down | Key::Ctrl('n') | Key::Tab => menu.selected = (menu.selected + 1).min(last),
            Key::Home => menu.selected = 0,
            Key::End => menu.selected = last,
            Key::PageUp => menu.selected = menu.selected.saturating_sub(PAGE),
            Key::PageDown => menu.selected = (menu.selected + PAGE).min(last),
            Key::Char(digit @ '1'..='9') => {
                let row = digit as usize - '1' as usize;
                if row <= last {
                    menu.selected = row;
                }
            }
            Key::Enter if usable > 0 => break Some(menu.selected),
            Key::Escape | Key::Ctrl('c' | 'd') => break None,
            _ => console.bell(),
        }
    };
    console.bottom(Bottom::Nothing);
    console.flush();
    chosen.map(|row| order[row])
}

/// The model that a name means: its own name or path, whatever its case; else the only one that has
/// it in it.
///
/// # Errors
/// A sentence: none, or several.
pub fn named(offers: &[ModelEntry], name: &str) -> Result<usize, String> {
    let wanted = name.to_lowercase();
    let is = |text: &str| text.to_lowercase() == wanted;
    let exact = offers
        .iter()
        .position(|offer| is(&offer.name) || is(&offer.id));
    if let Some(exact) = exact {
        return Ok(exact);
    }
    // A file's name without its folder and its ending.
    let stem = |name: &str| {
        let file = name
            .rsplit(['/', '\\'])
            .next()
            .unwrap_or(name)
            .to_lowercase();
        file.rsplit_once('.')
            .map_or(file.clone(), |(stem, _)| stem.to_string())
    };
    let stems: Vec<usize> = (0..offers.len())
        .filter(|&i| stem(&offers[i].name) == wanted)
        .collect();
    if let [one] = stems[..] {
        return Ok(one);
    }
    let parts: Vec<usize> = (0..offers.len())
        .filter(|&i| offers[i].name.to_lowercase().contains(&wanted))
        .collect();
    match parts[..] {
        [one] => Ok(one),
        [] => {
            let all: Vec<&str> = offers.iter().map(|offer| offer.name.as_str()).collect();
            Err(format!(
                "there is no model \"{name}\"; available: {}",
                all.join(", ")
            ))
        }
        _ => {
            let some: Vec<&str> = parts.iter().map(|&i| offers[i].name.as_str()).collect();
            Err(format!(
                "\"{name}\" may be {}; give more of the name",
                some.join(" or ")
            ))
        }
    }
}
