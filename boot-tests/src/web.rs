//! The boots about models that a web server gives: the host is the server.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use xtask::qemu::{Machine, Nic, NicNetwork, free_port};

use crate::{
    Check,
    boot::{Boot, Suite},
    dialog::Dialog,
};

/// All of them, by name.
pub const BOOTS: [(&str, Check); 4] = [
    ("network: a model from a web server", model),
    ("network: a machine without a disk", diskless),
    ("network: a web server's model that is not the one", refused),
    ("network: a web server's model that is mended", mended),
];

const CONFIG: &str = "display = \"text\"\nseed = 5\nsteps = 64\n";
/// Bytes after which the first connection breaks.
const BREAKS: usize = 2_000_000;

/// Web server with one file, at `/m.gguf`.
struct Web {
    port: u16,
    file: Arc<Mutex<Vec<u8>>>,
    /// Requests so far.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Web {
    /// Server whose first connection breaks after some bytes.
    fn start(file: Vec<u8>) -> Result<Web> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let file = Arc::new(Mutex::new(file));
        let (own, kept) = (Arc::clone(&file), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Ok(file) = own.lock().map(|file| file.clone()) else {
                    return;
                };
                // A client that goes away is its own affair.
                let _ = answer(&stream, &file, &kept);
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        Ok(Web { port, file, asked })
    }

    /// Puts another file in the place of the one before.
    fn put(&self, file: Vec<u8>) -> Result<()> {
        *self.file.lock().ok().context("poisoned")? = file;
        Ok(())
    }

    /// Address of a file, as the guest sees it.
    fn url(&self, path: &str) -> String {
        format!("http://10.0.2.2:{}/{path}", self.port)
    }

    /// Numbers where the requests began in the file.
    fn asked(&self) -> Vec<usize> {
        let Ok(asked) = self.asked.lock() else {
            return Vec::new();
        };
        let from = |request: &String| {
            let range = request.split_once("\r\nRange: bytes=");
            let digits = range.and_then(|(_, rest)| rest.split('-').next());
            digits.map_or(0, |digits| digits.parse().unwrap_or(usize::MAX))
        };
        asked.iter().map(from).collect()
    }
}

fn answer(mut stream: &TcpStream, file: &[u8], asked: &Mutex<Vec<String>>) -> Result<()> {
    let mut request = String::new();
    let mut reader = BufReader::new(stream);
    while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request)? > 0 {}
    let mut asked = asked.lock().ok().context("poisoned")?;
    let range = request.split_once("\r\nRange: bytes=");
    let from = range.and_then(|(_, rest)| rest.split_once('-')?.0.parse().ok());
    let is_there = request.starts_with("GET /m.gguf ");
    let is_first = asked.is_empty();
    asked.push(request);
    drop(asked);
    let from: usize = from.unwrap_or(0);
    let rest = file.get(from..).unwrap_or_default();
    let status = match (is_there, from) {
        (false, _) => return Ok(write!(stream, "HTTP/1.1 404 Not Found\r\n\r\n")?),
        (_, 0) => "200 OK".to_owned(),
        _ => format!(
            "206 Partial Content\r\nContent-Range: bytes {from}-{}/{}",
            file.len() - 1,
            file.len()
        ),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
        rest.len()
    )?;
    let most = if is_first { BREAKS } else { rest.len() };
    Ok(stream.write_all(&rest[..most.min(rest.len())])?)
}

/// SHA-256 in digits.
fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Card, and the port of the host that leads to the server.
fn nics() -> Result<(Vec<Nic>, u16)> {
    let port = free_port()?;
    let nic = Nic {
        device: "virtio-net-pci,romfile=".to_owned(),
        network: NicNetwork::Qemu(vec![(port, 8080)]),
    };
    Ok((vec![nic], port))
}

/// A model over a connection that breaks, then over another one; it is served, left, and loaded
/// again.
fn model(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let file = fs::read(suite.models("stories7M-Q4_0.gguf"))?;
    let digits = sha256(&file);
    let web = Web::start(file)?;
    let url = web.url("m.gguf");
    let config = format!("{CONFIG}serve = true\nmodel = \"{url}\"\nsha256 = \"{digits}\"\n");
    let image = boot.image(suite, &config, &[])?;
    let (nics, port) = nics()?;
    let machine = Machine {
        nics,
        ..Machine::new(&image)
    };
    let mut dialog = Dialog::start(boot, &machine)?;
    let begun = dialog.prompt()?;
    let want = format!("Model: {url}, 3.7 MiB");
    ensure!(begun.contains(&want), "it does not say {want:?}:\n{begun}");
    let want = suite.host(&["-s", "5", "-n", "64"])?;
    ensure!(begun.contains(want.trim_end()), "it told another story");
    let asked = web.asked();
    ensure!(
        matches!(asked[..], [0, at] if (1..=BREAKS).contains(&at)),
        "it asked for the file from {asked:?} on"
    );
    // Whoever serves serves it.
    let mut client = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        client,
        "GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )?;
    let models = std::io::read_to_string(client)?;
    ensure!(models.contains("m.gguf"), "its models are {models:?}");
    // Another model, and back.
    dialog.say("/model bundled")?;
    dialog.expect("/info", "  model          stories7M\n")?;
    let again = dialog.say("/model m.gguf")?;
    let read = again.lines().find(|line| line.starts_with("Read "));
    ensure!(again.contains(&url), "it said {again:?}");
    let asked = web.asked();
    ensure!(
        asked[2..] == [0],
        "it asked again from {:?} on",
        &asked[2..]
    );
    let read = read.unwrap_or_default().to_owned();
    dialog.leave("/exit")?;
    Ok(Some(read))
}

