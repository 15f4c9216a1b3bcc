//! Replay of the fuzzers' inputs for what the shells read: valid ones, and all that once failed
//! (`fuzz/regressions/`).

mod download;
mod shells;

use llama2_testing::{gauge::Gauge, kept};

#[global_allocator]
static ALLOCATOR: Gauge = Gauge;

fn replay(target: &str, run: fn(&[u8])) {
    kept::replay(target, shells::seeds(target), run);
}

#[test]
fn configuration() {
    replay("configuration", shells::configuration);
}

#[test]
fn conversation() {
    replay("conversation", shells::conversation);
}

#[test]
fn command_line() {
    replay("command_line", shells::command_line);
}

#[test]
fn keys() {
    replay("keys", shells::keys);
}

#[test]
fn terminal() {
    replay("terminal", shells::terminal);
}

#[test]
fn markdown() {
    replay("markdown", shells::markdown);
}

#[test]
fn downloads() {
    kept::replay("download", download::seeds("download"), download::run);
}

/// Mutations of inputs that are rejected anyway find little.
#[test]
fn good_inputs_are_good() {
    let first = |target: &str| shells::seeds(target).swap_remove(0).bytes;
    let (_, warnings) = llama2_console::config::parse(&first("configuration")).unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let held = llama2_console::conversation::Conversation::parse(&first("conversation"));
    assert_eq!(held.unwrap().messages.len(), 3);
    let words = llama2_efi::command_line::load_options(&first("command_line")).unwrap();
    assert!(llama2_settings::flags::parse(&words).is_ok());
}

/// Mutations that know nothing of the format, in every test run: bytes changed, removed, doubled,
/// and cut off.
#[test]
fn mutated_by_chance() {
    for (target, run) in [
        ("download", download::run as fn(&[u8])),
        ("configuration", shells::configuration),
        ("conversation", shells::conversation),
        ("command_line", shells::command_line),
        ("keys", shells::keys),
        ("terminal", shells::terminal),
        ("markdown", shells::markdown),
    ] {
        let good = match target {
            "download" => download::seeds(target),
            _ => shells::seeds(target),
        };
        let mut state = 1u64;
        let mut random = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below.max(1)
        };
        for _ in 0..2000 {
            let mut bytes = good[random(good.len())].bytes.clone();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(5) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at.min(bytes.len()), random(256) as u8),
                    2 if !bytes.is_empty() => drop(bytes.remove(at)),
                    3 => bytes.extend_from_within(at..),
                    _ => bytes
                        .iter_mut()
                        .skip(at)
                        .take(1)
                        .for_each(|b| *b = random(256) as u8),
                }
            }
            run(&bytes);
        }
    }
}
