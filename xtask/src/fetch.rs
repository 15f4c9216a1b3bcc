//! Downloads models by name: resumed after interruptions, and checked before they get their final
//! names.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{setup, shell::root};

const HUB: &str = "https://huggingface.co/karpathy/tinyllamas/resolve/main";
const LLAMA2_C: &str = "https://raw.githubusercontent.com/karpathy/llama2.c/master";

/// Flags of `cargo xtask fetch`.
#[derive(clap::Args)]
pub struct FetchArgs {
    /// Which model
    #[arg(value_enum)]
    model: Name,
    /// Folder to put it in [default: models/fetched]
    #[arg(short, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// A mirror of the models' repository
    #[arg(long, default_value = HUB, value_name = "URL")]
    base_url: String,
    /// A mirror of the folder with llama2.c's tokenizer.bin
    #[arg(long, default_value = LLAMA2_C, value_name = "URL")]
    tokenizer_base_url: String,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "verbatim")]
#[allow(non_camel_case_types)]
enum Name {
    stories260K,
    stories15M,
    stories42M,
    stories110M,
}

/// File on the hub.
struct Item {
    /// Path below the base URL.
    path: &'static str,
    /// Name of the local file.
    name: &'static str,
    size: u64,
    sha256: &'static str,
}

const TOKENIZER: Item = Item {
    path: "tokenizer.bin",
    name: "tokenizer.bin",
    size: 433_869,
    sha256: "50a52ef822ee9e83de5ce9d0be0a025a773d019437f58b5ff9dcafb063ece361",
};

impl Name {
    fn model(self) -> Item {
        let (path, name, size, sha256) = match self {
            Name::stories260K => (
                "stories260K/stories260K.bin",
                "stories260K.bin",
                1_056_540,
                "b0a507e7ad0f626624f17112325e66691f9076d622e1d3274d103d00299f2696",
            ),
            Name::stories15M => (
                "stories15M.bin",
                "stories15M.bin",
                60_816_028,
                "cd590644d963867a2b6e5a1107f51fad663c41d79c149fbecbbb1f95fa81f49a",
            ),
            Name::stories42M => (
                "stories42M.bin",
                "stories42M.bin",
                167_020_572,
                "9f65a1000e17d0bc167dd6332e0ce5119a0222a3d920cead5bce413bfab2ee7b",
            ),
            Name::stories110M => (
                "stories110M.bin",
                "stories110M.bin",
                438_381_596,
                "515267168726a1ed1317a64a408492e6af3b67c1f71c5bd98c01d9d721803a24",
            ),
        };
        Item {
            path,
            name,
            size,
            sha256,
        }
    }
}

/// Downloads a model and its tokenizer.
pub fn fetch(args: &FetchArgs) -> Result<()> {
    setup::for_fetch()?;
    let folder = args
        .output
        .clone()
        .unwrap_or_else(|| root().join("models/fetched"));
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let model = args.model.model();
    let small = Item {
        path: "stories260K/tok512.bin",
        name: "tok512.bin",
        size: 6227,
        sha256: "037cb335abb25d1fa9e8ecae30ed2a3a8ace9302862ebcdc05d51a6bbb10c312",
    };
    let (tokenizer, tokenizer_base) = match args.model {
        Name::stories260K => (small, &args.base_url),
        _ => (TOKENIZER, &args.tokenizer_base_url),
    };
    let model_path = get(&model, &args.base_url, &folder)?;
    let tokenizer_path = get(&tokenizer, tokenizer_base, &folder)?;
    println!(
        "boot it:  cargo xtask run --model {} --tokenizer {}",
        model_path.display(),
        tokenizer_path.display()
    );
    println!(
        "or here:  llama2 run {} -z {}",
        model_path.display(),
        tokenizer_path.display()
    );
    Ok(())
}

