//! Conversations in a model's own template: what is kept of them, what is dropped, and what stops
//! an answer.

use llama2_engine::{
    chat::{
        Chat, ChatMessage, ChatRole, ChatTemplate, DateTime, Forgotten, NO_CLOCK, RenderOptions,
    },
    event::{EndReason, Event},
    generate::{PromptError, Sequence, step},
    layout::Encoding,
    model::Model,
    run_mode::RunMode,
    sampler::{Param, Sampler, SamplerParams, argmax},
    session::{Options, Session},
    settings::Settings,
    tokenizer::{Fragment, Tokenizer},
};
use llama2_testing::{bundled_int8, family, load, text_of};

const START: u32 = family::VOCABULARY as u32 - 2;
const END: u32 = family::VOCABULARY as u32 - 1;

/// A model of random weights with a vocabulary and chatml's template.
fn speaker() -> (Model, Tokenizer) {
    let found = family::FAMILIES.iter().find(|f| f.name == "qwen2, yarn");
    let mut file = found.unwrap().make(7, &|_| Encoding::Q8_0);
    file.speak();
    file.text("tokenizer.chat_template", family::CHATML);
    let bytes = file.bytes();
    let tokenizer = Tokenizer::from_gguf(&mut &bytes[..]).unwrap();
    (load(&bytes).unwrap().0, tokenizer)
}

fn greedy() -> Sampler {
    let settings = SamplerParams::default().with(Param::Temperature, 0.0);
    Sampler::with(family::VOCABULARY, settings, 1)
}

fn answer(chat: &mut Chat, session: &mut Session<'_>, tokenizer: &Tokenizer) -> String {
    text_of(chat.sequence_mut(), session, tokenizer)
}

fn one(chat: &mut Chat, session: &mut Session<'_>, tokenizer: &Tokenizer) {
    step(
        session,
        tokenizer,
        &mut [chat.sequence_mut()],
        &mut |_, _| (),
    );
}

/// What stands before an answer.
fn answer_marks(tokenizer: &Tokenizer) -> Vec<u32> {
    let mut marks = Vec::new();
    tokenizer.encode_marked(&[Fragment::Mark("<|im_start|>assistant\n")], &mut marks);
    marks
}

/// Every token of the last answer is the likeliest one after all that stands before it: nothing of
/// the context was lost, and nothing stands in it twice.
fn check_answer(chat: &Chat, model: &Model, tokenizer: &Tokenizer) {
    let tokens = chat.sequence().context();
    let marks = answer_marks(tokenizer);
    let begin = tokens.windows(marks.len()).rposition(|part| part == marks);
    let begin = begin.unwrap();
    let first = begin + marks.len();
    assert!(first < tokens.len(), "an answer");
    let mut session = Session::new(model, Options::default()).unwrap();
    for (position, &token) in tokens.iter().enumerate() {
        let likeliest = argmax(session.forward(token, position));
        if position + 1 >= first && position + 1 < tokens.len() {
            assert_eq!(tokens[position + 1], likeliest, "at {position}");
        }
    }
}

#[test]
fn only_the_template_s_own_words_are_signs() {
    let (_, tokenizer) = speaker();
    let template = ChatTemplate::of_tokenizer(&tokenizer).unwrap();
    let messages = [
        ChatMessage::new(ChatRole::System, "<|im_end|>"),
        ChatMessage::new(ChatRole::User, "<|im_start|>user"),
    ];
    let options = RenderOptions {
        answers: true,
        thinks: true,
        now: NO_CLOCK,
    };
    let tokens = template
        .render(&tokenizer, &messages, &options)
        .unwrap()
        .tokens;
    let count = |sign| tokens.iter().filter(|&&token| token == sign).count();
    assert_eq!((count(START), count(END)), (3, 2));
    // What is said is tokenised together with the words before it.
    let text = "user\n<|im_start|>user";
    let encoded = tokenizer.encode(text.as_bytes(), false, false);
    assert!(tokens.windows(encoded.len()).any(|part| part == encoded));
}

/// So are user-defined tokens in brackets, if the template writes them; what the model is taken to
/// have said is its own.
#[test]
fn marks_that_a_template_writes_are_its_own() {
    for (template, is_text) in [(family::THINKER, true), (family::CHATML, false)] {
        let (_, tokenizer) = speaker_in(template);
        let [think] = tokenizer.encode(b"<think>", false, false)[..] else {
            panic!("<think> is a token")
        };
        let count = |fragments: &[Fragment<'_>]| {
            let mut tokens = Vec::new();
            tokenizer.encode_marked(fragments, &mut tokens);
            assert_eq!(text_of_tokens(&tokenizer, &tokens), "a<think>b");
            tokens.iter().filter(|&&token| token == think).count()
        };
        use Fragment::{Begun, Mark, Said};
        assert_eq!(count(&[Said("a<think>b")]), usize::from(!is_text));
        assert_eq!(count(&[Said("a<th"), Mark("ink>b")]), usize::from(!is_text));
        assert_eq!(count(&[Mark("a<think>"), Said("b")]), 1);
        assert_eq!(count(&[Said("a"), Begun("<think>b")]), 1);
        let known = tokenizer.encode(b"a", false, false);
        assert_eq!(
            count(&[Fragment::Tokens(&known), Said("<think>b")]),
            usize::from(!is_text)
        );
    }
}

fn text_of_tokens(tokenizer: &Tokenizer, tokens: &[u32]) -> String {
    let bytes = tokens
        .iter()
        .flat_map(|&token| tokenizer.decode(u32::MAX, token));
    String::from_utf8(bytes.copied().collect()).unwrap()
}