/// A machine of a rack: application and configuration come by PXE, the model from a web server.
fn diskless(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let file = fs::read(suite.models("stories7M-Q4_0.gguf"))?;
    let digits = sha256(&file);
    let url = Web::start(file)?.url("m.gguf");
    let folder = suite.folder.join(format!("tftp{}", boot.number));
    fs::create_dir_all(folder.join("efi"))?;
    fs::copy(&suite.efi, folder.join("efi/llama2.efi"))?;
    fs::write(
        folder.join("efi/LLAMA2.CFG"),
        format!("{CONFIG}serve = true\nmodel = \"{url}\"\nsha256 = \"{digits}\"\n"),
    )?;
    let (nics, port) = nics()?;
    let machine = Machine {
        disks: Vec::new(),
        pxe: Some((folder, "efi/llama2.efi".into())),
        nics,
        ..Machine::new(&suite.folder)
    };
    let mut dialog = Dialog::start(boot, &machine)?;
    let begun = dialog.prompt()?;
    for want in [
        "Configuration: efi/LLAMA2.CFG of the boot server 10.0.2.2",
        "Serving on http://10.0.2.15:8080",
        &format!("Model: {url}, 3.7 MiB"),
    ] {
        ensure!(begun.contains(want), "it does not say {want:?}:\n{begun}");
    }
    let mut client = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        client,
        "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )?;
    let health = std::io::read_to_string(client)?;
    ensure!(health.contains("\"ok\""), "it answered {health:?}");
    dialog.leave("/exit")?;
    Ok(None)
}

/// A file that is not the one, and one that is not there: the network is up for that alone, and the
/// model inside can be had.
fn refused(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let file = fs::read(suite.models("stories7M-Q4_0.gguf"))?;
    let found = sha256(&file);
    let web = Web::start(file)?;
    for (path, words) in [
        ("m.gguf", format!("the SHA-256 of all is {found}")),
        ("n.gguf", "the server has no such file (status 404)".into()),
    ] {
        let (url, other) = (web.url(path), "0".repeat(64));
        let config = format!("{CONFIG}model = \"{url}\"\nsha256 = \"{other}\"\n");
        let image = boot.image(suite, &config, &[])?;
        let machine = Machine {
            nics: nics()?.0,
            ..Machine::new(&image)
        };
        let mut dialog = Dialog::start(boot, &machine)?;
        dialog.shows(&words)?;
        dialog.shows("> stories7M (inside llama2.efi)")?;
        dialog.keys("\r")?;
        dialog.prompt()?;
        dialog.expect("/seed", "seed 5\n")?;
        dialog.leave("/exit")?;
    }
    Ok(None)
}

/// A machine that serves, and that nobody sits at: a file that is not the one is asked for again,
/// until it is.
fn mended(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let file = fs::read(suite.models("stories7M-Q4_0.gguf"))?;
    let digits = sha256(&file);
    let mut damaged = file.clone();
    *damaged.last_mut().context("it is empty")? ^= 1;
    let web = Web::start(damaged)?;
    let url = web.url("m.gguf");
    let config = format!("{CONFIG}serve = true\nmodel = \"{url}\"\nsha256 = \"{digits}\"\n");
    let image = boot.image(suite, &config, &[])?;
    let (nics, port) = nics()?;
    let machine = Machine {
        nics,
        ..Machine::new(&image)
    };
    let mut dialog = Dialog::start(boot, &machine)?;
    dialog.shows("the SHA-256 of all is")?;
    dialog.shows("; loading this one in ")?;
    web.put(file)?;
    dialog.prompt()?;
    let mut client = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        client,
        "GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )?;
    let models = std::io::read_to_string(client)?;
    ensure!(models.contains("m.gguf"), "its models are {models:?}");
    dialog.leave("/exit")?;
    Ok(None)
}
