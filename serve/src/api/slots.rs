//! Slots: what each does, and saving, restoring and erasing what they hold.

use alloc::{format, string::String, vec::Vec};

use serde_json::{Value, json};

use super::Call;
use crate::{
    error::{ApiError, Kind},
    field,
    state::ServerState,
};

/// First bytes of a file of saved keys and values.
const MAGIC: u32 = u32::from_le_bytes(*b"ggsq");
/// Version of its layout.
const VERSION: u32 = 2;
/// Words before the tokens: a token that no vocabulary has, a version, a count.
const NO_TOKEN: u32 = u32::MAX;

/// `/slots`.
///
/// # Errors
/// If the server was started without.
pub(crate) fn list(state: &ServerState<'_>) -> Result<Value, ApiError> {
    if !state.config.shows_slots {
        let sentence = "This server does not support slots endpoint. Start it with `--slots`";
        return Err(ApiError::unsupported(sentence));
    }
    let slots = (0..).zip(state.scheduler.slots());
    Ok(slots
        .map(|(id, slot): (usize, _)| {
            let mut object = json!({
                "id": id,
                "n_ctx": state.scheduler.seq_len(),
                "speculative": false,
                "is_processing": slot.generation.is_some(),
                "n_tokens_cached": slot.cached().len(),
            });
            if let Some(generation) = &slot.generation {
                let most = generation.task.params.most;
                let left = most.map_or(-1, |most| most.saturating_sub(generation.drawn) as i64);
                object["id_task"] = generation.task.id.0.into();
                object["n_prompt_tokens"] = generation.prompt_len().into();
                object["n_prompt_tokens_processed"] = generation.read.into();
                object["n_prompt_tokens_cache"] = generation.reused.into();
                object["params"] = generation.task.params.settings();
                object["next_token"] = json!([{
                    "has_next_token": true,
                    "has_new_line": generation.content.contains('\n'),
                    "n_remain": left,
                    "n_decoded": generation.drawn,
                }]);
            }
            object
        })
        .collect())
}

/// `/slots/NUMBER?action=…`.
pub(crate) fn act(
    call: &mut Call<'_, '_, '_, '_>,
    number: Option<usize>,
) -> Result<Value, ApiError> {
    if !call.state.config.saves_slots {
        let sentence = "This server does not support slots action. \
            Start it with `--slot-save-path`";
        return Err(ApiError::unsupported(sentence));
    }
    let count = call.state.scheduler.slots().len();
    let Some(slot) = number.filter(|&slot| slot < count) else {
        let sentence = format!("Invalid slot ID: there are slots 0 to {}", count - 1);
        return Err(ApiError::invalid(sentence));
    };
    if call.state.scheduler.slots()[slot].generation.is_some() {
        let sentence = format!("slot {slot} is busy: wait until its request is over");
        return Err(ApiError::new(Kind::Unavailable, sentence));
    }
    let action = call.request.query("action").unwrap_or_default();
    if action == "erase" {
        let erased = match &mut call.session {
            Some(session) => call.state.scheduler.erase(slot, session),
            None => 0,
        };
        return Ok(json!({ "id_slot": slot, "n_erased": erased }));
    }
    let body = super::body(call.request)?;
    let name = field::text(&body, "filename")?.unwrap_or_default();
    if !is_plain(name) {
        let sentence = "Invalid filename: it must be a name without folders";
        return Err(ApiError::invalid(sentence));
    }
    let begun = call.machine.now();
    let ms =
        |call: &Call<'_, '_, '_, '_>| call.machine.now().saturating_sub(begun).as_secs_f64() * 1e3;
    let failed = |sentence: String| ApiError::new(Kind::Server, sentence);
    match action {
        "save" => {
            let tokens = call.state.scheduler.slots()[slot].cached().to_vec();
            let bytes = write(call, slot, &tokens);
            call.machine.save(name, &bytes).map_err(failed)?;
            Ok(json!({
                "id_slot": slot,
                "filename": name,
                "n_saved": tokens.len(),
                "n_written": bytes.len(),
                "timings": { "save_ms": ms(call) },
            }))
        }
        "restore" => {
            let bytes = call.machine.load(name).map_err(failed)?;
            let tokens = read(call, slot, &bytes)
                .map_err(|what| ApiError::invalid(format!("{name} cannot be restored: {what}")))?;
            Ok(json!({
                "id_slot": slot,
                "filename": name,
                "n_restored": tokens,
                "n_read": bytes.len(),
                "timings": { "restore_ms": ms(call) },
            }))
        }
        _ => Err(ApiError::invalid(
            "Invalid action: it must be save, restore or erase",
        )),
    }
}