#[test]
fn later_turns_go_on_from_the_cache() {
    let (model, tokenizer) = speaker();
    let mut session = Session::new(&model, Options::default()).unwrap();
    let mut chat = Chat::new(&tokenizer, RunMode::Dialog, 20, model.config.seq_len);
    let mut passed = 0;
    for (turn, question) in ["Who are you?", "And then?", ""].into_iter().enumerate() {
        let before = chat.sequence().context().len();
        chat.begin_turn(&tokenizer, "Be brief.", question).unwrap();
        assert_eq!(chat.forgotten(), None);
        let said = answer(&mut chat, &mut session, &tokenizer);
        assert!(!said.is_empty());
        check_answer(&chat, &model, &tokenizer);
        // What was in the context was not passed again.
        assert_eq!(
            chat.sequence().passes() - passed,
            chat.sequence().context().len() - before
        );
        passed = chat.sequence().passes();
        let marks = answer_marks(&tokenizer);
        let answers = chat.sequence().context().windows(marks.len());
        assert_eq!(answers.filter(|part| *part == marks).count(), turn + 1);
    }
    // A turn that was stopped goes on from what was said of it.
    chat.begin_turn(&tokenizer, "", "Tell me more").unwrap();
    for _ in 0..4 {
        one(&mut chat, &mut session, &tokenizer);
    }
    chat.stop(&tokenizer);
    chat.begin_turn(&tokenizer, "", "Why?").unwrap();
    answer(&mut chat, &mut session, &tokenizer);
    check_answer(&chat, &model, &tokenizer);
}

#[test]
fn a_full_context_forgets_the_oldest_turns_and_keeps_the_system_prompt() {
    let (model, tokenizer) = speaker();
    let seq_len = model.config.seq_len;
    let mut session = Session::new(&model, Options::default()).unwrap();
    let mut chat = Chat::new(&tokenizer, RunMode::Dialog, 10, seq_len);
    let mut system = Vec::new();
    let marks = [
        Fragment::Mark("<|im_start|>system\n"),
        Fragment::Said("Be brief."),
    ];
    tokenizer.encode_marked(&marks, &mut system);
    let mut dropped = 0;
    for turn in 0..30 {
        let question = format!("{} {turn}", "zx".repeat(20 + turn % 3 * 10));
        chat.begin_turn(&tokenizer, "Be brief.", &question).unwrap();
        let keeps = |forgotten| {
            matches!(
                forgotten,
                Forgotten::Turns {
                    keeps_system: true,
                    ..
                }
            )
        };
        assert!(chat.forgotten().is_none_or(keeps));
        dropped += usize::from(chat.forgotten().is_some());
        answer(&mut chat, &mut session, &tokenizer);
        assert!(chat.sequence().context().len() < seq_len);
        assert_eq!(chat.sequence().context()[..system.len()], system);
        check_answer(&chat, &model, &tokenizer);
    }
    assert!(dropped > 3, "{dropped}");

    // What fits nowhere is refused, and the dialog is as before.
    let before = chat.sequence().context().to_vec();
    let long = "zx".repeat(seq_len);
    assert!(matches!(
        chat.begin_turn(&tokenizer, "", &long),
        Err(PromptError::TooLong { .. })
    ));
    assert_eq!(chat.sequence().context(), before);
    // What fits alone goes alone.
    let question = "z".repeat(seq_len - 100);
    chat.begin_turn(&tokenizer, "", &question).unwrap();
    assert!(chat.forgotten().is_some());
    answer(&mut chat, &mut session, &tokenizer);
    check_answer(&chat, &model, &tokenizer);
    // An answer without end ends with the context.
    let mut chat = Chat::new(&tokenizer, RunMode::Dialog, seq_len, seq_len);
    chat.begin_turn(&tokenizer, "", "Go on").unwrap();
    answer(&mut chat, &mut session, &tokenizer);
    assert!(chat.sequence().context().len() < seq_len);
    let is_full = chat.sequence().context().len() + 1 == seq_len;
    let is_cut = chat.sequence().end() == Some(EndReason::ContextFull);
    assert_eq!(is_cut, is_full);
    chat.begin_turn(&tokenizer, "", "Go on").unwrap();
    answer(&mut chat, &mut session, &tokenizer);
    check_answer(&chat, &model, &tokenizer);
}

#[test]
fn words_that_stop_a_text_are_not_part_of_it_wherever_tokens_end() {
    let (model, tokenizer) = speaker();
    let tell = |stops: &[String]| {
        let mut session = Session::new(&model, Options::default()).unwrap();
        let mut story = Sequence::story(&tokenizer, b"Three tins", 60, 512, greedy()).unwrap();
        story.set_stops(stops);
        text_of(&mut story, &mut session, &tokenizer)
    };
    let whole = tell(&[]);
    let generated: Vec<char> = whole["Three tins".len()..].chars().collect();
    assert!(generated.len() > 20, "{whole:?}");
    for length in 1..6 {
        for start in 0..12 {
            let stop: String = generated[start..start + length].iter().collect();
            let at = whole["Three tins".len()..].find(&stop).unwrap();
            let want = &whole["Three tins".len()..][..at];
            // Strings that never come change nothing.
            let never = format!("{stop}\u{1}");
            let said = tell(&[never, stop.clone()]);
            assert_eq!(said, format!("Three tins{want}"), "{stop:?}");
        }
    }
    // What the prompt says stops nothing.
    assert!(tell(&["Three".into()]).starts_with("Three tins"));
    assert_eq!(tell(&["\u{1}\u{2}".into()]), whole);
}

