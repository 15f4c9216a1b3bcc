//! Conversations as clients of models have them.

use crate::data::{Data, list, map, text};

/// Variables of a rendering.
pub type Variables = Vec<(&'static str, Data)>;

/// A message with what was said in it, from the source with a number.
fn message(role: &str, source: u32, said: &str) -> Data {
    map([
        ("role", text(role)),
        ("content", Data::Said(source, said.into())),
    ])
}

/// Adds an entry to a message.
fn with(message: Data, key: &str, value: Data) -> Data {
    let Data::Map(mut entries) = message else {
        return message;
    };
    entries.push((key.into(), value));
    Data::Map(entries)
}

/// Messages of a system prompt, if there is one, and of user and assistant in turn.
fn talk(system: Option<&str>, turns: &[&str]) -> Data {
    let system = system.map(|words| message("system", 1, words));
    let turns = turns.iter().zip(0..).map(|(words, i)| {
        let role = if i % 2 == 0 { "user" } else { "assistant" };
        message(role, 2 + i, words)
    });
    list(system.into_iter().chain(turns))
}

fn parameter(kind: &str, about: &str) -> Data {
    map([("type", text(kind)), ("description", text(about))])
}

fn tool(name: &str, about: &str, parameters: Data, required: &[&str]) -> Data {
    let required = list(required.iter().map(|name| text(name)));
    let parameters = map([
        ("type", text("object")),
        ("properties", parameters),
        ("required", required),
    ]);
    let function = map([
        ("name", text(name)),
        ("description", text(about)),
        ("parameters", parameters),
    ]);
    map([("type", text("function")), ("function", function)])
}

/// Two functions that a model may call.
fn tools() -> Data {
    let unit = with(
        parameter("string", "Unit: \"celsius\" or 'fahrenheit'"),
        "enum",
        list([text("celsius"), text("fahrenheit")]),
    );
    let weather = map([
        ("city", parameter("string", "The city, such as Zürich")),
        ("unit", unit),
        (
            "days",
            with(parameter("integer", "Days"), "default", Data::Int(1)),
        ),
    ]);
    let part = map([
        ("type", text("object")),
        ("description", text("A part")),
        (
            "properties",
            map([
                ("name", parameter("string", "Its name")),
                ("weight", parameter("number", "Its weight")),
            ]),
        ),
        ("required", list([text("name")])),
    ]);
    let parts = with(parameter("array", "The parts"), "items", part);
    let tags = with(
        parameter("array", "Tags"),
        "items",
        map([("type", text("string"))]),
    );
    let order = map([
        ("parts", parts),
        ("tags", tags),
        ("is_urgent", parameter("boolean", "<b>At once</b> & today")),
    ]);
    list([
        tool(
            "get_weather",
            "Gets the weather.\nToday's.",
            weather,
            &["city"],
        ),
        tool("order_parts", "Orders parts", order, &["parts", "tags"]),
    ])
}

/// A call of a function, with its arguments as a map.
fn call(id: &str, name: &str, arguments: Data) -> Data {
    let function = map([("name", text(name)), ("arguments", arguments)]);
    map([
        ("id", text(id)),
        ("type", text("function")),
        ("function", function),
    ])
}

/// A conversation in which functions are called.
fn with_calls() -> Data {
    let weather = map([("city", text("Zürich")), ("days", Data::Int(2))]);
    let part = map([("name", text("a \"bolt\"")), ("weight", Data::Float(0.5))]);
    let order = map([
        ("parts", list([part])),
        ("tags", list([text("x"), text("y")])),
        ("is_urgent", Data::Bool(true)),
    ]);
    let assistant = |calls: Vec<Data>| with(message("assistant", 3, ""), "tool_calls", list(calls));
    let result = |id: &str, name: &str, source, said: &str| {
        let message = with(message("tool", source, said), "tool_call_id", text(id));
        with(message, "name", text(name))
    };
    list([
        message("system", 1, "Use your tools."),
        message("user", 2, "What is the weather in Zürich?"),
        assistant(vec![call("abcdefgh1", "get_weather", weather)]),
        result("abcdefgh1", "get_weather", 4, "{\"temperature\": 21.5}"),
        message("assistant", 5, "It is 21.5 degrees."),
        message("user", 6, "Order bolts."),
        assistant(vec![call("abcdefgh2", "order_parts", order)]),
        result("abcdefgh2", "order_parts", 8, "ordered"),
    ])
}

/// All conversations, with names.
pub fn all() -> Vec<(String, Variables)> {
    let strange = "<|im_end|></s>[/INST]<|eot_id|>{{ 1 + 1 }} <|start|> 'a' \\n \"b\" <think>";
    let long = [
        "Hi",
        "Hello.",
        "Who are you?",
        "A model.\nNobody.",
        "Why?\nOr not?",
    ];
    let thought = "<think>\nHm, \"well\".\n</think>\n\nHello.";
    let reasoning = with(
        message("assistant", 3, "Hello."),
        "reasoning_content",
        text("Hm."),
    );
    let reasoning = with(reasoning, "thinking", text("Hm."));
    let talks = [
        ("one turn", talk(None, &["Who are you?"])),
        (
            "one turn and a system prompt",
            talk(Some("Be brief."), &["Who are you?"]),
        ),
        ("two turns", talk(None, &long[..3])),
        (
            "three turns and a system prompt",
            talk(Some("Be brief."), &long),
        ),
        ("an answer at the end", talk(Some("Be brief."), &long[..4])),
        ("an empty system prompt", talk(Some(""), &long[..3])),
        (
            "blanks",
            talk(
                Some(" \n Be brief.\n\n"),
                &["\n  Hi \n", " \tWell. \n", " Who?\t\n"],
            ),
        ),
        (
            "look-alikes",
            talk(Some(strange), &[strange, "</s> is <|assistant|>", strange]),
        ),
        (
            "unicode",
            talk(
                Some("Zürich 東京"),
                &["\u{1f600} ﬁn ß İ", "été\u{301}\u{200b}", "ﷺ\r\nx"],
            ),
        ),
        (
            "thoughts in answers",
            talk(None, &["Hi", thought, "Who?", thought, "Why?"]),
        ),
        (
            "thoughts beside answers",
            list([
                message("user", 2, "Hi"),
                reasoning,
                message("user", 4, "Who?"),
            ]),
        ),
        ("nothing said", talk(None, &["", "", ""])),
        ("no messages", list([])),
        (
            "a user who speaks twice",
            list([message("user", 2, "a"), message("user", 3, "b")]),
        ),
        (
            "an answer first",
            list([message("assistant", 2, "a"), message("user", 3, "b")]),
        ),
        (
            "a system prompt last",
            list([message("user", 2, "a"), message("system", 1, "b")]),
        ),
        ("nobody's role", list([message("robot", 2, "a")])),
    ];
    let mut all = Vec::new();
    for (name, messages) in talks {
        for prompt in [true, false] {
            for think in [None, Some(true), Some(false)] {
                if !prompt && think.is_some() {
                    continue;
                }
                let mut variables = variables(messages.clone(), prompt);
                variables.extend(think.map(|think| ("enable_thinking", Data::Bool(think))));
                all.push((format!("{name}, {prompt}, {think:?}"), variables));
            }
        }
    }
    for (name, messages) in [
        ("tools", talk(Some("Be brief."), &long[..1])),
        ("tools without a system prompt", talk(None, &long[..3])),
        ("calls", with_calls()),
    ] {
        for has_tools in [true, false] {
            let mut variables = variables(messages.clone(), true);
            if has_tools {
                variables.push(("tools", tools()));
            }
            all.push((format!("{name}, {has_tools}"), variables));
        }
    }
    let documents = list([map([
        ("title", text("A title")),
        ("text", text("A text")),
        ("doc_id", Data::Int(1)),
    ])]);
    let mut variables = variables(talk(None, &long[..1]), true);
    variables.push(("documents", documents));
    all.push(("documents".into(), variables));
    all
}

fn variables(messages: Data, prompt: bool) -> Variables {
    vec![
        ("messages", messages),
        ("add_generation_prompt", Data::Bool(prompt)),
        ("bos_token", text("<s>")),
        ("eos_token", text("</s>")),
    ]
}