/// Downloads one file: nothing if it is complete, the rest if a part exists.
fn get(item: &Item, base: &str, folder: &Path) -> Result<PathBuf> {
    let path = folder.join(item.name);
    if path.exists() {
        match check(&path, item) {
            Ok(()) => {
                println!("{}: there already, and right", path.display());
                return Ok(path);
            }
            Err(what) => eprintln!("xtask: {}: {what}; fetching it again", path.display()),
        }
    }
    let part = folder.join(format!("{}.part", item.name));
    // More than all of it cannot be resumed.
    if fs::metadata(&part).is_ok_and(|metadata| metadata.len() >= item.size) {
        fs::remove_file(&part)?;
    }
    let there = fs::metadata(&part).map_or(0, |metadata| metadata.len());
    if let Some(free) = free(folder).filter(|free| *free < item.size - there) {
        bail!(
            "{}: needs {} bytes more, but its disk has {free} free; make room, or name another \
             folder with -o",
            path.display(),
            item.size - there
        );
    }
    let url = format!("{}/{}", base.trim_end_matches('/'), item.path);
    println!("{url} ({} bytes)", item.size);
    let mut ended = curl(&url, &part)?;
    if matches!(ended, Err((Some(33 | 36), _))) && part.exists() {
        eprintln!("xtask: the server cannot resume downloads; fetching the whole file");
        fs::remove_file(&part)?;
        ended = curl(&url, &part)?;
    }
    if let Err((code, answer)) = ended {
        bail!("{}", explain(code, &answer, &url));
    }
    if let Err(what) = check(&part, item) {
        // Kept if it is only incomplete: the next attempt resumes there.
        if fs::metadata(&part)?.len() >= item.size {
            fs::remove_file(&part)?;
        }
        bail!("{url}: {what}; the download was not kept: try again, or another --base-url");
    }
    fs::rename(&part, &path)?;
    println!("{}: SHA-256 is right", path.display());
    Ok(path)
}

/// Bytes that can be written into a folder, if POSIX' df reports it.
fn free(folder: &Path) -> Option<u64> {
    let told = Command::new("df").arg("-Pk").arg(folder).output().ok()?;
    let text = String::from_utf8(told.stdout).ok()?;
    let blocks = text.lines().nth(1)?.split_whitespace().rev().nth(2)?;
    blocks.parse::<u64>().ok()?.checked_mul(1024)
}

/// Failure of curl: its exit status, and the server's last answer (an HTTP status, 000 for none).
type Failure = (Option<i32>, String);

/// Downloads the rest of `url` and appends it to `part`.
fn curl(url: &str, part: &Path) -> Result<Result<(), Failure>> {
    let mut curl = Command::new("curl");
    curl.args([
        "--fail",
        "--location",
        "--show-error",
        "--progress-bar",
        "--connect-timeout",
        "20",
        "--write-out",
        "%{http_code}",
    ]);
    curl.args(["--continue-at", "-", "--output"])
        .arg(part)
        .arg(url);
    let output = curl
        .stderr(Stdio::inherit())
        .output()
        .context("curl could not be started")?;
    if output.status.success() {
        return Ok(Ok(()));
    }
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(Err((output.status.code(), answer)))
}

/// Describes curl's exit status (its manual, "EXIT CODES") and the server's answer in a sentence.
fn explain(code: Option<i32>, answer: &str, url: &str) -> String {
    let reason = match (code, answer) {
        (Some(6), _) => "the host's name cannot be resolved: is there a network?",
        (Some(7 | 28), _) => "the host does not answer: is there a network?",
        (Some(18), _) => "the connection broke; the same command resumes the download",
        (Some(22), "404" | "410") => "the server has no such file",
        (Some(22), "401" | "403") => "the server denies access",
        (Some(22), "429") => "the server has had too many requests; try again later",
        (Some(22), _) => {
            return format!("{url}: the server answers HTTP {answer}; try again later");
        }
        (Some(33 | 36), _) => "the server cannot resume",
        (Some(35 | 51 | 58..=60), _) => "the server's certificate is not trusted",
        (Some(23), _) => "the file could not be written: is the disk full?",
        (Some(code), _) => return format!("{url}: curl failed with exit status {code}"),
        (None, _) => "curl was ended by a signal; the same command resumes the download",
    };
    format!("{url}: {reason}")
}

