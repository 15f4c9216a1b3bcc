//! Fetching from servers on this machine: a hub, and the host that it redirects to.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use sha2::{Digest, Sha256};

use crate::{
    Error, Fetched, Observer, Sum, address,
    client::Client,
    command::fetch,
    lock::{self, Lock},
};

const BODY: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Request as it came.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Request> {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let first = lines.next()?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let headers = lines
            .take_while(|line| !line.is_empty())
            .filter_map(|line| {
                let (name, value) = line.split_once(": ")?;
                Some((name.to_lowercase(), value.to_owned()))
            });
        Some(Request {
            method,
            path,
            headers: headers.collect(),
        })
    }

    /// First byte that is asked for.
    fn from(&self) -> Option<usize> {
        let range = self.headers.get("range")?.strip_prefix("bytes=")?;
        range.strip_suffix('-')?.parse().ok()
    }
}

/// Answer: status, headers, and a body that may end early or not at all.
#[derive(Clone, Default)]
struct Reply {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Bytes after which the connection is closed.
    cut: Option<usize>,
    /// Keeps the connection open after what is sent.
    sleeps: bool,
}

fn reply(status: &'static str, headers: &[(&'static str, String)]) -> Reply {
    Reply {
        status,
        headers: headers.to_vec(),
        ..Reply::default()
    }
}

/// Answer with the file, or the rest of it that is asked for.
fn file(request: &Request, body: &[u8]) -> Reply {
    let from = request.from().unwrap_or(0);
    if from > 0 && from >= body.len() {
        return reply("416 Range Not Satisfiable", &[]);
    }
    let (last, len) = (body.len().saturating_sub(1), body.len());
    let range = ("Content-Range", format!("bytes {from}-{last}/{len}"));
    Reply {
        body: body[from..].to_vec(),
        ..match from {
            0 => reply("200 OK", &[]),
            _ => reply("206 Partial Content", &[range]),
        }
    }
}

/// Server with the requests that it got.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn new(answer: impl Fn(&Request) -> Reply + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let requests = seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(request) = Request::read(&stream) else {
                    continue;
                };
                requests.lock().unwrap().push(request.clone());
                send(stream, &request, answer(&request));
            }
        });
        Server { url, seen }
    }

    fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn send(mut stream: TcpStream, request: &Request, reply: Reply) {
    let has = |wanted: &str| reply.headers.iter().any(|(name, _)| *name == wanted);
    let mut head = format!("HTTP/1.1 {}\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !has("Content-Length") && !has("Transfer-Encoding") {
        head += &format!("Content-Length: {}\r\n", reply.body.len());
    }
    // The client may hang up at any time.
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    if request.method != "HEAD" {
        let end = reply.cut.unwrap_or(reply.body.len());
        let _ = stream.write_all(&reply.body[..end]);
    }
    if reply.sleeps {
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(20));
            drop(stream);
        });
    }
}

fn sum(bytes: &[u8]) -> String {
    Sum(Sha256::digest(bytes).into()).to_string()
}

/// A hub with one file, of which it states this digest and size, and which is on another host.
fn hub(elsewhere: &str, digest: &str, size: usize) -> Server {
    let location = format!("{elsewhere}/bytes?signature=secret");
    let headers = [
        ("Location", location),
        ("X-Linked-Etag", format!("\"{digest}\"")),
        ("X-Linked-Size", size.to_string()),
    ];
    Server::new(move |request| match &request.path[..] {
        "/maker/model/resolve/main/m.gguf" => reply("302 Found", &headers),
        _ => reply("404 Not Found", &[("X-Error-Code", "EntryNotFound".into())]),
    })
}

const FILE: &str = "hf:maker/model/m.gguf";

fn store(body: &'static [u8]) -> Server {
    Server::new(move |request| file(request, body))
}

/// Keeps what it is told.
#[derive(Default)]
struct Notes(RefCell<String>);

impl Observer for Notes {
    fn say(&self, sentence: &str) {
        *self.0.borrow_mut() += &format!("{sentence}\n");
    }