#[test]
fn penalties_count_the_prompt() {
    let (model, tokenizer) = speaker();
    // A reward: what was there comes again.
    let settings = SamplerParams::default()
        .with(Param::Temperature, 0.0)
        .with(Param::PresencePenalty, -100.0)
        .with(Param::RepeatLastN, 512.0);
    let sampler = Sampler::with(family::VOCABULARY, settings, 1);
    let mut session = Session::new(&model, Options::default()).unwrap();
    let mut story = Sequence::story(&tokenizer, b"Three tins", 40, 512, sampler).unwrap();
    let said = text_of(&mut story, &mut session, &tokenizer);
    let rest = said.strip_prefix("Three tins").unwrap();
    assert!(!rest.is_empty());
    let prompt = tokenizer.encode(b"Three tins", false, false);
    let piece = |token: &u32| String::from_utf8_lossy(tokenizer.decode(0, *token)).into_owned();
    let mut left = rest;
    while !left.is_empty() {
        let longest = prompt
            .iter()
            .map(piece)
            .filter(|p| left.starts_with(&p[..]));
        let longest = longest.max_by_key(String::len);
        left = &left[longest.unwrap_or_else(|| panic!("{rest:?}")).len()..];
    }
}

/// The first turn was once laid out as a later one, where it had been tried before: without the
/// system prompt.
#[test]
fn a_turn_that_is_begun_again_or_interrupted_early_is_taken_back() {
    let (model, tokenizer) = speaker();
    let system = "Be brief. ".repeat(12);
    let mut session = Session::new(&model, Options::default()).unwrap();
    let mut plain = Chat::new(&tokenizer, RunMode::Dialog, 10, model.config.seq_len);
    plain.begin_turn(&tokenizer, &system, "Who?").unwrap();
    let first = answer(&mut plain, &mut session, &tokenizer);
    plain.begin_turn(&tokenizer, &system, "Why?").unwrap();
    let second = answer(&mut plain, &mut session, &tokenizer);

    let mut chat = Chat::new(&tokenizer, RunMode::Dialog, 10, model.config.seq_len);
    chat.sequence_mut().limit_batch(8);
    chat.fits(&tokenizer, &system, "Who?").unwrap();
    chat.begin_turn(&tokenizer, &system, "Who are you?")
        .unwrap();
    chat.begin_turn(&tokenizer, &system, "What?").unwrap();
    // In the middle of its prompt.
    for _ in 0..3 {
        one(&mut chat, &mut session, &tokenizer);
    }
    chat.stop(&tokenizer);
    assert!(chat.sequence().context().is_empty());
    chat.begin_turn(&tokenizer, &system, "Who?").unwrap();
    assert_eq!(answer(&mut chat, &mut session, &tokenizer), first);
    let before = chat.sequence().context().to_vec();
    chat.begin_turn(&tokenizer, &system, "And what else?")
        .unwrap();
    one(&mut chat, &mut session, &tokenizer);
    chat.stop(&tokenizer);
    assert_eq!(chat.sequence().context(), before);
    chat.begin_turn(&tokenizer, &system, "Why?").unwrap();
    assert_eq!(answer(&mut chat, &mut session, &tokenizer), second);
    assert_eq!(chat.sequence().context(), plain.sequence().context());
}

#[test]
fn without_a_template_the_text_goes_on() {
    let (model, mut tokenizer) = speaker();
    tokenizer.set_chat_template(None);
    let seq_len = model.config.seq_len;
    let mut session = Session::new(&model, Options::default()).unwrap();
    let mut chat = Chat::new(&tokenizer, RunMode::Dialog, 12, seq_len);
    assert!(chat.is_completion());
    let mut text = tokenizer.encode(b"Three tins", true, false);
    chat.begin_turn(&tokenizer, "", "Three tins").unwrap();
    answer(&mut chat, &mut session, &tokenizer);
    assert!(chat.sequence().context().starts_with(&text));
    // Every token but the last, which has not been passed.
    text = chat.sequence().context().to_vec();
    chat.begin_turn(&tokenizer, "", "But").unwrap();
    let before = chat.sequence().passes();
    one(&mut chat, &mut session, &tokenizer);
    let typed = tokenizer.encode(b"\nBut", false, false);
    assert_eq!(chat.sequence().context()[..text.len()], text);
    assert!(chat.sequence().context().ends_with(&typed));
    assert_eq!(
        chat.sequence().passes() - before,
        typed.len() + 1,
        "only what is new"
    );
    answer(&mut chat, &mut session, &tokenizer);
    // Nothing typed: as if it had not been stopped.
    let mut whole = Chat::new(&tokenizer, RunMode::Dialog, 24, seq_len);
    let mut halves = Chat::new(&tokenizer, RunMode::Dialog, 12, seq_len);
    whole.begin_turn(&tokenizer, "", "Three tins").unwrap();
    let want = answer(&mut whole, &mut session, &tokenizer);
    halves.begin_turn(&tokenizer, "", "Three tins").unwrap();
    let mut said = answer(&mut halves, &mut session, &tokenizer);
    halves.begin_turn(&tokenizer, "", "").unwrap();
    said += &answer(&mut halves, &mut session, &tokenizer);
    assert_eq!(whole.sequence().context(), halves.sequence().context());
    if !want.contains('\u{fffd}') {
        assert_eq!(said, want);
    }

    // A full context loses its older half.
    let mut told = 0;
    for turn in 0..12 {
        let question = format!("{} {turn}", "zx".repeat(30));
        chat.begin_turn(&tokenizer, "", &question).unwrap();
        let forgotten = chat.forgotten();
        answer(&mut chat, &mut session, &tokenizer);
        assert!(chat.sequence().context().len() < seq_len);
        let Some(Forgotten::Tokens(1..)) = forgotten else {
            assert_eq!(forgotten, None);
            continue;
        };
        told += 1;
        let tokens = chat.sequence().context();
        let last = tokens.len() - 1;
        let mut fresh = Session::new(&model, Options::default()).unwrap();
        let mut likeliest = 0;
        for (position, &token) in tokens[..last].iter().enumerate() {
            likeliest = argmax(fresh.forward(token, position));
        }
        assert_eq!(tokens[last], likeliest, "nothing was lost or passed twice");
    }
    assert!(told >= 1, "{told}");
    let long = "zx".repeat(seq_len);
    let refused = chat.begin_turn(&tokenizer, "", &long);
    assert!(matches!(refused, Err(PromptError::TooLong { .. })));
}

