//! A whole session, so small that Miri runs it (`cargo xtask test miri`): memory that workers share
//! is written by one of them at a time, and read only when it was written.

use llama2_engine::{
    config::{Config, Variant},
    kernels::scalar,
    session::{KvType, Options, Session},
    speculation::Speculation,
    thread_tuner::Threads,
    workers::{Single, Workers},
};
use llama2_testing::{Maker, load, scoped::Scoped};

/// Heads of two elements, four queries to a key; a last panel that is not full.
const TINY: Config = Config {
    dim: 8,
    hidden_dim: 20,
    n_layers: 2,
    n_heads: 4,
    n_kv_heads: 1,
    vocab_size: 19,
    seq_len: 40,
    shared_classifier: true,
    variant: Variant::LLAMA2C,
};

/// Logits of a prompt in one batch and of two tokens behind it.
fn logits(file: &[u8], workers: &dyn Workers, kv: KvType) -> Vec<Vec<f32>> {
    let model = load(file).unwrap().0;
    let options = Options {
        sequences: 1,
        kernels: &scalar::KERNELS,
        workers,
        threads: Threads::Fixed(workers.count()),
        kv,
        positions: None,
        speculation: Speculation::Off,
    };
    let mut session = Session::new(&model, options).unwrap();
    let mut all = vec![session.prefill(&[1, 5, 9], 0).to_vec()];
    all.push(session.forward(18, 3).to_vec());
    all.push(session.forward(2, 4).to_vec());
    all
}

#[test]
fn a_tiny_session_is_sound() {
    let maker = Maker::random(TINY, 3);
    for (file, kv) in [(maker.v0(), KvType::F32), (maker.v2(4), KvType::F16)] {
        let alone = logits(&file, &Single, kv);
        assert_eq!(logits(&file, &Scoped(2), kv), alone);
        assert!(alone.iter().flatten().all(|logit| logit.is_finite()));
    }
}
