//! Reading a line: keys into the editor, the editor onto the console, until Return.

use alloc::{format, string::String, vec::Vec};

use llama2_console::{
    commands::Values,
    complete::{Completed, Names, columns, complete, values},
    editor::{Editor, EditorEvent},
    front::{Bottom, Style},
    keys::Key,
    view::Prompt,
};

use crate::{
    platform::{Console, Platform},
    service::{Beside, Turn},
};

/// Milliseconds between two looks at the keys.
const REST: u64 = 10;

/// What stands before a line.
pub const PROMPT: Prompt<'static> = Prompt {
    first: "> ",
    more: ". ",
};

/// Waits for a key; those that were kept come first.
pub fn wait(console: &mut dyn Console) -> Key {
    loop {
        if let Some(key) = console.key() {
            return key;
        }
        console.flush();
        console.rest(REST);
    }
}

/// Reads a line; `None` if whoever types wants to leave. `beside` goes on meanwhile.
pub fn read_line(
    editor: &mut Editor,
    console: &mut dyn Console,
    platform: &mut dyn Platform,
    beside: &mut Beside<'_, '_, '_>,
) -> Option<String> {
    let mut redraw = true;
    loop {
        let Some(key) = console.key() else {
            // One picture for all the keys that came.
            if core::mem::take(&mut redraw) {
                let search = editor.searched().map(|part| format!("(search: {part}) "));
                let prompt = Prompt {
                    first: search.as_deref().unwrap_or(PROMPT.first),
                    ..PROMPT
                };
                console.bottom(Bottom::Line {
                    prompt,
                    text: editor.text(),
                    cursor: editor.cursor(),
                });
                console.flush();
            }
            match beside.turn() {
                Turn::Busy | Turn::Active => console.rest(0),
                Turn::Over => platform.rest_cores(),
                Turn::Idle => console.rest(REST),
            }
            if let Some(note) = beside.note(platform.clock()()) {
                console.serving(&note);
                console.flush();
            }
            continue;
        };
        redraw = true;
        let was_empty = editor.text().is_empty();
        match editor.press(key) {
            EditorEvent::Nothing | EditorEvent::Redraw => (),
            EditorEvent::Refused => console.bell(),
            EditorEvent::ClearScreen => console.clear(),
            EditorEvent::NotMine(key) => {
                console.scroll(key);
            }
            EditorEvent::Interrupted => {
                let said = match was_empty {
                    true => "(/exit or Ctrl-D leaves)\n",
                    false => "(Ctrl-Y brings the line back)\n",
                };
                console.show(Style::Info, said);
            }
            EditorEvent::EndOfInput => {
                console.bottom(Bottom::Nothing);
                return None;
            }
            EditorEvent::CompleteWanted => complete_word(editor, console, platform),
            EditorEvent::Submitted(line) => {
                console.bottom(Bottom::Line {
                    prompt: PROMPT,
                    text: &line,
                    cursor: line.len(),
                });
                console.keep_line();
                console.flush();
                return Some(line);
            }
        }
    }
}

/// Tab.
fn complete_word(editor: &mut Editor, console: &mut dyn Console, platform: &mut dyn Platform) {
    let before = &editor.text()[..editor.cursor()];
    // Looking for them takes time on a machine with slow drives.
    let (mut models, mut conversations) = (Vec::new(), Vec::new());
    match values(before) {
        Values::Models => models.extend(platform.models().into_iter().map(|model| model.name)),
        Values::Conversations => conversations = platform.conversations().unwrap_or_default(),
        _ => (),
    }
    let names = Names {
        models: &models,
        conversations: &conversations,
    };
    match complete(before, names, platform.place()).apply(editor) {
        Completed::Nothing => console.bell(),
        Completed::Redraw => (),
        Completed::Choices(words) => {
            console.lay_out(Style::Info, &|width| columns(&words, width));
        }
    }
}

/// Asks a question to be answered with y or n; whatever is not yes is no.
pub fn confirm(question: &str, console: &mut dyn Console) -> bool {
    let prompt = Prompt {
        first: question,
        more: "",
    };
    let show = |text: &str, console: &mut dyn Console| {
        console.bottom(Bottom::Line {
            prompt,
            text,
            cursor: text.len(),
        });
    };
    show("", console);
    let yes = loop {
        match wait(console) {
            Key::Char('y' | 'Y') => break true,
            Key::Char('n' | 'N') | Key::Enter | Key::Escape | Key::Ctrl('c' | 'd') => break false,
            _ => console.bell(),
        }
    };
    show(if yes { "yes" } else { "no" }, console);
    console.keep_line();
    console.flush();
    yes
}