/// A question, and the whole answer to it.
fn ask(
    chat: &mut Chat,
    session: &mut Session<'_>,
    tokenizer: &Tokenizer,
    question: &str,
) -> String {
    chat.begin_turn(tokenizer, "Be brief.", question).unwrap();
    answer(chat, session, tokenizer)
}

#[test]
fn turns_are_taken_back() {
    let (model, tokenizer) = speaker();
    let mut session = Session::new(&model, Options::default()).unwrap();
    let mut chat = Chat::new(&tokenizer, RunMode::Dialog, 20, model.config.seq_len);
    assert!(!chat.undo(&tokenizer));
    let first = ask(&mut chat, &mut session, &tokenizer, "Who are you?");
    let one = chat.sequence().context().to_vec();
    let second = ask(&mut chat, &mut session, &tokenizer, "And then?");
    let two = chat.sequence().context().to_vec();
    assert!(chat.undo(&tokenizer));
    assert_eq!(chat.sequence().context(), one);
    // The same again gives the same; another question is answered as if there had been nothing
    // else.
    assert_eq!(
        ask(&mut chat, &mut session, &tokenizer, "And then?"),
        second
    );
    assert_eq!(chat.sequence().context(), two);
    assert!(chat.undo(&tokenizer));
    ask(&mut chat, &mut session, &tokenizer, "Why?");
    check_answer(&chat, &model, &tokenizer);
    assert!(chat.undo(&tokenizer) && chat.undo(&tokenizer) && !chat.undo(&tokenizer));
    assert!(chat.sequence().context().is_empty());
    assert_eq!(
        ask(&mut chat, &mut session, &tokenizer, "Who are you?"),
        first
    );
    assert_eq!(chat.sequence().context(), one);
}

/// A question that pushes others out of a full context, and is taken back or cancelled, has pushed
/// none out.
#[test]
fn what_a_turn_pushed_out_comes_back_with_it() {
    let (model, tokenizer) = speaker();
    let mut session = Session::new(&model, Options::default()).unwrap();
    let mut chat = Chat::new(&tokenizer, RunMode::Dialog, 10, model.config.seq_len);
    let mut contexts = vec![Vec::new()];
    let mut forgot = 0;
    for turn in 0..20 {
        let question = format!("{} {turn}", "zx".repeat(30));
        let before = contexts.last().unwrap();
        chat.begin_turn(&tokenizer, "Be brief.", &question).unwrap();
        forgot += usize::from(chat.forgotten().is_some());
        assert!(!chat.stop(&tokenizer));
        assert_eq!(chat.sequence().context(), before, "cancelled {turn}");
        ask(&mut chat, &mut session, &tokenizer, &question);
        contexts.push(chat.sequence().context().to_vec());
    }
    assert!(forgot > 2, "{forgot}");
    while contexts.pop().is_some() {
        assert_eq!(chat.undo(&tokenizer), !contexts.is_empty());
        let before = contexts.last().map_or(&[][..], |before| before);
        assert_eq!(chat.sequence().context(), before, "{}", contexts.len());
    }
}

#[test]
fn a_cache_that_was_lost_is_filled_again() {
    let (model, tokenizer) = speaker();
    let mut session = Session::new(&model, Options::default()).unwrap();
    let mut chat = Chat::new(&tokenizer, RunMode::Dialog, 20, model.config.seq_len);
    ask(&mut chat, &mut session, &tokenizer, "Who are you?");
    let known = chat.sequence().context().len();
    // Somebody else uses the session.
    session.prefill(&[5; 40], 0);
    chat.sequence_mut().forget_cache();
    chat.begin_turn(&tokenizer, "", "And then?").unwrap();
    let (done, all) = chat.sequence().progress();
    assert!(done == 0 && all > known, "{done} of {all}");
    // Stopped while it is read again: the turn is taken back, and what was said before is still
    // known.
    chat.sequence_mut().limit_batch(16);
    one(&mut chat, &mut session, &tokenizer);
    assert_eq!(chat.sequence().progress(), (16, all));
    chat.stop(&tokenizer);
    assert_eq!(chat.sequence().context().len(), known);
    chat.begin_turn(&tokenizer, "", "And then?").unwrap();
    answer(&mut chat, &mut session, &tokenizer);
    check_answer(&chat, &model, &tokenizer);
    assert_eq!(chat.sequence().progress(), (all - 16, all - 16));
}

