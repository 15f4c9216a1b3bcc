//! The boots about the network: the host is the client, through QEMU's own network.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use xtask::qemu::{Machine, Nic, NicNetwork, free_port};

use crate::{
    Check,
    boot::{Boot, Suite},
    dialog::{Dialog, Reply},
    wire::Wire,
};

/// All of them, by name.
pub const BOOTS: [(&str, Check); 13] = [
    (
        "network: a server by virtio-net, with the firmware's driver",
        |suite, boot| serves(suite, boot, "virtio-net-pci,romfile="),
    ),
    (
        "network: a server by e1000, with the card's own driver",
        |suite, boot| serves(suite, boot, "e1000"),
    ),
    ("network: a card that is shared", shared),
    ("network: a fixed address, twice", fixed),
    ("network: a cable that is pulled out", unplugged),
    (
        "network: a driver with all faults that can be lived with",
        |suite, boot| {
            let faults =
                "no-media 1\nno-filters 1\ndrop 20\ntwice 10\ncut 20\nlate 10\nrefuse 30\nkeep 8\n";
            faulty(suite, boot, faults, "")
        },
    ),
    (
        "network: a driver that never hands a buffer back",
        keeps_buffers,
    ),
    (
        "network: a driver that is deaf to one user alone",
        |suite, boot| {
            let words = "warning: The network card's driver receives nothing for one user alone";
            faulty(suite, boot, "deaf 1\n", words)
        },
    ),
    (
        "network: two cards, one of which leads to nobody",
        two_cards,
    ),
    ("network: a lease that ends", leased),
    ("network: a driver that is deaf", deaf),
    ("network: no card", no_card),
    ("network: another card is wanted", other_card),
];

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Configuration that the boots share.
const CONFIG: &str = "display = \"text\"\nseed = 5\nsteps = 64\nserve = true\n";
/// Key of the server that has one.
const KEY: &str = "a key";
/// Line of a server that has its address.
pub const SERVING: &str = "\nServing on http://10.0.2.15:8080\n";
/// The largest file of the page, and how often it is loaded to measure the network.
const LARGE: (&str, usize) = ("/page.js", 100);

/// Answer of a server that works.
const HEALTH: &[u8] = br#"{"status":"ok"}"#;

/// Asks the server behind a port of the host whether it is well.
pub fn asks(port: u16) -> Result<()> {
    Client(port).page()
}

/// Port of the host that leads to the server.
struct Client(u16);

