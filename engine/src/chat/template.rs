//! Chat templates: the model's own, a Jinja program in its file, that lays a conversation out as
//! the text that the model was taught to continue.
//!
//! Words that somebody said are marked through the rendering ([`Source`]): names of control tokens
//! in them stay text. All other text is the template's, whose control tokens are encoded as such,
//! as in llama.cpp with `parse_special`.

use alloc::{string::String, vec, vec::Vec};

use llama2_jinja::{DateTime, Source, Template, Text};

pub use llama2_jinja::Value;

use crate::tokenizer::{Fragment, Tokenizer};

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatRole {
    /// Whoever gives the model its part.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
}

impl ChatRole {
    /// Name in templates.
    pub fn name(self) -> &'static str {
        match self {
            ChatRole::System => "system",
            ChatRole::User => "user",
            ChatRole::Assistant => "assistant",
        }
    }
}

/// Message of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChatMessage<'a> {
    /// Who says it.
    pub role: ChatRole,
    /// Text of the message, without reasoning.
    pub content: &'a str,
    /// Reasoning before it, if there was any.
    pub reasoning: Option<&'a str>,
    /// Tokens in which the model said the content; none where they are not known. They stand for
    /// it wherever the template leaves it as it is: encoding may cut the same text otherwise.
    pub tokens: &'a [u32],
}

impl<'a> ChatMessage<'a> {
    /// A message of these words.
    pub fn new(role: ChatRole, content: &'a str) -> ChatMessage<'a> {
        ChatMessage {
            role,
            content,
            reasoning: None,
            tokens: &[],
        }
    }
}

/// Variables of a template besides the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderOptions {
    /// The answer's beginning follows the messages (`add_generation_prompt`).
    pub answers: bool,
    /// The model may think before it answers (`enable_thinking`).
    pub thinks: bool,
    /// Today (`strftime_now`).
    pub now: DateTime,
}

/// A rendered conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rendered {
    /// Its text; names of BOS and EOS may be written in it.
    pub text: String,
    /// All of it, BOS included where texts begin with it.
    pub tokens: Vec<u32>,
    /// The template has said `<think>` for the model already.
    pub opens_thought: bool,
}

/// Template for models whose own cannot be used: chatml, which most models understand.
const CHATML: &str = "{% for message in messages %}\
    {{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}\
    {% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Source of texts in [`Value`]s that somebody said, besides those of [`ChatMessage`]s.
pub const SAID: Source = Source(3);

/// Sources of the texts that stand for tokens; messages follow [`SAID`].
const BOS: Source = Source(1);
const EOS: Source = Source(2);
const FIRST_MESSAGE: u32 = 4;

/// Chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    program: Template,
    length: usize,
    fault: Option<llama2_jinja::Error>,
}

impl ChatTemplate {
    /// Parses a template; one that cannot be used is chatml, and has a [`ChatTemplate::fault`]: one
    /// that is none, or takes endless time or memory for a single word.
    pub fn new(source: &str) -> ChatTemplate {
        let with = |program, fault| ChatTemplate {
            program,
            length: source.len(),
            fault,
        };
        let tried = Template::parse(source).and_then(|program| {
            let template = with(program, None);
            match template.probe(true) {
                Err(error @ llama2_jinja::Error::Limit { .. }) => Err(error),
                _ => Ok(template),
            }
        });
        tried.unwrap_or_else(|error| {
            let chatml = Template::parse(CHATML);
            with(chatml.expect("chatml is a template"), Some(error))
        })
    }

    /// Text of a conversation that begins with a word.
    fn probe(&self, thinks: bool) -> Result<Text, llama2_jinja::Error> {
        let options = RenderOptions {
            answers: true,
            thinks,
            now: super::NO_CLOCK,
        };
        self.text(
            ["", ""],
            &[ChatMessage::new(ChatRole::User, "Hi")],
            &options,
        )
    }

    /// Template of a model's file, if it has one.
    pub fn of_tokenizer(tokenizer: &Tokenizer) -> Option<ChatTemplate> {
        tokenizer.chat_template().map(ChatTemplate::new)
    }

    /// Why the model's own template cannot be used, if that is so.
    pub fn fault(&self) -> Option<&llama2_jinja::Error> {
        self.fault.as_ref()
    }

    /// Length of the program, in bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Tells whether the model thinks before it answers, and can be told not to.
    pub fn thinks(&self) -> bool {
        if !self.program.mentions("enable_thinking") {
            return false;
        }
        match (self.probe(true), self.probe(false)) {
            (Ok(with), Ok(without)) => with.as_str() != without.as_str(),
            _ => false,
        }
    }