    fn begin(&self, _name: &str, _total: u64) -> Box<dyn FnMut(u64)> {
        Box::new(|_| ())
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("llama2-fetch-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Fetches a file; returns the model and what was said.
fn get(client: &Client, word: &str, folder: &Path) -> Result<(Fetched, String), Error> {
    let notes = Notes::default();
    let wish = address::read(word, &client.endpoint)?;
    let fetched = fetch(client, &wish, folder, &notes)?;
    Ok((fetched, notes.0.into_inner()))
}

fn refusal(client: &Client, word: &str, folder: &Path) -> String {
    get(client, word, folder).unwrap_err().to_string()
}

#[test]
fn a_file_of_the_hub_is_fetched_once_and_the_token_stays_with_the_hub() {
    let folder = folder("once");
    let store = store(BODY);
    let hub = hub(&store.url, &sum(BODY), BODY.len());
    let client = Client::new(&format!("{}/", hub.url), Some(" hf_secret\n"));
    let (fetched, said) = get(&client, FILE, &folder).unwrap();
    assert_eq!(fetched.model, folder.join("m.gguf"));
    assert_eq!(fs::read(&fetched.model).unwrap(), BODY);
    assert!(
        said.ends_with("SHA-256 is right\n") && !said.contains("secret"),
        "{said}"
    );
    let token = |request: &Request| request.headers.get("authorization").cloned();
    let asked = hub.seen();
    assert_eq!(
        asked.iter().map(|one| &one.method[..]).collect::<Vec<_>>(),
        ["HEAD", "GET"]
    );
    assert!(
        asked
            .iter()
            .all(|one| token(one) == Some("Bearer hf_secret".into())),
        "{asked:?}"
    );
    assert_eq!(store.seen().len(), 1);
    assert_eq!(
        token(&store.seen()[0]),
        None,
        "the other host must not get the token"
    );
    let lock = Lock::read(&folder).unwrap().entry("m.gguf").unwrap();
    assert_eq!(lock.origin, FILE);
    assert_eq!(lock.stated.size, Some(BODY.len() as u64));
    assert_eq!(names(&folder), ["m.gguf", lock::NAME]);
    let (_, said) = get(&client, FILE, &folder).unwrap();
    assert!(said.contains("there already, and right"), "{said}");
    assert_eq!(hub.seen().len(), 2, "nobody is asked again");
    // Damaged since: fetched again.
    fs::write(&fetched.model, b"other").unwrap();
    get(&client, FILE, &folder).unwrap();
    assert_eq!(fs::read(&fetched.model).unwrap(), BODY);
}

#[test]
fn a_repository_that_was_renamed_is_followed() {
    let folder = folder("renamed");
    let store = store(BODY);
    let elsewhere = store.url.clone();
    let hub = Server::new(move |request| match &request.path[..] {
        "/maker/old/resolve/main/m.gguf" => {
            let location = "/maker/model/resolve/main/m.gguf".into();
            reply("307 Temporary Redirect", &[("Location", location)])
        }
        _ => reply(
            "302 Found",
            &[
                ("Location", format!("{elsewhere}/x")),
                ("X-Linked-Etag", sum(BODY)),
            ],
        ),
    });
    let client = Client::new(&hub.url, None);
    let (fetched, _) = get(&client, "hf:maker/old/m.gguf", &folder).unwrap();
    assert_eq!(fs::read(&fetched.model).unwrap(), BODY);
}

#[test]
fn a_wrong_digest_never_gets_the_name() {
    let folder = folder("wrong");
    let store = store(BODY);
    let other = sum(b"another file");
    let client = Client::new(&hub(&store.url, &other, BODY.len()).url, None);
    let said = refusal(&client, FILE, &folder);
    assert!(said.contains(&other) && said.contains(&sum(BODY)), "{said}");
    assert_eq!(names(&folder), [""; 0], "nothing is left");
}

#[test]
fn a_connection_that_breaks_is_resumed() {
    let folder = folder("cut");
    let store = Server::new(|request| Reply {
        cut: request.from().is_none().then_some(12),
        ..file(request, BODY)
    });
    let client = Client::new(&hub(&store.url, &sum(BODY), BODY.len()).url, None);
    let said = refusal(&client, FILE, &folder);
    assert!(
        said.contains("the connection broke after") && said.contains("goes on"),
        "{said}"
    );
    assert!(!folder.join("m.gguf").exists());
    let (fetched, said) = get(&client, FILE, &folder).unwrap();
    assert!(said.contains("goes on after"), "{said}");
    assert_eq!(fs::read(&fetched.model).unwrap(), BODY);
    assert_eq!(store.seen()[1].from(), Some(12));
    assert_eq!(names(&folder), ["m.gguf", lock::NAME]);
}

#[test]
fn a_server_that_cannot_resume_gives_all_of_it() {
    let folder = folder("whole");
    let store = Server::new(|_| Reply {
        body: BODY.into(),
        ..reply("200 OK", &[])
    });
    let client = Client::new(&hub(&store.url, &sum(BODY), BODY.len()).url, None);
    let part = folder.join(format!("m.gguf.{}.part", &sum(BODY)[..12]));
    fs::write(&part, &BODY[..10]).unwrap();
    let (fetched, said) = get(&client, FILE, &folder).unwrap();
    assert!(said.contains("cannot resume"), "{said}");
    assert_eq!(fs::read(&fetched.model).unwrap(), BODY);
    // Complete, but for its name.
    fs::remove_file(&fetched.model).unwrap();
    fs::write(&part, BODY).unwrap();
    get(&client, FILE, &folder).unwrap();
    assert_eq!(store.seen().len(), 1, "no byte is asked for");
}

#[test]
fn a_server_that_falls_silent_is_left() {
    let folder = folder("silent");
    let store = Server::new(|request| Reply {
        cut: Some(12),
        sleeps: true,
        ..file(request, BODY)
    });
    let mut client = Client::new(&hub(&store.url, &sum(BODY), BODY.len()).url, None);
    client.stall = Duration::from_millis(300);
    let said = refusal(&client, FILE, &folder);
    assert!(said.contains("the server fell silent after"), "{said}");
    assert_eq!(names(&folder).len(), 1, "what there is can be gone on with");
}

#[test]
fn another_digest_than_the_first_time_is_refused() {
    let folder = folder("changed");
    let (old, new) = (store(BODY), store(b"a new version"));
    let client = Client::new(&hub(&old.url, &sum(BODY), BODY.len()).url, None);
    let (fetched, _) = get(&client, FILE, &folder).unwrap();
    fs::remove_file(&fetched.model).unwrap();
    let client = Client::new(&hub(&new.url, &sum(b"a new version"), 13).url, None);
    let said = refusal(&client, FILE, &folder);
    assert!(
        said.contains(&sum(BODY)) && said.contains(&sum(b"a new version")),
        "{said}"
    );
    assert!(
        said.contains("but models.lock has SHA-256") && new.seen().is_empty(),
        "{said}"
    );
    // A file of the same name from elsewhere is another one, too.
    let said = refusal(&client, "hf:maker/other/m.gguf", &folder);
    assert!(said.contains("another folder"), "{said}");
    fs::remove_file(folder.join(lock::NAME)).unwrap();
    let (fetched, _) = get(&client, FILE, &folder).unwrap();
    assert_eq!(fs::read(&fetched.model).unwrap(), b"a new version");
}

#[test]
fn a_wrong_length_is_refused() {
    let folder = folder("length");
    // The server says so at once.
    let store = store(BODY);
    let client = Client::new(&hub(&store.url, &sum(BODY), 31).url, None);
    let said = refusal(&client, FILE, &folder);
    assert!(said.contains("has 32 bytes, not 31 bytes"), "{said}");
    assert_eq!(names(&folder), [""; 0], "nothing is left");
    // It does not, and sends more.
    let store = Server::new(|_| Reply {
        body: [b"20\r\n", BODY, b"\r\n0\r\n\r\n"].concat(),
        ..reply("200 OK", &[("Transfer-Encoding", "chunked".into())])
    });
    let client = Client::new(&hub(&store.url, &sum(BODY), 31).url, None);
    let said = refusal(&client, FILE, &folder);
    assert!(said.contains("more than 31 bytes"), "{said}");
    // Or less.
    let client = Client::new(&hub(&store.url, &sum(BODY), 33).url, None);
    let said = refusal(&client, FILE, &folder);
    assert!(said.contains("the connection broke"), "{said}");
    assert!(!folder.join("m.gguf").exists());
}

#[test]
fn each_refusal_has_its_own_sentence() {
    let folder = folder("refused");
    let page = "/maker/model";
    for (status, code, token, says) in [
        (
            "401 Unauthorized",
            "GatedRepo",
            None,
            "and set HF_TOKEN to a token of yours",
        ),
        (
            "403 Forbidden",
            "GatedRepo",
            Some("t"),
            "the account that HF_TOKEN belongs to",
        ),
        (
            "404 Not Found",
            "EntryNotFound",
            None,
            "maker/model has no file m.gguf",
        ),
        (
            "401 Unauthorized",
            "RepoNotFound",
            None,
            "or private: then set HF_TOKEN",
        ),
        ("404 Not Found", "", Some("t"), "HF_TOKEN does not open it"),
        (
            "429 Too Many Requests",
            "",
            None,
            "too many requests; try again later",
        ),
        (
            "503 Service Unavailable",
            "",
            None,
            "answers HTTP 503; try again later",
        ),
    ] {
        let hub = Server::new(move |_| reply(status, &[("X-Error-Code", code.into())]));
        let said = refusal(&Client::new(&hub.url, token), FILE, &folder);
        assert!(
            said.starts_with(FILE) && said.contains(says),
            "{status} {code}: {said}"
        );
        let shows_page = said.contains(&format!("{}{page}", hub.url));
        assert_eq!(
            shows_page,
            ["GatedRepo", "EntryNotFound"].contains(&code),
            "{said}"
        );
    }
    for (status, says) in [
        ("404 Not Found", "the server has no such file"),
        ("403 Forbidden", "the server denies access"),
        ("302 Found", "HTTP 302"),
    ] {
        let server = Server::new(move |_| reply(status, &[]));
        let word = format!("{}/m.gguf#sha256={}", server.url, sum(BODY));
        let said = refusal(&Client::new("https://hub", None), &word, &folder);
        assert!(said.contains(says), "{status}: {said}");
    }
    let round = Server::new(|_| reply("302 Found", &[("Location", "/m.gguf".into())]));
    let word = format!("{}/m.gguf#sha256={}", round.url, sum(BODY));
    let said = refusal(&Client::new("https://hub", None), &word, &folder);
    assert!(said.contains("sends on and on"), "{said}");
    // A port without a listener.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = get(
        &Client::new(&format!("http://127.0.0.1:{port}"), None),
        FILE,
        &folder,
    );
    let error = error.unwrap_err();
    assert!(matches!(&error, Error::Unreachable(said) if said.contains("is there a network?")));
    assert_eq!(names(&folder), [""; 0], "nothing is left");
}

#[test]
fn an_address_with_and_without_a_digest() {
    let folder = folder("address");
    let client = Client::new("https://hub", Some("hf_secret"));
    let store = store(BODY);
    let word = format!("{}/m.gguf#sha256={}", store.url, sum(b"other"));
    let said = refusal(&client, &word, &folder);
    assert!(
        said.contains(&sum(BODY)) && said.contains(&sum(b"other")),
        "{said}"
    );
    let word = format!("{}/m.gguf#sha256={}", store.url, sum(BODY));
    get(&client, &word, &folder).unwrap();
    assert!(
        store
            .seen()
            .iter()
            .all(|one| !one.headers.contains_key("authorization"))
    );
    // Nobody states one: the first is remembered.
    let wish = address::Wish {
        model: vec![address::Wanted {
            address: address::Address::Url(format!("{}/n.gguf", store.url)),
            name: "n.gguf".into(),
            stated: Default::default(),
        }],
        tokenizer: None,
    };
    let notes = Notes::default();
    let fetched = fetch(&client, &wish, &folder, &notes).unwrap();
    let said = notes.0.into_inner();
    assert!(
        said.contains(&sum(BODY)) && said.contains("nobody stated one"),
        "{said}"
    );
    let entry = Lock::read(&folder).unwrap().entry("n.gguf").unwrap();
    assert_eq!(entry.stated.sha256.unwrap().to_string(), sum(BODY));
    fs::remove_file(fetched.model).unwrap();
    fetch(&client, &wish, &folder, &Notes::default()).unwrap();
}

#[test]
fn somebody_s_own_file_is_not_overwritten() {
    let folder = folder("own");
    let store = store(BODY);
    let client = Client::new(&hub(&store.url, &sum(BODY), BODY.len()).url, None);
    let path = folder.join("m.gguf");
    fs::write(&path, "mine").unwrap();
    let said = refusal(&client, FILE, &folder);
    assert!(said.contains("move it away"), "{said}");
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    // Unless it is the very same.
    fs::write(&path, BODY).unwrap();
    get(&client, FILE, &folder).unwrap();
    assert!(store.seen().is_empty());
    assert!(Lock::read(&folder).unwrap().entry("m.gguf").is_some());
}

#[test]
fn all_parts_of_a_split_model_are_fetched() {
    let folder = folder("split");
    let store = Server::new(|request| file(request, request.path.as_bytes()));
    let elsewhere = store.url.clone();
    let hub = Server::new(move |request| {
        let name = request.path.rsplit('/').next().unwrap_or_default();
        let headers = [
            ("Location", format!("{elsewhere}/{name}")),
            ("X-Linked-Etag", sum(format!("/{name}").as_bytes())),
        ];
        reply("302 Found", &headers)
    });
    let client = Client::new(&hub.url, None);
    let (fetched, _) = get(&client, "hf:a/b/m-00002-of-00002.gguf", &folder).unwrap();
    assert_eq!(fetched.model, folder.join("m-00001-of-00002.gguf"));
    let want = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf", lock::NAME];
    assert_eq!(names(&folder), want);
}