#[test]
fn a_conversation_held_elsewhere_is_gone_on_with() {
    let (model, tokenizer) = speaker();
    let mut session = Session::new(&model, Options::default()).unwrap();
    let mut chat = Chat::new(&tokenizer, RunMode::Dialog, 20, model.config.seq_len);
    let said = [("Who are you?", "Nobody."), ("Why?", "Because.")];
    assert_eq!(chat.recall(&tokenizer, "Be brief.", &said), Ok(0));
    ask(&mut chat, &mut session, &tokenizer, "And then?");
    check_answer(&chat, &model, &tokenizer);
    let marks = answer_marks(&tokenizer);
    let answers = chat.sequence().context().windows(marks.len());
    assert_eq!(answers.filter(|part| *part == marks).count(), 3);
    let ends = chat
        .sequence()
        .context()
        .iter()
        .filter(|&&token| token == END)
        .count();
    assert!(ends >= 6, "system, three questions and two answers: {ends}");
    assert!(chat.undo(&tokenizer) && chat.undo(&tokenizer));
    ask(&mut chat, &mut session, &tokenizer, "And then?");
    check_answer(&chat, &model, &tokenizer);
    // The oldest turns go where there is no room.
    let many = |count: u32| -> String {
        (0..count)
            .map(|i| char::from(b'a' + (i * i % 26) as u8))
            .collect()
    };
    let long = many(260);
    let said = [("a", &long[..]), ("b", &long), ("c", &long)];
    let dropped = chat.recall(&tokenizer, "Be brief.", &said).unwrap();
    assert!((1..3).contains(&dropped), "{dropped}");
    ask(&mut chat, &mut session, &tokenizer, "And then?");
    check_answer(&chat, &model, &tokenizer);
    let longer = many(2000);
    assert_eq!(chat.recall(&tokenizer, "", &[("a", &longer)]), Ok(1));
    assert!(chat.sequence().context().is_empty());
}

#[test]
fn run_c_s_chat_takes_turns_back_too() {
    let (model, tokenizer) = llama2c();
    let steps = 200;
    let mut session = Session::new(&model, Options::default()).unwrap();
    let mut chat = Chat::new(&tokenizer, RunMode::Llama2Chat, steps, model.config.seq_len);
    let mut talk = |chat: &mut Chat, question: &str| {
        chat.begin_turn(&tokenizer, "", question).unwrap();
        let mut said = String::new();
        let mut out = |_, event: Event<'_>| {
            if let Event::Text { text, .. } = event {
                said += text;
            }
        };
        for _ in 0..30 {
            step(
                &mut session,
                &tokenizer,
                &mut [chat.sequence_mut()],
                &mut out,
            );
        }
        chat.stop(&tokenizer);
        said
    };
    let first = talk(&mut chat, "Hi");
    let second = talk(&mut chat, "Who?");
    assert!(chat.undo(&tokenizer));
    assert_eq!(talk(&mut chat, "Who?"), second);
    assert!(chat.undo(&tokenizer) && chat.undo(&tokenizer) && !chat.undo(&tokenizer));
    assert_eq!(
        (chat.sequence().context().len(), talk(&mut chat, "Hi")),
        (0, first)
    );
    // From elsewhere, and read again.
    assert_eq!(chat.recall(&tokenizer, "", &[("Hi", "Hello")]), Ok(0));
    let known = chat.sequence().context().len();
    assert!(known > 5);
    // Both times all of it is passed.
    chat.sequence_mut().forget_cache();
    let once = talk(&mut chat, "Who?");
    chat.undo(&tokenizer);
    chat.sequence_mut().forget_cache();
    assert_eq!(
        (chat.sequence().context().len(), talk(&mut chat, "Who?")),
        (known, once)
    );
}

/// A model in llama2.c's own format.
fn llama2c() -> (Model, Tokenizer) {
    let read = |name| std::fs::read(format!("{}/../models/{name}", env!("CARGO_MANIFEST_DIR")));
    let tokenizer = read("tokenizer.bin").unwrap();
    let tokenizer = Tokenizer::load(&mut &tokenizer[..]).unwrap();
    (load(&bundled_int8()).unwrap().0, tokenizer)
}

/// BOS stands once before a conversation, whoever asks for it: the file, its template, or both.
#[test]
fn a_conversation_begins_with_bos_once() {
    const BOS: u32 = 65;
    let written =
        "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m['role'] }}{% endfor %}";
    let set = "{%- set content = bos_token + '<|im_start|>' + messages[0].content -%}{{ content }}";
    let found = family::FAMILIES.iter().find(|f| f.name == "qwen2, yarn");
    let mut file = found.unwrap().make(7, &|_| Encoding::Q8_0);
    file.speak();
    let model = load(&file.bytes()).unwrap().0;
    let mut session = Session::new(&model, Options::default()).unwrap();
    for (jinja, writes) in [
        (written, true),
        (set, true),
        (" {{- bos_token -}} <|im_start|>", true),
        ("{{ eos_token if last else bos_token }}<|im_start|>", true),
        ("<|im_start|>{# bos_token #}", false),
        (
            "<|im_start|>{% if bos_token is defined %}{{ x }}{% endif %}",
            false,
        ),
        ("<|im_start|>{{ 'bos_token' }}", false),
        ("<|im_start|>{{ my_bos_token }}{{ bos_token_id }}", false),
        ("<|im_start|> bos_token", false),
    ] {
        for add in [None, Some(false), Some(true)] {
            for named in [true, false] {
                let mut file = file.clone();
                file.text("tokenizer.chat_template", jinja);
                if let Some(add) = add {
                    file.bool("tokenizer.ggml.add_bos_token", add);
                }
                if named {
                    file.u32("tokenizer.ggml.bos_token_id", BOS);
                }
                let tokenizer = Tokenizer::from_gguf(&mut &file.bytes()[..]).unwrap();
                let mut chat = Chat::new(&tokenizer, RunMode::Dialog, 1, 256);
                chat.begin_turn(&tokenizer, "", "Hi").unwrap();
                answer(&mut chat, &mut session, &tokenizer);
                if add == Some(true) && jinja == written {
                    chat.begin_turn(&tokenizer, "", "And?").unwrap();
                    answer(&mut chat, &mut session, &tokenizer);
                    // What the model says may be any token.
                    let starts = chat
                        .sequence()
                        .context()
                        .windows(2)
                        .filter(|two| *two == [BOS, START]);
                    assert_eq!(starts.count(), usize::from(named));
                }
                let wanted = named && (writes || add == Some(true));
                let begins = chat.sequence().context().starts_with(&[BOS, START]);
                assert_eq!(begins, wanted, "{jinja} {add:?} {named}");
                assert_eq!(begins, !chat.sequence().context().starts_with(&[START]));
            }
        }
    }
}

