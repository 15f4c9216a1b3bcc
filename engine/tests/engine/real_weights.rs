//! Files in every type that is written, against llama.cpp: their bytes against llama-quantize's,
//! and a real model's distributions of the next token (`cargo xtask test real`).
//! `LLAMA2_ORACLE_REAL` says how to ask llama.cpp (`python engine/tests/llama_cpp/real.py`),
//! `LLAMA2_REAL_MODEL` names the model, and `LLAMA2_REAL_SHORT` leaves most of it out.
//!
//! Where activations are rounded to int8, a last bit becomes a whole step sooner or later, and the
//! text another one. So the measure is a distance, the mean KL divergence of the distributions, and
//! the yardstick is llama.cpp's distance from itself when it keeps keys and values in half instead
//! of single precision.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use llama2_convert::Mixture;
use llama2_engine::{
    checkpoint::{Checkpoint, Tensor},
    layout::Encoding,
    model::Model,
    session::{KvType, Options, Session},
    tokenizer::Tokenizer,
};
use llama2_testing::{as_gguf, family::FAMILIES, load};

/// Tokens of the text, and those that are passed at a time.
const TOKENS: usize = 2000;
const AT_ONCE: usize = 250;
/// Tokens of each greedy text.
const GREEDY: usize = 64;
/// Tokens, types, questions and slack if time is short.
const SHORT: (usize, &[&str], usize, f64) = (256, &["F32", "Q8_0", "Q4_0"], 4, 1.25);
/// Largest distance relative to the yardstick, which is itself one draw: with other last bits
/// (another base of RoPE, one token at a time) llama.cpp is 5 % nearer to itself or farther.
const SLACK: f64 = 1.1;

/// English prose that is in every clone, and in no model's training data.
const TEXT: &str = include_str!("../../../ARCHITECTURE.md");

/// Questions whose likeliest answers are compared.
const QUESTIONS: [&str; 20] = [
    "What is the capital of France?",
    "Why is the sky blue?",
    "Write a short poem about the sea.",
    "How do I boil an egg?",
    "Name three animals that live in Africa.",
    "What is 17 plus 25?",
    "Explain photosynthesis to a child.",
    "Who wrote Romeo and Juliet?",
    "Translate 'good morning' into Spanish.",
    "Write a Python function that adds two numbers.",
    "What should I pack for a week in the mountains?",
    "Tell me a story about a dragon who was afraid of fire.",
    "What is the difference between a virus and a bacterium?",
    "Give me a recipe for pancakes.",
    "How far away is the moon?",
    "Summarise the plot of Cinderella in two sentences.",
    "Why do leaves change colour in autumn?",
    "What is an operating system?",
    "Suggest a name for a small black cat.",
    "How can I sleep better at night?",
];

/// How to ask llama.cpp.
struct Oracle(String);

impl Oracle {
    /// The oracle, or a loud word that the test is skipped.
    fn find() -> Option<Oracle> {
        let found = std::env::var("LLAMA2_ORACLE_REAL").ok().map(Oracle);
        if found.is_none() {
            eprintln!("SKIPPED: LLAMA2_ORACLE_REAL does not say how to ask llama.cpp");
        }
        found
    }

    /// Starts `python real.py WORDS…` with `texts` as its input.
    fn start(&self, words: &[&str], texts: &[Vec<u32>]) -> Child {
        let mut command = self.0.split_whitespace();
        let mut child = Command::new(command.next().unwrap())
            .args(command)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        for text in texts {
            let words: Vec<String> = text.iter().map(u32::to_string).collect();
            writeln!(input, "{}", words.join(" ")).unwrap();
        }
        child
    }

    /// llama-quantize's file of this mixture, made from the file `from`.
    fn quantize(&self, from: &Temporary, mixture: Mixture) -> Vec<u8> {
        let to = Temporary::new();
        let number = mixture.number().unwrap().to_string();
        let pure = matches!(mixture, Mixture::Pure(_));
        let words = [
            "quantize",
            from.path(),
            to.path(),
            &number,
            if pure { "1" } else { "0" },
        ];
        assert!(self.start(&words, &[]).wait().unwrap().success());
        fs::read(&to.0).unwrap()
    }
}

