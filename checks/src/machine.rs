//! Machine with no operating system that serves, in QEMU, beside other things.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use xtask::{
    arch::X86_64,
    image::{self, Content},
    qemu::{self, Accel, Guest, Machine, Nic, NicNetwork},
    shell::target,
};

/// How long a machine may take to its prompt.
const MACHINE_TIME: Duration = Duration::from_secs(300);

/// Running machine, whose output is read all the while, so that it never waits.
pub struct ServingMachine {
    /// Port of the host that leads to its server.
    pub port: u16,
    over: Arc<AtomicBool>,
    reader: Option<JoinHandle<Guest>>,
}

impl ServingMachine {
    /// Starts a machine with this application, configuration and model, and waits for its prompt.
    /// Its disk is an image with this name.
    ///
    /// # Errors
    /// If it shows no prompt.
    pub fn start(efi: &Path, name: &str, config: &str, model: &Path) -> Result<ServingMachine> {
        let mut content = Content::default();
        content.program(&X86_64, efi);
        content.bytes("LLAMA2.CFG", config);
        content.file("STORIES.GGUF", model);
        let image = target().join(name).join("machine.img");
        image::write(&content, &image)?;
        let port = qemu::free_port()?;
        let machine = Machine {
            nics: vec![Nic {
                device: "virtio-net-pci,romfile=".into(),
                network: NicNetwork::Qemu(vec![(port, 8080)]),
            }],
            ..Machine::new(&image)
        };
        let mut guest = machine.start(Accel::Tcg)?;
        let ready = guest.until(MACHINE_TIME, Guest::prompt);
        ensure!(
            ready.is_ok(),
            "the machine shows no prompt:\n{}",
            guest.text
        );
        Ok(ServingMachine::of(guest, port))
    }

    /// Reads the output of a machine whose server is behind this port.
    pub fn of(mut guest: Guest, port: u16) -> ServingMachine {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        let reader = std::thread::spawn(move || {
            while !is_over.load(Relaxed) {
                let _ = guest.wait(Duration::from_millis(200), |_| None::<()>);
            }
            guest
        });
        ServingMachine {
            port,
            over,
            reader: Some(reader),
        }
    }

    /// Gives the machine to somebody who reads its output from now on.
    ///
    /// # Errors
    /// If reading it failed.
    pub fn guest(mut self) -> Result<Guest> {
        self.over.store(true, Relaxed);
        let reader = self.reader.take().context("it is read once")?;
        reader
            .join()
            .ok()
            .context("reading the machine's output failed")
    }
}

impl Drop for ServingMachine {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
