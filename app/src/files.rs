//! `/save` and `/load`: a conversation as a file, and back.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use llama2_console::{
    complete::columns,
    conversation::{Conversation, LARGEST, Speaker},
    filename,
    front::Style,
};
use llama2_engine::{settings::Think, units::Quoted};

use crate::{prompt, session_loop::SessionLoop, settings};

impl SessionLoop<'_, '_, '_> {
    /// The names of the files, or `None` with the reason said.
    fn listed(&mut self) -> Option<Vec<String>> {
        match self.platform.conversations() {
            Ok(mut names) => {
                names.sort();
                Some(names)
            }
            Err(sentence) => {
                self.complain(&sentence);
                None
            }
        }
    }

    pub fn save(&mut self, name: Option<&str>) {
        if self.state.conversation.messages.is_empty() {
            return self.complain("there is nothing to save yet");
        }
        let Some(there) = self.listed() else { return };
        let file = match (name, &self.state.file) {
            (Some(name), _) => match filename::of(name) {
                Ok(file) => file,
                Err(sentence) => return self.complain(&sentence),
            },
            (None, Some(own)) => own.clone(),
            (None, None) => filename::next(there.iter().map(String::as_str)),
        };
        let is_own = |file: &str| {
            let own = self.state.file.as_deref();
            own.is_some_and(|own| filename::is_same(own, file))
        };
        let is_there = there.iter().any(|name| filename::is_same(name, &file));
        if is_there && !is_own(&file) {
            let question = format!("{file} already exists. Overwrite it? [y/N] ");
            if !prompt::confirm(&question, self.console) {
                return self.say("Nothing was written.");
            }
        }
        let mut conversation = self.state.conversation.clone();
        conversation.model = self.loaded.name.to_string();
        conversation.system.clone_from(&self.state.settings.system);
        conversation.settings = self.shown();
        match self
            .platform
            .write(&file, conversation.to_lines().as_bytes())
        {
            Ok(place) => {
                let count = conversation.messages.len();
                self.say(&format!("Saved {count} messages as {file} on {place}."));
                self.state.file = Some(file);
                self.state.saved = count;
            }
            Err(sentence) => self.complain(&sentence),
        }
    }

    pub fn load(&mut self, name: Option<&str>) {
        let Some(there) = self.listed() else { return };
        let Some(name) = name else {
            if there.is_empty() {
                return self.say("No conversation has been saved yet; /save saves one.");
            }
            self.say("Conversations; /load NAME goes on with one:");
            return self
                .console
                .lay_out(Style::Info, &|width| columns(&there, width));
        };
        let wanted = match filename::of(name) {
            Ok(file) => file,
            Err(sentence) => return self.complain(&sentence),
        };
        let name = name.trim();
        // A name without its extension means whichever there is; a part of one, the only one that
        // has it.
        let stem = |name: &str| {
            name.rsplit_once('.')
                .map_or(name.into(), |(stem, _)| stem.to_lowercase())
        };
        let has = |known: &&String| known.to_lowercase().contains(&name.to_lowercase());
        let parts: Vec<&String> = there.iter().filter(has).collect();
        let found = there
            .iter()
            .find(|known| filename::is_same(known, &wanted))
            .or_else(|| {
                there
                    .iter()
                    .find(|known| stem(known) == name.to_lowercase())
            })
            .or(match parts[..] {
                [one] => Some(one),
                _ => None,
            });
        let Some(file) = found.cloned() else {
            let name = Quoted(name);
            return self.complain(&match parts[..] {
                [] if there.is_empty() => {
                    format!("there is no conversation {name}: none has been saved yet")
                }
                [] => format!("there is no conversation {name}: /load lists them"),
                [first, second, ..] => {
                    format!("{name} may be {first} or {second}: give more of the name")
                }
                [_] => return,
            });
        };
        let bytes = match self.platform.read(&file, LARGEST) {
            Ok(bytes) => bytes,
            Err(sentence) => return self.complain(&sentence),
        };
        match Conversation::parse(&bytes) {
            Ok(saved) => self.go_on(saved, file),
            Err(sentence) => self.complain(&format!("{file}: {sentence}")),
        }
    }

    /// Goes on with a conversation from a file.
    fn go_on(&mut self, saved: Conversation, file: String) {
        settings::restore(&mut self.state.settings, &saved.settings, self.loaded.mode);
        self.state.settings.system.clone_from(&saved.system);
        self.anew();
        if saved.model != self.loaded.name {
            self.warn(&format!(
                "it was held with {}; {} continues it",
                Quoted(&saved.model),
                self.loaded.name
            ));
        }
        let shows_thoughts = self.state.settings.think == Think::Show;
        let style = self.answer_style(self.state.chat.as_deref());
        for message in &saved.messages {
            match message.role {
                Speaker::User => {
                    // A story may have had no opening.
                    if message.content.trim().is_empty() {
                        continue;
                    }
                    let said = message.content.replace('\n', "\n. ");
                    self.console.show(Style::User, &format!("> {said}\n"));
                }
                Speaker::Assistant => {
                    let thought = message.thinking.as_ref();
                    if let Some(thought) = thought.filter(|_| shows_thoughts) {
                        self.console
                            .show(Style::Thought, &format!("Thinking: {thought}\n"));
                    }
                    self.console.show(style, &format!("{}\n", message.content));
                }
            }
        }
        let count = saved.messages.len();
        self.state.question = saved.last_question().map(String::from);
        // A file may end with a question.
        self.state.answered = count > 0 && count.is_multiple_of(2);
        self.state.conversation = saved;
        self.hold_again();
        self.gauge();
        self.state.saved = count;
        let drawing = self.state.settings.sampling.drawing(self.loaded.mode);
        self.say(&format!(
            "{file}: {count} messages. The conversation goes on, with its settings: {drawing}."
        ));
        if !count.is_multiple_of(2) {
            self.say("Its last question has no answer: /retry asks it, /undo takes it back.");
        }
        self.state.file = Some(file);
    }
}