    /// Text of a conversation, with the names of BOS and EOS.
    fn text(
        &self,
        names: [&str; 2],
        messages: &[ChatMessage<'_>],
        options: &RenderOptions,
    ) -> Result<Text, llama2_jinja::Error> {
        let messages = (FIRST_MESSAGE..).zip(messages).map(|(number, message)| {
            let said = |text| Value::text(text, Source(number));
            let mut entries = vec![
                ("role".into(), Value::from(message.role.name())),
                ("content".into(), said(message.content)),
            ];
            if let Some(reasoning) = message.reasoning {
                entries.push(("reasoning_content".into(), said(reasoning)));
            }
            Value::map(entries)
        });
        self.text_of(names, messages.collect(), &[], options)
    }

    /// Text of messages that are maps, with further variables.
    fn text_of(
        &self,
        [bos, eos]: [&str; 2],
        messages: Vec<Value>,
        others: &[(&str, Value)],
        options: &RenderOptions,
    ) -> Result<Text, llama2_jinja::Error> {
        let mut variables = vec![
            ("messages", Value::list(messages)),
            ("add_generation_prompt", Value::from(options.answers)),
            ("enable_thinking", Value::from(options.thinks)),
            ("bos_token", Value::text(bos, BOS)),
            ("eos_token", Value::text(eos, EOS)),
        ];
        variables.extend(others.iter().cloned());
        self.program.render(&variables, options.now)
    }

    /// Renders messages as clients of a server send them, and encodes them: maps whose texts that
    /// somebody said are of the source [`SAID`], with further variables. `prefill` is what the
    /// model is taken to have said already.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_values(
        &self,
        tokenizer: &Tokenizer,
        messages: Vec<Value>,
        others: &[(&str, Value)],
        prefill: &str,
        options: &RenderOptions,
    ) -> Result<Rendered, llama2_jinja::Error> {
        let names = names(tokenizer);
        let text = self.text_of([&names[0], &names[1]], messages, others, options)?;
        Ok(encode(tokenizer, &text, &names, &[], prefill))
    }

    /// Renders a conversation and encodes it. BOS stands before it once, whether the file asks for
    /// it or the template writes it.
    ///
    /// # Errors
    /// The template's own refusal (`raise_exception`), or why it could not be followed.
    pub fn render(
        &self,
        tokenizer: &Tokenizer,
        messages: &[ChatMessage<'_>],
        options: &RenderOptions,
    ) -> Result<Rendered, llama2_jinja::Error> {
        let names = names(tokenizer);
        let text = self.text([&names[0], &names[1]], messages, options)?;
        Ok(encode(tokenizer, &text, &names, messages, ""))
    }
}

/// Names of BOS and EOS.
fn names(tokenizer: &Tokenizer) -> [String; 2] {
    let name = |token: u32| String::from_utf8_lossy(tokenizer.name(token)).into_owned();
    [
        tokenizer.begin().map_or(String::new(), name),
        name(tokenizer.end()),
    ]
}

/// Encodes a text of `messages` in which BOS and EOS have these names.
fn encode(
    tokenizer: &Tokenizer,
    text: &Text,
    names: &[String; 2],
    messages: &[ChatMessage<'_>],
    prefill: &str,
) -> Rendered {
    let (begins, end) = (
        tokenizer.begin().into_iter().collect::<Vec<_>>(),
        tokenizer.end(),
    );
    let ends = [end];
    let fragments: Vec<Fragment<'_>> = text
        .runs()
        .map(|(source, run)| match source {
            // A name that is not found in texts is the token all the same.
            BOS if run == names[0] && !tokenizer.is_special(begins[0]) => Fragment::Tokens(&begins),
            EOS if run == names[1] && !tokenizer.is_special(end) => Fragment::Tokens(&ends),
            Source::TEMPLATE | BOS | EOS => Fragment::Mark(run),
            Source(number) => {
                let message = number.checked_sub(FIRST_MESSAGE);
                match message.and_then(|message| messages.get(message as usize)) {
                    Some(message) if !message.tokens.is_empty() && run == message.content => {
                        Fragment::Tokens(message.tokens)
                    }
                    _ => Fragment::Said(run),
                }
            }
        })
        .chain((!prefill.is_empty()).then_some(Fragment::Begun(prefill)))
        .collect();
    let mut tokens: Vec<u32> = Vec::with_capacity(text.as_str().len() / 3 + 2);
    tokenizer.encode_marked(&fragments, &mut tokens);
    if let Some(bos) = tokenizer.bos().filter(|bos| tokens.first() != Some(bos)) {
        tokens.insert(0, bos);
    }
    if tokens.is_empty() {
        tokens.push(tokenizer.start());
    }
    // What a message ends with opens nothing.
    let is_own = |(source, run): (Source, &str)| {
        source == Source::TEMPLATE && run.trim_end().ends_with("<think>")
    };
    let last = text.runs().filter(|(_, run)| !run.trim().is_empty()).last();
    Rendered {
        opens_thought: last.is_some_and(is_own),
        text: [text.as_str(), prefill].concat(),
        tokens,
    }
}