impl Client {
    fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.0))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Asks for a page on a connection, which it ends, and returns the page.
    fn ask(mut stream: &TcpStream, path: &str) -> Result<Vec<u8>> {
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: llama2\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let is_end = |bytes: &[u8]| bytes == b"\r\n\r\n";
        let end = answer.windows(4).position(is_end).context("no head")?;
        ensure!(
            answer.starts_with(b"HTTP/1.1 200 OK\r\n"),
            "it answered {:?}",
            String::from_utf8_lossy(&answer[..end])
        );
        Ok(answer.split_off(end + 4))
    }

    /// Asks for a page.
    fn page(&self) -> Result<()> {
        let page = Client::ask(&self.connect()?, "/health")?;
        ensure!(
            page == HEALTH,
            "the page is {:?}",
            String::from_utf8_lossy(&page)
        );
        Ok(())
    }

    /// Asks a share of the usual times for the largest file, all at once on one connection, and
    /// returns MB/s.
    fn speed(&self, share: usize) -> Result<f64> {
        let (path, times) = LARGE;
        let stream = self.connect()?;
        let ask = format!("GET {path} HTTP/1.1\r\nHost: llama2\r\n\r\n");
        let start = Instant::now();
        (&stream).write_all(ask.repeat(times / share).as_bytes())?;
        let last = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        (&stream).write_all(last.as_bytes())?;
        let mut answer = Vec::new();
        (&stream).read_to_end(&mut answer)?;
        let took = start.elapsed().as_secs_f64();
        let least = (times / share + 1) * 40_000;
        ensure!(answer.len() > least, "only {} bytes came", answer.len());
        Ok(answer.len() as f64 / took / 1e6)
    }

    /// Sends a body with the key of [`fixed`], and returns the whole answer.
    fn post(&self, path: &str, body: &str) -> Result<String> {
        let stream = self.connect()?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let len = body.len();
        write!(
            &stream,
            "POST {path} HTTP/1.1\r\nHost: llama2\r\nConnection: close\r\n\
             Authorization: Bearer {KEY}\r\nContent-Length: {len}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        (&stream).read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Has a text continued, and returns the answer.
    fn complete(&self, body: &str) -> Result<String> {
        let answer = self.post("/completion", body)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
        ensure!(head.starts_with("HTTP/1.1 200 "), "it answered {answer:?}");
        let body: serde_json::Value = serde_json::from_str(body)?;
        Ok(body["content"].as_str().context("no content")?.to_owned())
    }
}

/// Machine with a card of this kind, and the client that reaches it.
fn machine(
    suite: &Suite,
    boot: &mut Boot,
    device: &str,
    config: &str,
) -> Result<(Machine, Client)> {
    machine_of(
        &boot.image(suite, &format!("{CONFIG}{config}"), &[])?,
        device,
    )
}

/// Machine that boots this image, with a card of this kind, and the client that reaches it.
fn machine_of(image: &Path, device: &str) -> Result<(Machine, Client)> {
    let port = free_port()?;
    let machine = Machine {
        nics: vec![Nic {
            device: device.to_owned(),
            network: NicNetwork::Qemu(vec![(port, 8080)]),
        }],
        ..Machine::new(image)
    };
    Ok((machine, Client(port)))
}

/// A page, many of them in a row and at a time, a large one, some in the middle of a reply; keys
/// work all the while, and the firmware goes on afterwards.
fn serves(suite: &Suite, boot: &mut Boot, device: &str) -> Result<Option<String>> {
    let (machine, client) = machine(suite, boot, device, "")?;
    let mut dialog = Dialog::start(boot, &machine)?;
    let begun = dialog.prompt()?;
    ensure!(begun.contains(SERVING), "it does not say {SERVING:?}");
    client.page()?;
    for number in 0..50 {
        client.page().with_context(|| format!("page {number}"))?;
    }
    // One after another, because QEMU takes one at a time and the host is slow to try again.
    let streams: Vec<TcpStream> = (0..20)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(20));
            client.connect()
        })
        .collect::<Result<_>>()?;
    std::thread::scope(|scope| {
        let asked: Vec<_> = streams
            .iter()
            .map(|stream| scope.spawn(|| Client::ask(stream, "/health")))
            .collect();
        for answer in asked {
            let Ok(answer) = answer.join() else {
                bail!("a client panicked");
            };
            ensure!(answer? == HEALTH);
        }
        Ok(())
    })?;
    drop(streams);
    let idle = client.speed(1)?;

    // Without a key nobody writes to the volume.
    let saved = client.post("/slots/0?action=save", r#"{"filename":"a"}"#)?;
    ensure!(saved.starts_with("HTTP/1.1 501 "), "it answered {saved:?}");

    // Texts for clients, two at a time, while nobody types: the host's.
    let asks = ["Tim found a key", "Once upon a time"];
    let texts = std::thread::scope(|scope| {
        let asked = asks.map(|text| {
            let client = &client;
            scope.spawn(move || {
                let body = json!({ "prompt": text, "n_predict": 24, "temperature": 0 });
                client.complete(&body.to_string())
            })
        });
        asked.map(|one| one.join().expect("a client panicked"))
    });
    for (ask, text) in asks.into_iter().zip(texts) {
        let text = text.with_context(|| format!("for {ask:?}"))?;
        let story = suite.host(&["-t", "0", "-n", "64", "-i", ask])?;
        let whole = format!("{ask}{text}");
        ensure!(
            story.starts_with(&whole),
            "{whole:?} is not how {story:?} begins"
        );
    }

    // In the middle of a reply, which is the host's.
    dialog.keys("Tim found a key\r")?;
    dialog.comes(20)?;
    for _ in 0..5 {
        client.page()?;
    }
    let busy = client.speed(8)?;
    let told = dialog.prompt()?;
    let told = told.split_once('\n').context("a line")?.1;
    let story = suite.host(&["-s", "5", "-n", "64", "-i", "Tim found a key"])?;
    Reply::of(told)?.is(&story)?;

    // Keys, while somebody loads a page.
    let loading = client.connect()?;
    let endless = "GET /page.js HTTP/1.1\r\nHost: llama2\r\n\r\n".repeat(400);
    (&loading).write_all(endless.as_bytes())?;
    dialog.expect("/seed", "seed 5\n")?;
    dialog.expect("/info", "Serving on http://10.0.2.15:8080")?;
    // It is dropped when the application ends, and the firmware gets its card back.
    dialog.leave("/exit")?;
    let mut rest = Vec::new();
    ensure!(
        (&loading).read_to_end(&mut rest).is_err() || rest.len() < 400 * 47_000,
        "it sent all after its end"
    );
    dialog.shows("BdsDxe: starting Boot")?;
    Ok(Some(format!(
        "{idle:.1} MB/s, {busy:.1} MB/s in the middle of a reply"
    )))
}