/// File that is removed when it is done with.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("llama2-real-{}-{number}.gguf", std::process::id());
        Temporary(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    fn with(bytes: &[u8]) -> Self {
        let file = Temporary::new();
        fs::write(&file.0, bytes).unwrap();
        file
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It need not have been written.
        let _ = fs::remove_file(&self.0);
    }
}

/// Every tensor's type and bytes.
fn tensors(file: &[u8]) -> BTreeMap<String, (Encoding, &[u8])> {
    let checkpoint = Checkpoint::open(&mut &file[..]).unwrap();
    let entry = |tensor: &Tensor| {
        let bytes = &file[tensor.offset as usize..][..tensor.file_bytes() as usize];
        (tensor.name(), (tensor.encoding, bytes))
    };
    checkpoint.used().map(entry).collect()
}

/// Checks that two files have the same tensors.
fn assert_same(what: &str, ours: &[u8], theirs: &[u8]) {
    let (ours, theirs) = (tensors(ours), tensors(theirs));
    assert!(ours.keys().eq(theirs.keys()), "{what}");
    for (name, (encoding, bytes)) in ours {
        let (wanted, same) = theirs[&name];
        assert_eq!(encoding, wanted, "{what}: {name}");
        assert!(bytes == same, "{what}: bytes of {name}");
    }
}

#[test]
fn files_are_those_of_llama_cpps_quantize() {
    let Some(oracle) = Oracle::find() else { return };
    for family in &FAMILIES[..2] {
        let file = family.make(5, &|_| Encoding::F32).bytes();
        let from = Temporary::with(&file);
        for mixture in Mixture::WRITTEN {
            let theirs = oracle.quantize(&from, mixture);
            let what = format!("{} in {mixture}", family.name);
            assert_same(&what, &as_gguf(&file, mixture, None), &theirs);
        }
    }
}

/// A token's logits as the logarithms of probabilities.
fn logarithms(logits: &[f32], out: &mut Vec<f64>) {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    out.clear();
    out.extend(logits.iter().map(|&logit| f64::from(logit) - largest));
    let sum: f64 = out.iter().map(|x| x.exp()).sum();
    let sum = sum.ln();
    out.iter_mut().for_each(|x| *x -= sum);
}

