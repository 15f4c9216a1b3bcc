//! Network at the other end of a machine's cable: a DHCP server that does as a test wants, and a
//! client for pages.

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    phy::{self, Device, DeviceCapabilities, Medium},
    socket::{tcp, udp},
    time,
    wire::{DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, IpCidr, IpEndpoint, Ipv4Cidr},
};
use xtask::qemu::NicNetwork;

/// Address of the DHCP server and the client.
const OURS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

/// Wishes of a test, and what has come of them.
#[derive(Default)]
pub struct Leases {
    /// Address that is leased; without one nobody is answered.
    pub address: Option<Ipv4Addr>,
    /// Seconds of a lease.
    pub seconds: u32,
    /// Address that was given back.
    pub released: Option<Ipv4Addr>,
}

/// Network under way, until this is dropped.
pub struct Wire {
    shared: Arc<Mutex<Shared>>,
    ports: (u16, u16),
}

#[derive(Default)]
struct Shared {
    leases: Leases,
    /// Page to ask for, and from whom.
    asked: Option<(Ipv4Addr, String)>,
    answer: Option<Vec<u8>>,
}

impl Wire {
    /// Network in which addresses are leased for so long, from now on if there is one.
    ///
    /// # Errors
    /// If the host has no ports.
    pub fn new(address: Option<Ipv4Addr>, seconds: u32) -> Result<Wire> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let other = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        socket.connect(("127.0.0.1", other))?;
        socket.set_read_timeout(Some(Duration::from_millis(1)))?;
        let ports = (other, socket.local_addr()?.port());
        let leases = Leases {
            address,
            seconds,
            released: None,
        };
        let shared = Arc::new(Mutex::new(Shared {
            leases,
            ..Shared::default()
        }));
        let weak = Arc::downgrade(&shared);
        std::thread::spawn(move || Side::new(Cable(socket)).run(&weak));
        Ok(Wire { shared, ports })
    }

    /// Its place in a machine.
    pub fn network(&self) -> NicNetwork {
        let (qemu, other) = self.ports;
        NicNetwork::Cable { qemu, other }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the leases, or changes them.
    pub fn leases<T>(&self, f: impl FnOnce(&mut Leases) -> T) -> T {
        f(&mut self.shared().leases)
    }

    /// Asks a server for a page, and returns all that it answers.
    pub fn ask(&self, address: Ipv4Addr, path: &str, patience: Duration) -> Result<String> {
        self.shared().asked = Some((address, path.to_owned()));
        let start = Instant::now();
        while start.elapsed() < patience {
            if let Some(answer) = self.shared().answer.take() {
                return Ok(String::from_utf8_lossy(&answer).into_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("no answer from {address} in {} s", patience.as_secs())
    }
}

/// Our side of the cable.
struct Side {
    cable: Cable,
    start: Instant,
    interface: Interface,
    sockets: SocketSet<'static>,
    dhcp: SocketHandle,
    client: SocketHandle,
}

impl Side {
    fn new(mut cable: Cable) -> Side {
        let mac = EthernetAddress([0x52, 0x54, 0, 9, 0, 1]);
        let now = time::Instant::from_millis(0);
        let mut interface = Interface::new(Config::new(mac.into()), &mut cable, now);
        interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::Ipv4(Ipv4Cidr::new(OURS, 24)));
        });
        let mut sockets = SocketSet::new(Vec::new());
        let packets = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 8192]);
        let mut dhcp = udp::Socket::new(packets(), packets());
        let _ = dhcp.bind(67);
        let bytes = || tcp::SocketBuffer::new(vec![0; 32 << 10]);
        let client = tcp::Socket::new(bytes(), bytes());
        Side {
            dhcp: sockets.add(dhcp),
            client: sockets.add(client),
            cable,
            start: Instant::now(),
            interface,
            sockets,
        }
    }

    fn run(mut self, shared: &Weak<Mutex<Shared>>) {
        let (mut from, mut request, mut answer) = (40_000, None, Vec::new());
        while let Some(shared) = shared.upgrade() {
            let now = time::Instant::from_micros(self.start.elapsed().as_micros() as i64);
            self.interface.poll(now, &mut self.cable, &mut self.sockets);
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            self.lease(&mut shared.leases);
            let client = self.sockets.get_mut::<tcp::Socket<'_>>(self.client);
            if let Some((address, path)) = shared.asked.take() {
                client.abort();
                from += 1;
                let to = IpEndpoint::new(address.into(), 8080);
                let _ = client.connect(self.interface.context(), to, from);
                answer.clear();
                request = Some(format!(
                    "GET {path} HTTP/1.1\r\nHost: llama2\r\nConnection: close\r\n\r\n"
                ));
            }
            if client.can_send()
                && let Some(request) = request.take()
            {
                let _ = client.send_slice(request.as_bytes());
            }
            let mut piece = [0; 4096];
            while let Ok(len @ 1..) = client.recv_slice(&mut piece) {
                answer.extend(&piece[..len]);
            }
            if !answer.is_empty() && !client.may_recv() {
                client.close();
                shared.answer = Some(std::mem::take(&mut answer));
            }
        }
    }

    /// Answers who asks for an address.
    fn lease(&mut self, leases: &mut Leases) {
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.dhcp);
        while let Ok((packet, _)) = socket.recv() {
            let packet = packet.to_vec();
            let packet = DhcpPacket::new_checked(&packet[..]);
            let Ok(Ok(asked)) = packet.as_ref().map(DhcpRepr::parse) else {
                continue;
            };
            let message_type = match asked.message_type {
                DhcpMessageType::Discover => DhcpMessageType::Offer,
                DhcpMessageType::Request => DhcpMessageType::Ack,
                DhcpMessageType::Release => {
                    leases.released = Some(asked.client_ip);
                    continue;
                }
                _ => continue,
            };
            let Some(address) = leases.address else {
                continue;
            };
            let answer = DhcpRepr {
                message_type,
                your_ip: address,
                server_ip: OURS,
                subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
                server_identifier: Some(OURS),
                lease_duration: Some(leases.seconds),
                requested_ip: None,
                client_identifier: None,
                parameter_request_list: None,
                max_size: None,
                client_ip: Ipv4Addr::UNSPECIFIED,
                ..asked
            };
            let to = IpEndpoint::new(Ipv4Addr::BROADCAST.into(), 68);
            if let Ok(out) = socket.send(answer.buffer_len(), to) {
                let _ = answer.emit(&mut DhcpPacket::new_unchecked(out));
            }
        }
    }
}

/// Cable of UDP datagrams, a frame in each.
struct Cable(UdpSocket);

/// Frame that came.
struct Frame(Vec<u8>);

impl Device for Cable {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Sender<'a>;

    fn receive(&mut self, _: time::Instant) -> Option<(Frame, Sender<'_>)> {
        let mut frame = vec![0; 2048];
        let len = self.0.recv(&mut frame).ok()?;
        frame.truncate(len);
        Some((Frame(frame), Sender(&self.0)))
    }

    fn transmit(&mut self, _: time::Instant) -> Option<Sender<'_>> {
        Some(Sender(&self.0))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

impl phy::RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// Room for a frame to send.
struct Sender<'a>(&'a UdpSocket);

impl phy::TxToken for Sender<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        // A frame that is lost is sent again.
        let _ = self.0.send(&frame);
        result
    }
}