/// Tells whether a name is a file's in the folder of saved slots.
fn is_plain(name: &str) -> bool {
    let is_allowed = |c: char| c.is_alphanumeric() || "-_. ".contains(c);
    !name.is_empty()
        && name.len() <= 200
        && name.chars().all(is_allowed)
        && !name.starts_with(['.', ' '])
        && !name.ends_with(['.', ' '])
        && !name.contains("..")
}

/// A slot as a file: llama.cpp's head of a sequence's state, the tokens, and this program's keys
/// and values.
fn write(call: &Call<'_, '_, '_, '_>, slot: usize, tokens: &[u32]) -> Vec<u8> {
    let head = [MAGIC, VERSION, tokens.len() as u32 + 3];
    let packed = [NO_TOKEN, 1, tokens.len() as u32];
    let tag = [tag(call)];
    let words = head.iter().chain(&packed).chain(tokens).chain(&tag);
    let mut bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
    if let Some(session) = &call.session {
        session.export(
            call.state.scheduler.sequence_of(slot),
            tokens.len(),
            &mut |piece| bytes.extend(piece),
        );
    }
    bytes
}

/// Reads a file into a slot. Returns how many tokens it holds then.
fn read(call: &mut Call<'_, '_, '_, '_>, slot: usize, bytes: &[u8]) -> Result<usize, &'static str> {
    const SHORT: &str = "it ends too early";
    let mut rest = bytes;
    let mut word = || -> Result<u32, &'static str> {
        let (word, others) = rest.split_first_chunk().ok_or(SHORT)?;
        rest = others;
        Ok(u32::from_le_bytes(*word))
    };
    if [word()?, word()?] != [MAGIC, VERSION] {
        return Err("it is no file of a saved slot");
    }
    let payload = word()? as usize;
    if payload > bytes.len() / 4 {
        return Err(SHORT);
    }
    let mut tokens = (0..payload)
        .map(|_| word())
        .collect::<Result<Vec<u32>, _>>()?;
    // Older files have the tokens alone.
    if tokens.first() == Some(&NO_TOKEN) {
        if tokens.len() < 3 || tokens[2] as usize != tokens.len() - 3 {
            return Err("its count of tokens is wrong");
        }
        tokens.drain(..3);
    }
    let vocab_size = call.state.tokenizer.vocab_size();
    if tokens.iter().any(|&token| token as usize >= vocab_size) {
        return Err("it has a token that the model's vocabulary has not");
    }
    if word()? != tag(call) {
        return Err("it was saved from another model, or with other settings of its cache");
    }
    if tokens.len() >= call.state.scheduler.seq_len() {
        return Err("it has more tokens than the context has places");
    }
    call.state.scheduler.hold(slot, &[]);
    let sequence = call.state.scheduler.sequence_of(slot);
    let session = call.session.as_deref_mut();
    if session.is_none_or(|session| !session.import(sequence, tokens.len(), rest)) {
        return Err("its keys and values are not as long as they should be");
    }
    call.state.scheduler.hold(slot, &tokens);
    Ok(tokens.len())
}

/// A number for the model and the arrangement of its cache: files of others are not taken.
fn tag(call: &Call<'_, '_, '_, '_>) -> u32 {
    let Some(session) = &call.session else {
        return 0;
    };
    let model = &session.model().config;
    let numbers = [
        model.dim,
        model.n_layers,
        model.n_kv_heads,
        model.vocab_size,
        session.positions(),
        session.kv_bytes(0) as usize,
    ];
    // FNV-1a.
    let bytes = numbers
        .iter()
        .flat_map(|number| (*number as u64).to_le_bytes());
    let name = call.state.config.model_path.bytes();
    bytes.chain(name).fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