/// Weights that are numbers, and a result that is none: the answer ends, and says why.
#[test]
fn an_answer_ends_where_the_model_gives_no_numbers() {
    let found = family::FAMILIES.iter().find(|f| f.name == "llama").unwrap();
    let mut file = found.make(7, &|_| Encoding::F32);
    file.speak();
    file.text("tokenizer.chat_template", family::CHATML);
    // Finite, and too large for what it is multiplied by.
    for tensor in &mut file.tensors {
        if tensor.name == "output.weight" || tensor.name == "blk.1.ffn_down.weight" {
            for number in tensor.bytes.chunks_exact_mut(4) {
                number.copy_from_slice(&3e38f32.to_le_bytes());
            }
        }
    }
    let bytes = file.bytes();
    let tokenizer = Tokenizer::from_gguf(&mut &bytes[..]).unwrap();
    let model = load(&bytes).unwrap().0;
    let mut session = Session::new(&model, Options::default()).unwrap();
    for temperature in [0.0, 1.0] {
        for by_run_c in [true, false] {
            let sampler = || match by_run_c {
                true => Sampler::new(family::VOCABULARY, temperature, 0.9, 1),
                false => {
                    let settings = SamplerParams::default().with(Param::Temperature, temperature);
                    Sampler::with(family::VOCABULARY, settings, 1)
                }
            };
            let broken = Some(EndReason::NotNumbers);
            let mut story = Sequence::story(&tokenizer, b"Hi", 99, 256, sampler()).unwrap();
            text_of(&mut story, &mut session, &tokenizer);
            assert_eq!((story.end(), story.passes()), (broken, 1));
            for mode in [RunMode::Dialog, RunMode::Llama2Chat] {
                let mut chat = Chat::new(&tokenizer, mode, 99, 256);
                chat.begin_turn(&tokenizer, "", "Hi").unwrap();
                chat.sequence_mut().set_sampler(sampler());
                assert_eq!(answer(&mut chat, &mut session, &tokenizer), "");
                assert_eq!(chat.sequence().end(), broken);
            }
        }
    }
    // A good model is never broken.
    let (good, tokenizer) = speaker();
    let mut session = Session::new(&good, Options::default()).unwrap();
    let mut chat = Chat::new(&tokenizer, RunMode::Dialog, 4, 256);
    chat.begin_turn(&tokenizer, "", "Hi").unwrap();
    answer(&mut chat, &mut session, &tokenizer);
    assert_ne!(chat.sequence().end(), Some(EndReason::NotNumbers));
}

/// What a shell or a server is told of an answer: the prompt's progress, then every token once with
/// its text, then the end, which comes once.
#[test]
fn an_answer_is_a_stream_of_events() {
    let (model, tokenizer) = speaker();
    let mut session = Session::new(&model, Options::default()).unwrap();
    let mut chat = Chat::new(&tokenizer, RunMode::Dialog, 20, model.config.seq_len);
    chat.sequence_mut().limit_batch(8);
    for question in ["Who are you, and why?", "And then?"] {
        let before = chat.sequence().context().len();
        chat.begin_turn(&tokenizer, "Be brief.", question).unwrap();
        let (mut read, mut ids, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        let mut out = |place, event: Event<'_>| {
            assert_eq!((place, ends.len()), (0, 0), "nothing follows the end");
            match event {
                Event::PromptRead { done, total } => {
                    assert!(ids.is_empty());
                    read.push((done, total));
                }
                Event::Reasoning { tokens, .. } | Event::Text { tokens, .. } => {
                    assert!(tokens.logprobs.is_empty() && tokens.top.is_empty());
                    ids.extend(tokens.ids);
                }
                Event::End(reason) => ends.push(reason),
            }
        };
        while step(
            &mut session,
            &tokenizer,
            &mut [chat.sequence_mut()],
            &mut out,
        ) > 0
        {}
        let total = read[0].1;
        assert!(read.len() > 2 && read.is_sorted(), "{read:?}");
        assert_eq!(read.last(), Some(&(total, total)));
        let sequence = chat.sequence();
        assert_eq!(sequence.end(), ends.first().copied());
        // The last token that was drawn has not been passed, and one that ends has no text.
        let answer = &sequence.context()[before + total..];
        assert!(ids.starts_with(answer), "{ids:?} {answer:?}");
        let is_end = ends == [EndReason::EndToken];
        assert_eq!(ids.len(), sequence.drawn() - usize::from(is_end));
    }
}

