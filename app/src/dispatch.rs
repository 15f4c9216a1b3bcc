//! What the commands do.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use llama2_settings::ParamValue;

use llama2_console::{
    commands::{Change, Command},
    complete::help,
    config::{line, merge, quoted, sets},
    front::Style,
    status, width,
};
use llama2_engine::{
    run_mode::RunMode,
    settings::{Choice, Remark, Switch, Think},
    units::Grouped,
};
use llama2_settings::{Param, TABLE};

use crate::{
    menu,
    platform::Power,
    prompt, sentences,
    session_loop::{Next, SessionLoop},
    settings,
};

impl SessionLoop<'_, '_, '_> {
    /// Does what a command says. What is left for the shell to do.
    pub fn act(&mut self, command: Command) -> Option<Next> {
        let mode = self.loaded.mode;
        let before = self.state.settings.clone();
        if let Some(sentence) = self.foreign_bias(&command) {
            self.complain(&sentence);
            return None;
        }
        if let Some(said) = settings::apply(&mut self.state.settings, mode, &command) {
            let set = match &command {
                Command::Setting { param, to } => Some((*param, !to.is_empty())),
                _ => None,
            };
            match set {
                // run.c counts what is asked, too.
                Some((Param::Steps, _)) if mode == RunMode::Llama2Chat => {
                    let seq_len = self.loaded.seq_len();
                    let steps = settings::steps(&self.state.settings, mode, seq_len);
                    self.say(&format!(
                        "a conversation has at most {steps} positions, questions among them"
                    ));
                }
                _ => self.say(&said),
            }
            // Whoever only asks changes nothing; a seed that is named again begins again.
            if let Some((param, is_set)) = set
                && (self.state.settings != before || param == Param::Seed && is_set)
            {
                self.settings_changed(param);
            }
            return None;
        }
        match command {
            Command::Help(topic) => {
                let place = self.platform.place();
                self.console
                    .lay_out(Style::Info, &|width| help(topic, place, width));
            }
            Command::Model(name) => return self.model(name.as_deref()),
            Command::System(change) => self.system(change),
            Command::Clear => {
                self.anew();
                self.gauge();
                self.say("A new conversation begins.");
            }
            Command::Undo => self.undo(),
            Command::Retry => self.retry(),
            Command::Story(opening) => {
                let opening = opening.unwrap_or_default();
                if self.tells() {
                    self.tell_from(&opening);
                } else {
                    self.tell_aside(&opening);
                }
            }
            Command::Info => self.info(),
            Command::Bench => return Some(Next::Bench),
            Command::Save(name) => self.save(name.as_deref()),
            Command::Load(name) => self.load(name.as_deref()),
            Command::Config => self.configure(),
            Command::Exit => return Some(Next::Exit),
            Command::Reboot => return Some(Next::Power(Power::Reboot)),
            Command::Shutdown => return Some(Next::Power(Power::Shutdown)),
            Command::Firmware => return Some(Next::Power(Power::Firmware)),
            // Done above.
            Command::Setting { .. } => (),
        }
        None
    }

    /// Sentence about a bias for a token that the model does not have.
    fn foreign_bias(&self, command: &Command) -> Option<String> {
        let Command::Setting { to, .. } = command else {
            return None;
        };
        let vocab_size = self.loaded.session.model().config.vocab_size;
        let mut biases = to.iter().filter_map(|(_, value)| match value {
            ParamValue::Biases(biases) => Some(biases),
            _ => None,
        });
        let is_foreign = |(token, _): &&(u32, f32)| *token as usize >= vocab_size;
        let (token, _) = biases.find_map(|biases| biases.iter().find(is_foreign))?;
        let last = vocab_size.saturating_sub(1);
        Some(format!(
            "token {token} is not in the vocabulary: there are tokens 0 to {last}"
        ))
    }

    /// Has what was set come into force.
    pub fn settings_changed(&mut self, param: Param) {
        let seq_len = self.loaded.seq_len();
        // A sampler of the new numbers, and from the seed if there is one.
        if !matches!(
            param,
            Param::Steps | Param::Think | Param::Stop | Param::Markdown | Param::RepeatGuard
        ) {
            self.state.is_sampling = false;
        }
        let (mode, settings) = (self.loaded.mode, &self.state.settings);
        if let Some(chat) = &mut self.state.chat {
            chat.set_most(settings::steps(settings, mode, seq_len));
            chat.sequence_mut().set_stops(&settings.stops);
            chat.set_thinking(settings.think != Think::Off);
            let guards = settings.repeat_guard == Switch::On;
            chat.sequence_mut().set_repeat_guard(guards);
        }
        let remarks = settings.remarks(self.loaded.tokenizer, mode, seq_len);
        for remark in remarks {
            if matches!(
                (&remark, param),
                (Remark::Steps { .. }, Param::Steps) | (Remark::CannotThinkLess, Param::Think)
            ) {
                self.warn(&sentences::remark(remark));
            }
        }
    }

    fn model(&mut self, name: Option<&str>) -> Option<Next> {
        let mut offers = self.platform.models();
        let named = name.map(|name| {
            let found = menu::named(&offers, name);
            match self.platform.model_at(name).filter(|_| found.is_err()) {
                Some(offer) => {
                    offers.push(offer);
                    Ok(offers.len() - 1)
                }
                None => found,
            }
        });
        let is_own = |index: usize| {
            offers
                .get(index)
                .is_some_and(|offer| offer.id == self.loaded.id)
        };
        let chosen = match named {
            Some(Ok(chosen)) => chosen,
            Some(Err(sentence)) => {
                self.complain(&sentence);
                return None;
            }
            None if offers.is_empty() => {
                self.complain("there is no other model");
                return None;
            }
            None => {
                let own = (0..offers.len()).find(|&index| is_own(index));
                let clock = self.platform.clock();
                menu::choose(&offers, own.unwrap_or(0), None, clock, self.console)?
            }
        };
        let offer = &offers[chosen];
        if offer.id == self.loaded.id {
            self.say(&format!("{} is already running.", offer.name));
            return None;
        }
        if let Some(trouble) = &offer.trouble {
            self.complain(&format!("{}: {trouble}", offer.name));
            return None;
        }
        let id = offer.id.clone();
        let unsaved = self.state.conversation.messages.len() > self.state.saved;
        if unsaved && !self.tells() {
            let question =
                "The conversation is not saved, and another model begins a new one. Go on? [y/N] ";
            if !prompt::confirm(question, self.console) {
                self.say("Nothing was changed; /save keeps the conversation.");
                return None;
            }
        }
        Some(Next::Model(id))
    }

    fn system(&mut self, change: Option<Change>) {
        let now = match change {
            None => {
                let said = match &self.state.settings.system {
                    Some(system) => format!("system prompt: {system}"),
                    None => "there is no system prompt (the model's default applies)".to_string(),
                };
                return self.say(&said);
            }
            Some(Change::To(text)) => Some(text),
            Some(Change::Off) => None,
        };
        if self.tells() {
            return self.complain("a story has no system prompt: type how it begins instead");
        }
        self.state.settings.system = now;
        self.anew();
        self.gauge();
        let said = match self.state.settings.system {
            Some(_) => "The system prompt is set; a new conversation begins.",
            None => {
                "The system prompt is removed (the model's default applies); a new conversation begins."
            }
        };
        self.say(said);
    }

    fn undo(&mut self) {
        // A file may end with a question, which the model has not been asked.
        let was_asked = self.state.conversation.messages.len().is_multiple_of(2);
        // A turn of the file's beginning may be out of the context's reach.
        let Some(question) = self.state.conversation.undo() else {
            return self.complain("there is nothing to undo");
        };
        let chat = self.state.chat.as_mut().filter(|_| was_asked);
        let taken = chat.is_none_or(|chat| chat.undo(self.loaded.tokenizer));
        // `/retry` is about what is left.
        self.state.question = self.state.conversation.last_question().map(String::from);
        self.state.answered = self.state.question.is_some();
        self.gauge();
        let question = match question.trim() {
            "" => "a story without an opening".to_string(),
            question => short(question),
        };
        self.say(&format!("Taken back: {question}"));
        if !taken {
            self.warn("the model had forgotten it already: its context was full");
        }
    }

    fn retry(&mut self) {
        let Some(question) = self.state.question.clone() else {
            return self.complain("there is no question to answer again yet");
        };
        // The last thing that was said may have got no answer.
        if self.state.answered {
            self.state.conversation.undo();
            if let Some(chat) = &mut self.state.chat {
                chat.undo(self.loaded.tokenizer);
            }
        }
        if self.tells() {
            self.tell_from(&question);
        } else {
            self.ask(&question);
        }
    }

    fn info(&mut self) {
        let mut rows: Vec<(String, String)> = Vec::new();
        let mut row = |name: &str, what: String| rows.push((name.to_string(), what));
        row("model", self.loaded.name.to_string());
        for (name, what) in self.loaded.about {
            row(name, what.clone());
        }
        row("chat template", sentences::template(self.loaded.tokenizer));
        let all = Grouped(self.loaded.seq_len() as u64);
        let context = match &self.state.chat {
            Some(chat) if !self.tells() => {
                format!(
                    "{} of {all} tokens used",
                    Grouped(chat.sequence().context().len() as u64)
                )
            }
            _ => format!("{all} tokens; each story begins anew"),
        };
        row("context", context);
        let drawing = self.state.settings.sampling.drawing(self.loaded.mode);
        row("sampling", drawing.to_string());
        let seed = match (self.state.settings.seed, self.state.seed) {
            (Some(seed), _) => format!("{seed} (given)"),
            (None, Some((seed, source))) => format!("{seed} ({source}), a new one each time"),
            (None, None) => "a new one each time".to_string(),
        };
        row("seed", seed);
        row("kernels", self.loaded.session.kernels().title.to_string());
        row("cores in use", self.loaded.session.threads().to_string());
        if let Some((took, until)) = self.state.start {
            row("start", format!("{} {until}", status::seconds(took)));
        }
        rows.extend(self.platform.about());
        let wide = rows
            .iter()
            .map(|(name, _)| width::text(name))
            .max()
            .unwrap_or(0);
        self.console.lay_out(Style::Info, &|width| {
            let mut out = String::new();
            for (name, what) in &rows {
                let blanks = " ".repeat(wide - width::text(name));
                out.push_str(&format!("  {name}\t{blanks}"));
                // What is too long for one line goes on below.
                let mut column = 2 + wide;
                for (count, word) in what.split_whitespace().enumerate() {
                    let columns = width::text(word);
                    if count > 0 && column + 1 + columns >= width {
                        out.push('\n');
                        out.push_str(&" ".repeat(3 + wide));
                        column = 3 + wide;
                    } else if count == 0 {
                        out.push(' ');
                        column += 1;
                    }
                    out.push(' ');
                    out.push_str(width::cut(word, width.saturating_sub(column + 2)));
                    column += 1 + columns;
                }
                out.push('\n');
            }
            out
        });
    }

    fn configure(&mut self) {
        let old = match self.platform.configuration() {
            Ok(old) => old,
            Err(sentence) => return self.complain(&sentence),
        };
        let mut values = Vec::from([("model", quoted(self.loaded.id))]);
        // What nobody asked for is left to the model, for a story's defaults are no chat's; but
        // what the file says is to be true.
        let (settings, shown) = (&self.state.settings, self.shown());
        for spec in TABLE.iter().filter(|spec| !spec.saved.is_empty()) {
            if let Some(value) = shown.get(spec.param)
                && (settings.get(spec.param).is_some() || sets(&old, spec.key))
            {
                values.push((spec.key, line(spec, value)));
            }
        }
        if let Some(mode) = self.state.settings.mode {
            values.push(("mode", quoted(mode.name())));
        }
        match &self.state.settings.system {
            Some(system) => values.push(("system", quoted(system))),
            // One that was taken away is not to come back.
            None if sets(&old, "system") => values.push(("system", quoted(""))),
            None => (),
        }
        // What was said for another model is no good for this one.
        let gone: &[&str] = match self.state.first.as_deref() == Some(self.loaded.id) {
            true => &[],
            false => &["tokenizer", "context"],
        };
        match self.platform.configure(&merge(&old, &values, gone)) {
            Ok(place) => self.say(&format!("Settings saved to LLAMA2.CFG on {place}.")),
            Err(sentence) => self.complain(&sentence),
        }
    }
}

/// The beginning of a text, in one line.
fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let cut = width::cut(line, 60);
    match cut.len() < text.len() {
        true => format!("{cut}…"),
        false => cut.to_string(),
    }
}