/// Checks size and SHA-256.
fn check(path: &Path, item: &Item) -> Result<(), String> {
    let mut file = fs::File::open(path).map_err(|error| error.to_string())?;
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    if size != item.size {
        return Err(format!("has {size} bytes, not {}", item.size));
    }
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        let len = file.read(&mut piece).map_err(|error| error.to_string())?;
        if len == 0 {
            break;
        }
        hash.update(&piece[..len]);
    }
    let found = hex(&hash.finalize());
    if found == item.sha256 {
        Ok(())
    } else {
        Err(format!("has SHA-256 {found}, not {}", item.sha256))
    }
}

/// Formats bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{BufRead, BufReader, Write},
        net::TcpListener,
        sync::{Arc, Mutex},
    };

    const BODY: &[u8] = b"0123456789abcdef0123456789abcdef";
    // sha256sum of BODY.
    const SHA256: &str = "92e2b62d70a08fdd6d4a6b6f4dcab5a4a8c6a66ce7fec86bc0eb3cbd4ba0fba8";

    fn item(sha256: &'static str) -> Item {
        Item {
            path: "a/file.bin",
            name: "file.bin",
            size: BODY.len() as u64,
            sha256,
        }
    }

    /// Server that answers `count` requests in this way, whatever they request; it does not support
    /// ranges.
    fn answer(head: &'static str, body: &'static [u8], count: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for _ in 0..count {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                lines
                    .take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()))
                    .count();
                let length = body.len();
                let fields = format!("Content-Length: {length}\r\nConnection: close\r\n\r\n");
                // curl hangs up when it sees that it cannot resume.
                let _ = stream.write_all(format!("HTTP/1.1 {head}\r\n{fields}").as_bytes());
                let _ = stream.write_all(body);
            }
        });
        url
    }

    /// Server for `count` requests, which cuts its first answer after `cut` bytes. Returns its
    /// address and the requests' heads.
    fn serve(
        body: &'static [u8],
        count: usize,
        cut: Option<usize>,
    ) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heads = seen.clone();
        std::thread::spawn(move || {
            for number in 0..count {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = String::new();
                for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                    let line = line.unwrap();
                    if line.is_empty() {
                        break;
                    }
                    head += &(line + "\n");
                }
                let from = head.lines().find_map(|line| {
                    line.strip_prefix("Range: bytes=")?
                        .strip_suffix('-')?
                        .parse::<usize>()
                        .ok()
                });
                let found = head.starts_with("GET /a/file.bin ");
                heads.lock().unwrap().push(head);
                if !found {
                    write!(
                        stream,
                        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    )
                    .unwrap();
                    continue;
                }
                let rest = &body[from.unwrap_or(0)..];
                match from {
                    Some(from) => write!(
                        stream,
                        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{}\r\n",
                        body.len() - 1,
                        body.len()
                    ),
                    None => write!(stream, "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\n"),
                }
                .unwrap();
                write!(
                    stream,
                    "Content-Length: {}\r\nConnection: close\r\n\r\n",
                    rest.len()
                )
                .unwrap();
                let sent = if number == 0 {
                    cut.unwrap_or(rest.len())
                } else {
                    rest.len()
                };
                stream.write_all(&rest[..sent.min(rest.len())]).unwrap();
            }
        });
        (url, seen)
    }

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("llama2-fetch-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn sha_of_body() -> &'static str {
        let found = hex(&Sha256::digest(BODY));
        Box::leak(found.into_boxed_str())
    }

    #[test]
    fn hexadecimal() {
        assert_eq!(
            hex(&Sha256::digest(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_ne!(sha_of_body(), SHA256, "a wrong sum for the tests below");
    }

    #[test]
    fn a_good_file_is_fetched_once() {
        let folder = folder("good");
        let (url, seen) = serve(BODY, 1, None);
        let path = get(&item(sha_of_body()), &url, &folder).unwrap();
        assert_eq!(fs::read(&path).unwrap(), BODY);
        assert!(!folder.join("file.bin.part").exists());
        get(&item(sha_of_body()), &url, &folder).unwrap();
        assert_eq!(seen.lock().unwrap().len(), 1, "nothing is downloaded twice");
        // Damaged since: fetched again.
        fs::write(&path, b"other").unwrap();
        let (url, _) = serve(BODY, 1, None);
        get(&item(sha_of_body()), &url, &folder).unwrap();
        assert_eq!(fs::read(&path).unwrap(), BODY);
    }

    #[test]
    fn a_wrong_sum_never_gets_its_name() {
        let folder = folder("wrong");
        let (url, _) = serve(BODY, 1, None);
        let error = get(&item(SHA256), &url, &folder).unwrap_err().to_string();
        assert!(
            error.contains("has SHA-256") && error.contains(SHA256),
            "{error}"
        );
        assert!(
            fs::read_dir(&folder).unwrap().next().is_none(),
            "nothing is left"
        );
    }

    #[test]
    fn what_has_no_room_is_not_begun() {
        let folder = folder("room");
        if free(&folder).is_none() {
            eprintln!("SKIPPED: df does not tell");
            return;
        }
        let large = Item {
            size: u64::MAX,
            ..item(SHA256)
        };
        // No server is contacted.
        let error = get(&large, "http://127.0.0.1:1", &folder).unwrap_err();
        assert!(error.to_string().contains("make room"), "{error}");
    }

    #[test]
    fn what_broke_off_goes_on() {
        let folder = folder("resume");
        fs::write(folder.join("file.bin.part"), &BODY[..10]).unwrap();
        let (url, seen) = serve(BODY, 1, None);
        let path = get(&item(sha_of_body()), &url, &folder).unwrap();
        assert_eq!(fs::read(path).unwrap(), BODY);
        assert!(seen.lock().unwrap()[0].contains("Range: bytes=10-"));
    }

    #[test]
    fn a_server_that_cannot_resume_gives_all_of_it() {
        let folder = folder("whole");
        fs::write(folder.join("file.bin.part"), &BODY[..10]).unwrap();
        let url = answer("200 OK", BODY, 2);
        let path = get(&item(sha_of_body()), &url, &folder).unwrap();
        assert_eq!(fs::read(path).unwrap(), BODY);
    }

    #[test]
    fn each_refusal_has_its_own_sentence() {
        let folder = folder("refused");
        for (head, words) in [
            ("404 Not Found", "the server has no such file"),
            ("403 Forbidden", "the server denies access"),
            (
                "429 Too Many Requests",
                "too many requests; try again later",
            ),
            (
                "503 Service Unavailable",
                "answers HTTP 503; try again later",
            ),
        ] {
            let url = answer(head, b"", 1);
            let error = get(&item(SHA256), &url, &folder).unwrap_err().to_string();
            assert!(error.ends_with(words), "{head}: {error}");
        }
    }

    #[test]
    fn no_such_file_no_host_and_a_short_answer() {
        let folder = folder("none");
        let (url, _) = serve(BODY, 1, None);
        let error = get(&item(SHA256), &format!("{url}/b"), &folder)
            .unwrap_err()
            .to_string();
        assert!(error.contains("no such file"), "{error}");
        // A port without a listener.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let error = get(&item(SHA256), &format!("http://127.0.0.1:{port}"), &folder)
            .unwrap_err()
            .to_string();
        assert!(error.contains("is there a network?"), "{error}");
        let (url, _) = serve(&BODY[..20], 1, None);
        let error = get(&item(SHA256), &url, &folder).unwrap_err().to_string();
        assert!(error.contains("has 20 bytes, not 32"), "{error}");
        assert!(!folder.join("file.bin").exists());
    }

    #[test]
    fn a_connection_that_breaks_is_a_sentence_and_the_next_attempt_goes_on() {
        let folder = folder("cut");
        let (url, _) = serve(BODY, 1, Some(12));
        let error = get(&item(sha_of_body()), &url, &folder)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("connection broke") || error.contains("is there a network?"),
            "{error}"
        );
        let (url, seen) = serve(BODY, 1, None);
        get(&item(sha_of_body()), &url, &folder).unwrap();
        assert!(
            seen.lock().unwrap()[0].contains("Range: bytes=12-"),
            "{}",
            seen.lock().unwrap()[0]
        );
    }
}