/// Firmware that gives no card to one user alone.
fn shared(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let device = "virtio-net-pci,romfile=";
    let (machine, client) = machine(suite, boot, device, "test = \"mnp\"\n")?;
    let mut dialog = Dialog::start(boot, &machine)?;
    let begun = dialog.prompt()?;
    ensure!(begun.contains(SERVING), "it does not say {SERVING:?}");
    for _ in 0..20 {
        client.page()?;
    }
    let speed = client.speed(4)?;
    dialog.leave("/exit")?;
    Ok(Some(format!("{speed:.1} MB/s")))
}

/// An address by hand, of a card by its name, before and after a restart. A slot that is saved
/// under the name of the settings leaves them alone.
fn fixed(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let config = format!(
        "address = \"10.0.2.15/24 via 10.0.2.2\"\nnic = \"52:54:00:12:34:56\"\n\
         api_key = \"{KEY}\"\n"
    );
    let (machine, client) = machine(suite, boot, "virtio-net-pci", &config)?;
    let mut dialog = Dialog::start(boot, &machine)?;
    for way_on in ["/reboot\r", "/exit\r"] {
        let begun = dialog.prompt()?;
        ensure!(begun.contains(SERVING), "it does not say {SERVING:?}");
        client.page()?;
        for action in ["save", "restore"] {
            let path = format!("/slots/0?action={action}");
            let answer = client.post(&path, r#"{"filename":"LLAMA2.CFG"}"#)?;
            let is_done = answer.starts_with("HTTP/1.1 200 ");
            ensure!(is_done, "to {action} it answered {answer:?}");
        }
        dialog.keys(way_on)?;
    }
    dialog.shows("llama2: exit 0")?;
    Ok(None)
}

/// The cable is pulled out and plugged in again.
fn unplugged(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let (machine, client) = machine(suite, boot, "virtio-net-pci,romfile=", "")?;
    let mut dialog = Dialog::start(boot, &machine)?;
    dialog.prompt()?;
    client.page()?;
    dialog.guest.plug_cable(false)?;
    std::thread::sleep(Duration::from_secs(1));
    let told = dialog.say("Tim")?;
    let no_cable = "warning: Not serving yet: no cable is in the network card";
    ensure!(told.contains(no_cable), "it said {told:?}");
    dialog.guest.plug_cable(true)?;
    std::thread::sleep(Duration::from_secs(6));
    let told = dialog.say("Tim")?;
    ensure!(told.starts_with(&SERVING[1..]), "it said {told:?}");
    client.page()?;
    dialog.leave("/exit")?;
    Ok(None)
}

/// A server whose card has faults: every answer is right, and it says this, if anything.
fn faulty(suite: &Suite, boot: &mut Boot, faults: &str, words: &str) -> Result<Option<String>> {
    let image = boot.image_with_faults(suite, CONFIG, faults)?;
    let (machine, client) = machine_of(&image, "virtio-net-pci,romfile=")?;
    let mut dialog = Dialog::start(boot, &machine)?;
    let begun = dialog.prompt()?;
    ensure!(begun.contains(SERVING), "it does not say {SERVING:?}");
    ensure!(begun.contains(words), "it does not say {words:?}");
    let start = Instant::now();
    for number in 0..10 {
        client.page().with_context(|| format!("page {number}"))?;
    }
    let page = Client::ask(&client.connect()?, LARGE.0)?;
    ensure!(page.len() > 40_000, "only {} bytes came", page.len());
    let took = start.elapsed().as_secs_f64();
    dialog.leave("/exit")?;
    Ok(Some(format!(
        "{took:.1} s for 10 pages and {} bytes",
        page.len()
    )))
}

/// A driver that receives nothing, whoever uses it.
fn deaf(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let image = boot.image_with_faults(suite, CONFIG, "deaf 1000\n")?;
    let (machine, _) = machine_of(&image, "virtio-net-pci,romfile=")?;
    let why = " yet: no DHCP server has given the machine an address";
    without(boot, &machine, why)
}

/// A driver that keeps all buffers: the card is shared once they are missing.
fn keeps_buffers(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let image = boot.image_with_faults(suite, CONFIG, "keep 1\n")?;
    let (machine, client) = machine_of(&image, "virtio-net-pci,romfile=")?;
    let mut dialog = Dialog::start(boot, &machine)?;
    dialog.prompt()?;
    // More than there are buffers for, on a connection that lives on.
    let start = Instant::now();
    client.speed(20)?;
    let took = start.elapsed().as_secs_f64();
    let told = dialog.say("Tim")?;
    let words = "warning: The network card's driver never tells that a frame is sent";
    ensure!(told.contains(words), "it does not say {words:?}");
    let speed = client.speed(4)?;
    dialog.leave("/exit")?;
    Ok(Some(format!(
        "{took:.1} s until it is shared, then {speed:.1} MB/s"
    )))
}

/// The card is used from which a DHCP server answers, though the other has a cable, too.
fn two_cards(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let image = boot.image(suite, CONFIG, &[])?;
    let (mut machine, client) = machine_of(&image, "virtio-net-pci,romfile=")?;
    let nobody = Wire::new(None, 0)?;
    let other = Nic {
        device: "virtio-net-pci,romfile=".into(),
        network: nobody.network(),
    };
    machine.nics.insert(0, other);
    let mut dialog = Dialog::start(boot, &machine)?;
    let begun = dialog.prompt()?;
    ensure!(begun.contains(SERVING), "it does not say {SERVING:?}");
    client.page()?;
    dialog.leave("/exit")?;
    Ok(None)
}

/// An address is renewed, lost if nobody renews it, replaced by another, and given back at the end.
fn leased(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    const SECONDS: u32 = 4;
    let [first, second] = [5, 6].map(|last| Ipv4Addr::new(10, 9, 0, last));
    let wire = Wire::new(Some(first), SECONDS)?;
    let machine = Machine {
        nics: vec![Nic {
            device: "virtio-net-pci,romfile=".into(),
            network: wire.network(),
        }],
        ..Machine::new(&boot.image(suite, CONFIG, &[])?)
    };
    let page = |address| -> Result<()> {
        let page = wire.ask(address, "/health", PATIENCE)?;
        ensure!(page.ends_with(r#"{"status":"ok"}"#), "the page is {page:?}");
        Ok(())
    };
    let later = || std::thread::sleep(Duration::from_secs(u64::from(SECONDS) + 1));
    let mut dialog = Dialog::start(boot, &machine)?;
    let begun = dialog.prompt()?;
    let serving = |address| format!("Serving on http://{address}:8080\n");
    ensure!(begun.contains(&serving(first)), "it does not serve");
    page(first)?;
    later();
    page(first)?;
    wire.leases(|leases| leases.address = None);
    later();
    let told = dialog.say("Tim")?;
    let lost = "warning: Not serving: the DHCP server has not renewed the machine's address";
    ensure!(told.starts_with(lost), "it said {told:?}");
    wire.leases(|leases| leases.address = Some(second));
    std::thread::sleep(Duration::from_secs(3));
    let told = dialog.say("Tim")?;
    ensure!(told.starts_with(&serving(second)), "it said {told:?}");
    page(second)?;
    dialog.leave("/exit")?;
    let released = wire.leases(|leases| leases.released);
    ensure!(released == Some(second), "it gave {released:?} back");
    Ok(None)
}

/// A machine without a network card says so, and works.
fn no_card(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let image = boot.image(suite, CONFIG, &[])?;
    without(
        boot,
        &Machine::new(&image),
        ": the firmware reports no network card",
    )
}

/// The card is left alone.
fn other_card(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let config = "nic = \"52:54:00:12:34:99\"\n";
    let (machine, _) = machine(suite, boot, "virtio-net-pci", config)?;
    without(
        boot,
        &machine,
        ": no network card has the address of the setting nic",
    )
}

/// A machine that says why it does not serve, and otherwise works.
fn without(boot: &mut Boot, machine: &Machine, why: &str) -> Result<Option<String>> {
    let mut dialog = Dialog::start(boot, machine)?;
    let begun = dialog.prompt()?;
    let why = format!("\nwarning: Not serving{why}");
    ensure!(begun.contains(&why), "it does not say {why:?}");
    dialog.expect("/seed", "seed 5\n")?;
    dialog.leave("/exit")?;
    Ok(None)
}