/// KL divergence of `q` from `p`, in nats.
fn divergence(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Divergences and perplexities of one file.
#[derive(Default)]
struct Measured {
    /// Surprise of each token of the text, in nats: ours and llama.cpp's.
    ours: Vec<f64>,
    theirs: Vec<f64>,
    /// Our divergence from llama.cpp after each token, both with keys and values in single
    /// precision, and both in half.
    single: Vec<f64>,
    half: Vec<f64>,
    /// llama.cpp's divergence from itself between the two: the yardstick.
    own: Vec<f64>,
}

impl Measured {
    fn new(oracle: &Oracle, file: &Temporary, model: &Model, text: &[u32]) -> Self {
        let words = ["score", file.path(), &AT_ONCE.to_string()];
        let mut child = oracle.start(&words, &[text.to_vec()]);
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut sessions = [KvType::F32, KvType::F16].map(|kv| {
            let options = Options {
                kv,
                positions: Some(text.len()),
                ..Options::default()
            };
            Session::new(model, options).unwrap()
        });
        let vocabulary = model.config.vocab_size;
        let mut found = Measured::default();
        let mut logs: [Vec<f64>; 4] = Default::default();
        for (index, tokens) in text.chunks(AT_ONCE).enumerate() {
            let first = index * AT_ONCE;
            let mut logits: Vec<Vec<f32>> = Vec::new();
            for _ in 0..2 {
                let mut bytes = vec![0; 4 * tokens.len() * vocabulary];
                answers.read_exact(&mut bytes).expect("llama.cpp's logits");
                let numbers = bytes.as_chunks().0.iter();
                logits.push(numbers.map(|b| f32::from_le_bytes(*b)).collect());
            }
            for session in &mut sessions {
                logits.push(vec![0.0; tokens.len() * vocabulary]);
                session.score(tokens, first, logits.last_mut().unwrap());
            }
            for i in 0..tokens.len() {
                for (log, logits) in logs.iter_mut().zip(&logits) {
                    logarithms(&logits[i * vocabulary..][..vocabulary], log);
                }
                let [single, half, our_single, our_half] = &logs;
                found.single.push(divergence(single, our_single));
                found.half.push(divergence(half, our_half));
                found.own.push(divergence(single, half));
                if let Some(&next) = text.get(first + i + 1) {
                    found.theirs.push(-single[next as usize]);
                    found.ours.push(-our_single[next as usize]);
                }
            }
        }
        assert!(child.wait().unwrap().success());
        found
    }

    /// Our divergence relative to the yardstick, and its standard error, as if tokens were
    /// independent.
    fn ratio(&self) -> (f64, f64) {
        let pairs = self.single.iter().zip(&self.own);
        let differences: Vec<f64> = pairs.map(|(single, own)| single - own).collect();
        let middle = mean(&differences);
        let squares: f64 = differences.iter().map(|x| (x - middle).powi(2)).sum();
        let error = squares.sqrt() / differences.len() as f64;
        (
            mean(&self.single) / mean(&self.own),
            error / mean(&self.own),
        )
    }

    /// Row of the table of a file of `bytes` bytes.
    fn row(&self, mixture: Mixture, file: &[u8]) -> String {
        let checkpoint = Checkpoint::open(&mut &file[..]).unwrap();
        let mut elements = BTreeMap::new();
        for tensor in checkpoint.used() {
            let count = tensor.rows as u64 * tensor.cols as u64;
            *elements.entry(tensor.encoding.to_string()).or_insert(0) += count;
        }
        let all = checkpoint.parameters() as f64;
        let mut shares: Vec<_> = elements.into_iter().collect();
        shares.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let shares = shares.iter().filter_map(|(encoding, count)| {
            let percent = 100.0 * *count as f64 / all;
            // Norms, which are always in F32, are 0.03 %.
            (percent >= 0.1).then(|| format!("{encoding} {percent:.0} %"))
        });
        let bits: u64 = checkpoint.used().map(Tensor::file_bytes).sum();
        let (ratio, error) = self.ratio();
        format!(
            "| {mixture} | {} | {:.2} | {:.0} | {:.3} | {:.3} | {:.2e} | {:.2e} | {:.2e} \
             | {ratio:.2} ± {error:.2} |",
            shares.collect::<Vec<_>>().join(", "),
            8.0 * bits as f64 / all,
            file.len() as f64 / 1e6,
            mean(&self.ours).exp(),
            mean(&self.theirs).exp(),
            mean(&self.single),
            mean(&self.own),
            mean(&self.half),
        )
    }
}

/// Columns of the table.
const HEAD: [&str; 10] = [
    "type",
    "weights",
    "bits",
    "MB",
    "perplexity",
    "llama.cpp's",
    "KL to llama.cpp",
    "KL of llama.cpp to itself",
    "KL, both with `f16`",
    "relative",
];

/// Number of questions whose likeliest answers are llama.cpp's.
fn same_answers(
    oracle: &Oracle,
    file: &Temporary,
    model: &Model,
    tokenizer: &Tokenizer,
    questions: &[&str],
) -> usize {
    let prompts: Vec<Vec<u32>> = questions
        .iter()
        .map(|question| {
            let prompt = format!("<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n");
            tokenizer.encode_parsed(prompt.as_bytes(), false, false)
        })
        .collect();
    let words = ["continue", file.path(), &GREEDY.to_string()];
    let mut child = oracle.start(&words, &prompts);
    let answers = BufReader::new(child.stdout.take().unwrap()).lines();
    let same = prompts.iter().zip(answers).filter(|(prompt, answer)| {
        let words = answer.as_ref().unwrap().split_whitespace();
        let answer: Vec<u32> = words.map(|word| word.parse().unwrap()).collect();
        assert!(answer.len() == GREEDY || answer.last().is_some_and(|&t| tokenizer.is_end(t)));
        // Each token is the likeliest after those before it: then so is the text.
        let mut text = [&prompt[..], &answer[..]].concat();
        text.pop();
        let mut logits = vec![0.0; text.len() * model.config.vocab_size];
        let options = Options {
            positions: Some(text.len()),
            ..Options::default()
        };
        let mut session = Session::new(model, options).unwrap();
        session.score(&text, 0, &mut logits);
        let each = logits.chunks_exact(model.config.vocab_size);
        let likeliest = each.skip(prompt.len() - 1);
        let mut likeliest = likeliest.map(|logits| (session.kernels().argmax)(logits) as u32);
        answer.iter().all(|&token| likeliest.next() == Some(token))
    });
    let same = same.count();
    assert!(child.wait().unwrap().success());
    same
}

#[test]
fn a_real_model_is_as_near_to_llama_cpp_as_that_is_to_itself() {
    let Some(oracle) = Oracle::find() else { return };
    let Some(path) = std::env::var_os("LLAMA2_REAL_MODEL") else {
        eprintln!("SKIPPED: LLAMA2_REAL_MODEL names no model; see cargo xtask test real");
        return;
    };
    let short = std::env::var_os("LLAMA2_REAL_SHORT").map(|_| SHORT);
    let (count, types, questions, slack) = short.unwrap_or((TOKENS, &[], QUESTIONS.len(), SLACK));
    let original = fs::read(&path).unwrap();
    let tokenizer = Tokenizer::from_gguf(&mut &original[..]).unwrap();
    let mut text = tokenizer.encode(TEXT.as_bytes(), false, false);
    text.truncate(count);
    let single = as_gguf(&original, Mixture::Pure(Encoding::F32), None);
    drop(original);
    let from = Temporary::with(&single);
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for mixture in Mixture::WRITTEN {
        let name = mixture.to_string();
        if !types.is_empty() && !types.contains(&&name[..]) {
            continue;
        }
        let start = Instant::now();
        let bytes = as_gguf(&single, mixture, None);
        assert_same(&name, &bytes, &oracle.quantize(&from, mixture));
        let file = Temporary::with(&bytes);
        let (model, _) = load(&bytes).unwrap();
        let measured = Measured::new(&oracle, &file, &model, &text);
        let row = measured.row(mixture, &bytes);
        println!("{row} {:.0} s", start.elapsed().as_secs_f64());
        rows.push(row);
        let (ratio, _) = measured.ratio();
        if ratio > slack {
            failed.push(format!("{name}: {ratio:.2} times the yardstick"));
        }
        if matches!(mixture, Mixture::Pure(Encoding::F32 | Encoding::F16)) {
            let start = Instant::now();
            let questions = &QUESTIONS[..questions];
            let same = same_answers(&oracle, &file, &model, &tokenizer, questions);
            println!(
                "{name}: {same} of {} likeliest answers are llama.cpp's, {:.0} s",
                questions.len(),
                start.elapsed().as_secs_f64()
            );
            if same < questions.len() {
                failed.push(format!("{name}: {same} answers of {}", questions.len()));
            }
        }
    }
    let (head, line) = (HEAD.join(" | "), "|---".repeat(HEAD.len()));
    let rows = rows.join("\n");
    println!("{} tokens:\n\n| {head} |\n{line}|\n{rows}\n", text.len());
    assert!(failed.is_empty(), "{}", failed.join("; "));
}