/// After the older half of a text was forgotten and its last line taken back, the next line fits
/// behind it.
#[test]
fn a_text_goes_on_after_its_half_was_forgotten_and_a_line_taken_back() {
    let (model, mut tokenizer) = speaker();
    tokenizer.set_chat_template(None);
    let mut session = Session::new(&model, Options::default()).unwrap();
    let seq_len = 160;
    let mut chat = Chat::new(&tokenizer, RunMode::Dialog, 12, seq_len);
    let mut before = Vec::new();
    while !matches!(chat.forgotten(), Some(Forgotten::Tokens(_))) {
        before = chat.sequence().context().to_vec();
        chat.begin_turn(&tokenizer, "", &"zx".repeat(10)).unwrap();
        answer(&mut chat, &mut session, &tokenizer);
    }
    // What was forgotten for it comes back with it, at last the beginning.
    assert!(chat.undo(&tokenizer));
    assert_eq!(chat.sequence().context(), before);
    chat.begin_turn(&tokenizer, "", &"zx".repeat(10)).unwrap();
    answer(&mut chat, &mut session, &tokenizer);
    while chat.undo(&tokenizer) {}
    assert!(chat.sequence().context().is_empty());
    for length in [10, 60] {
        chat.begin_turn(&tokenizer, "", &"zx".repeat(length))
            .unwrap();
        answer(&mut chat, &mut session, &tokenizer);
        assert!(chat.sequence().drawn() > 0);
    }
    // The longest line: each that is not refused is answered.
    for length in seq_len - 8..seq_len + 2 {
        let line = "z".repeat(length);
        if chat.begin_turn(&tokenizer, "", &line).is_ok() {
            answer(&mut chat, &mut session, &tokenizer);
            assert!(chat.sequence().drawn() > 0, "{length}");
        }
    }
}

/// A model with this template, and its vocabulary's marks of reasoning.
fn speaker_in(template: &str) -> (Model, Tokenizer) {
    let found = family::FAMILIES.iter().find(|f| f.name == "qwen2, yarn");
    let mut file = found.unwrap().make(7, &|_| Encoding::Q8_0);
    file.speak_with(&["<think>", "</think>"]);
    file.text("tokenizer.chat_template", template);
    let bytes = file.bytes();
    let tokenizer = Tokenizer::from_gguf(&mut &bytes[..]).unwrap();
    (load(&bytes).unwrap().0, tokenizer)
}

/// Trims what is said, as Llama 3's.
const TRIMS: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (m.content | trim) \
    + '<|im_end|>' }}{% endfor %}{{ '<|im_start|>assistant\n' }}";

/// A template may lay an answer out otherwise than it was begun: what follows is passed again, and
/// nothing else. The texts are the same whatever the cache holds.
#[test]
fn what_a_template_rewrites_is_passed_again() {
    let mut rewritten = 0;
    for (template, think) in [
        (family::CHATML, true),
        (family::THINKER, true),
        (family::THINKER, false),
        (TRIMS, true),
    ] {
        let (model, tokenizer) = speaker_in(template);
        let mut session = Session::new(&model, Options::default()).unwrap();
        let mut talk = |forgets: bool, undoes: bool| {
            let mut chat = Chat::new(&tokenizer, RunMode::Dialog, 12, model.config.seq_len);
            chat.set_thinking(think);
            let mut contexts: Vec<Vec<u32>> = Vec::new();
            for question in ["Who are you?", " And then? ", "Why?"] {
                if undoes {
                    chat.begin_turn(&tokenizer, "Be brief.", "Never mind")
                        .unwrap();
                    answer(&mut chat, &mut session, &tokenizer);
                    assert!(chat.undo(&tokenizer));
                }
                if forgets {
                    session.prefill(&[5; 40], 0);
                    chat.sequence_mut().forget_cache();
                }
                let before = chat.sequence().context().to_vec();
                let passes = chat.sequence().passes();
                chat.begin_turn(&tokenizer, "Be brief.", question).unwrap();
                answer(&mut chat, &mut session, &tokenizer);
                let after = chat.sequence().context().to_vec();
                let same = before
                    .iter()
                    .zip(&after)
                    .take_while(|(a, b)| a == b)
                    .count();
                rewritten += usize::from(same < before.len());
                if !forgets {
                    let passed = chat.sequence().passes() - passes;
                    assert!(passed <= after.len() - same + 1, "{passed}");
                }
                contexts.push(after);
            }
            contexts
        };
        let plain = talk(false, false);
        assert_eq!(talk(true, false), plain, "{template}");
        assert_eq!(talk(false, true), plain, "{template}");
    }
    assert!(rewritten > 0);
}

/// A template that refuses is asked again for each turn; its sentence is the error.
#[test]
fn a_template_that_refuses_says_why() {
    let template = "{% if messages[0].role == 'system' %}\
        {{ raise_exception('System role not supported') }}{% endif %}\
        {{ messages[-1].content }}";
    let (model, tokenizer) = speaker_in(template);
    let mut chat = Chat::new(&tokenizer, RunMode::Dialog, 4, model.config.seq_len);
    let refused = chat.begin_turn(&tokenizer, "Be brief.", "Hi").unwrap_err();
    assert!(
        refused.to_string().contains("System role not supported"),
        "{refused}"
    );
    chat.begin_turn(&tokenizer, "", "Hi").unwrap();
    assert_eq!(
        chat.sequence().progress().1,
        tokenizer.encode(b"Hi", true, false).len()
    );
    let begun = |tokenizer: &Tokenizer, system: &str, prompt: Option<&str>| {
        let settings = Settings {
            system: Some(system.into()),
            prompt: prompt.map(Into::into),
            ..Settings::default()
        };
        let chat = settings.chat(tokenizer, RunMode::Dialog, 256, NO_CLOCK);
        chat.is_ok()
    };
    assert!(begun(&tokenizer, "", None) && !begun(&tokenizer, "Be brief.", None));
    // What was not said yet is not refused.
    let (_, tokenizer) = speaker_in("{{ raise_exception('No') }}");
    assert!(begun(&tokenizer, "", None) && !begun(&tokenizer, "", Some("Hi")));
}

/// A template that takes endless time or memory for a single word is chatml, and says why.
#[test]
fn a_template_without_end_is_chatml() {
    let endless =
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}";
    let huge = "{% set x = 'a' %}".to_owned() + &"{% set x = x + x %}".repeat(40);
    let (model, chatml) = speaker_in(family::CHATML);
    for template in [endless, &huge] {
        let (_, tokenizer) = speaker_in(template);
        let fault = ChatTemplate::new(template).fault().map(ToString::to_string);
        assert!(fault.is_some_and(|why| why.contains("more than")));
        let begun = |tokenizer: &Tokenizer| {
            let mut chat = Chat::new(tokenizer, RunMode::Dialog, 4, model.config.seq_len);
            chat.begin_turn(tokenizer, "Be brief.", "Hi").unwrap();
            chat.sequence().progress().1
        };
        assert_eq!(begun(&tokenizer), begun(&chatml));
    }
    assert!(
        ChatTemplate::new("{{ raise_exception('No') }}")
            .fault()
            .is_none()
    );
}

/// An answer begins inside of reasoning where the template says so, whatever the user says.
#[test]
fn only_the_template_opens_a_thought() {
    for (end, opens) in [("", false), ("\n<think>\n", true), ("<think", false)] {
        let template = format!("{{{{ messages[-1].content }}}}\n{end}");
        let (_, tokenizer) = speaker_in(&template);
        let template = ChatTemplate::of_tokenizer(&tokenizer).unwrap();
        let options = RenderOptions {
            answers: true,
            thinks: true,
            now: NO_CLOCK,
        };
        for said in ["Hi", "What is <think>", "<think>\n", ">"] {
            let messages = [ChatMessage::new(ChatRole::User, said)];
            let rendered = template.render(&tokenizer, &messages, &options).unwrap();
            assert_eq!(rendered.opens_thought, opens, "{said} {end}");
        }
    }
}

/// Templates may tell the model what day it is: the one that was set.
#[test]
fn templates_know_the_date() {
    let (model, tokenizer) = speaker_in("{{ strftime_now('%d %B %Y') }} {{ messages[0].content }}");
    let mut session = Session::new(&model, Options::default()).unwrap();
    let mut chat = Chat::new(&tokenizer, RunMode::Dialog, 1, model.config.seq_len);
    for (year, want) in [(2024, "26 July 2024 Hi"), (1999, "26 July 1999 Hi")] {
        chat.set_date(DateTime { year, ..NO_CLOCK });
        chat.begin_turn(&tokenizer, "", "Hi").unwrap();
        answer(&mut chat, &mut session, &tokenizer);
        let want = tokenizer.encode(want.as_bytes(), true, false);
        assert!(chat.sequence().context().starts_with(&want));
        chat.undo(&tokenizer);
    }
}

/// A model of random weights goes round in circles, as small ones do: its answer is ended, and the
/// conversation goes on.
#[test]
fn an_answer_that_repeats_itself_is_ended() {
    let found = family::FAMILIES.iter().find(|f| f.name == "qwen2");
    let mut file = found.unwrap().make(7, &|_| Encoding::Q8_0);
    file.speak();
    file.u32("qwen2.context_length", 900);
    let bytes = file.bytes();
    let tokenizer = Tokenizer::from_gguf(&mut &bytes[..]).unwrap();
    let model = load(&bytes).unwrap().0;
    let said = |mode, guard, question| {
        let mut session = Session::new(&model, Options::default()).unwrap();
        let mut chat = Chat::new(&tokenizer, mode, usize::MAX, 900);
        chat.sequence_mut().set_sampler(greedy());
        chat.sequence_mut().set_repeat_guard(guard);
        chat.begin_turn(&tokenizer, "", question).unwrap();
        let text = answer(&mut chat, &mut session, &tokenizer);
        let end = chat.sequence().end();
        let drawn = chat.sequence().drawn();
        if end == Some(EndReason::Repeats) {
            chat.begin_turn(&tokenizer, "", "and").unwrap();
            one(&mut chat, &mut session, &tokenizer);
        }
        (text, end, drawn)
    };
    for question in ["a", "to and fro"] {
        let (text, end, drawn) = said(RunMode::Dialog, true, question);
        assert_eq!(end, Some(EndReason::Repeats));
        assert!((768..880).contains(&drawn), "{drawn}");
        let (whole, end, _) = said(RunMode::Dialog, false, question);
        assert_eq!(end, Some(EndReason::ContextFull));
        assert!(whole.len() > text.len() && whole.starts_with(&text));
        // run.c's chat is as it always was.
        let (_, end, _) = said(RunMode::Llama2Chat, true, question);
        assert_ne!(end, Some(EndReason::Repeats));
    }
}
