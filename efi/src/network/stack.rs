//! TCP/IP over a card: an address, from a DHCP server or by hand, and connections to one port.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use llama2_serve::{ConnectionId, Lost, Network, Received};
use llama2_settings::Addressing;
use smoltcp::{
    iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet},
    socket::{
        dhcpv4,
        tcp::{self, State},
        udp,
    },
    time::{Duration, Instant},
    wire::{
        DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress,
        IpCidr, IpEndpoint, Ipv4Cidr,
    },
};

use super::{Card, CardFault, NetworkState, device::Port, is_unicast, mdns};

/// Most connections at a time.
pub const CONNECTIONS: usize = 64;
/// Connections that can be opened before the server accepts one.
const BACKLOG: usize = 16;
/// Bytes that a client can send before the server takes them: requests are short.
const RECEIVE: usize = 16 << 10;
/// Bytes that the server can send before a client acknowledges them.
const SEND: usize = 64 << 10;
/// Frames that one poll takes in at most, and rounds of frames that it sends: a flood must not keep
/// the processor from its other work.
const BURST: usize = 64;
/// Time after which a silent client is asked if it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Time after which a client that answers nothing is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Microseconds after which a connection that the server has ended is dropped, though the client
/// has not ended it.
const LINGER: u64 = 10_000_000;
/// Microseconds after which a client is turned away whom the server has not taken: at a menu, there
/// is none.
const UNHEARD: u64 = 10_000_000;
/// Microseconds between two looks at the cable.
const LINK: u64 = 250_000;
/// Time between two questions for a DHCP server.
const DISCOVER: Duration = Duration::from_secs(2);
/// Microseconds without a frame, after the first that was sent, after which a card counts as deaf:
/// a DHCP server has been asked twice, while nobody need answer what a fixed address announces.
const DEAF_TO_DHCP: u64 = 3_000_000;
const DEAF: u64 = 30_000_000;

/// Who uses a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody: it waits for a client, or has one that the server does not know yet.
    Listening,
    /// A client whom the server has not taken, since this time.
    Waiting(u64),
    /// The server.
    Open,
    /// The stack, which ends a connection for the server; since when both sides have nothing more
    /// to say, but the client has not ended it.
    Ending(Option<u64>),
}

/// Socket of a connection.
#[derive(Debug)]
struct Slot {
    socket: SocketHandle,
    phase: Phase,
}

/// Network stack over a card.
pub struct Stack<C: Card> {
    port: Port<C>,
    interface: Interface,
    sockets: SocketSet<'static>,
    dhcp: Option<SocketHandle>,
    /// Server that the address is leased from, to be told when it is not needed any more.
    lessor: Option<dhcpv4::ServerInfo>,
    mdns: Option<SocketHandle>,
    tcp_port: u16,
    slots: Vec<Slot>,
    /// Connection to a server, and how many there have been.
    line: (Option<SocketHandle>, u16),
    address: Option<Ipv4Addr>,
    had_address: bool,
    link: Link,
    /// Time of the first frame over this card.
    since: Option<u64>,
}

/// Account of the cable.
#[derive(Debug, Default)]
struct Link {
    looked: Option<u64>,
    is_there: bool,
    /// True once the card has not denied a cable. Some always do, but work.
    was_there: bool,
    /// True if the card has reported a cable.
    is_reported: bool,
}

impl<C: Card> core::fmt::Debug for Stack<C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Stack")
            .field("address", &self.address)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

/// Zeroed buffer, if there is memory for it.
fn buffer(len: usize) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len).ok()?;
    buffer.resize(len, 0);
    Some(buffer)
}

/// Returns true if one machine can have the address.
fn is_one_machine(address: Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast()
}

fn instant(microseconds: u64) -> Instant {
    Instant::from_micros(i64::try_from(microseconds).unwrap_or(i64::MAX))
}

impl<C: Card> Stack<C> {
    /// Stack that takes connections on a TCP port, or none if that is 0. `seed` is where sequence
    /// numbers begin; `now` is
    /// the time in microseconds. `None` if the card's address is no card's.
    pub fn new(
        card: C,
        addressing: Addressing,
        tcp_port: u16,
        seed: u64,
        now: u64,
    ) -> Option<Stack<C>> {
        let mac = card.mac();
        // The interface panics on any other.
        if !is_unicast(mac) {
            return None;
        }
        let mut port = Port::new(card);
        let mut config = Config::new(EthernetAddress(mac).into());
        config.random_seed = seed;
        let interface = Interface::new(config, &mut port, instant(now));
        let mut stack = Stack {
            port,
            interface,
            sockets: SocketSet::new(Vec::with_capacity(CONNECTIONS + 2)),
            dhcp: None,
            lessor: None,
            mdns: None,
            tcp_port,
            slots: Vec::with_capacity(CONNECTIONS),
            line: (None, seed as u16),
            address: None,
            had_address: false,
            link: Link::default(),
            since: None,
        };
        stack.mdns = stack.responder();
        match addressing {
            Addressing::Dhcp => {
                let mut socket = dhcpv4::Socket::new();
                let mut retries = socket.get_retry_config();
                retries.discover_timeout = DISCOVER;
                retries.initial_request_timeout = DISCOVER;
                socket.set_retry_config(retries);
                stack.dhcp = Some(stack.sockets.add(socket));
            }
            Addressing::Static {
                address,
                prefix,
                gateway,
            } => stack.set_address(Some((address, prefix)), gateway),
        }
        stack.listen();
        Some(stack)
    }

    /// Socket for questions about the machine's name.
    fn responder(&mut self) -> Option<SocketHandle> {
        let packets = || {
            let metadata = alloc::vec![udp::PacketMetadata::EMPTY; 4];
            Some(udp::PacketBuffer::new(metadata, buffer(2048)?))
        };
        let mut socket = udp::Socket::new(packets()?, packets()?);
        // As the protocol demands.
        socket.set_hop_limit(Some(255));
        socket.bind(mdns::PORT).ok()?;
        Some(self.sockets.add(socket))
    }

    /// State for users.
    pub fn state(&self) -> NetworkState {
        let unplugged = !self.link.is_there && (self.link.was_there || self.address.is_none());
        match self.address {
            _ if unplugged => NetworkState::NoLink,
            Some(address) => NetworkState::Address(address),
            None if self.had_address => NetworkState::Lost,
            None => NetworkState::Waiting,
        }
    }

    /// Returns true if the card leads to the network that is wanted: to one with a DHCP server, or,
    /// with an address by hand, to any. No card is certain to tell if it has a cable.
    pub fn is_found(&self) -> bool {
        match self.dhcp {
            Some(_) => self.address.is_some(),
            None => self.link.is_reported || self.port.came > 0,
        }
    }

    /// Returns true if a frame has come over this card.
    pub fn has_received(&self) -> bool {
        self.port.came > 0
    }

    /// Fault of the card, if it seems to have one.
    pub fn fault(&self, now: u64) -> Option<CardFault> {
        let deaf = if self.dhcp.is_some() {
            DEAF_TO_DHCP
        } else {
            DEAF
        };
        let is_late = self
            .since
            .is_some_and(|since| now.saturating_sub(since) >= deaf);
        if self.port.card.keeps_buffers() {
            return Some(CardFault::KeepsBuffers);
        }
        (is_late && self.link.is_there && self.port.came == 0).then_some(CardFault::Deaf)
    }

    /// Replaces the card by what `other` makes of it, with the same address. Connections stay.
    pub fn exchange(&mut self, other: impl FnOnce(&mut C)) {
        other(&mut self.port.card);
        (self.port.came, self.port.went) = (0, 0);
        self.since = None;
        self.link = Link::default();
        if let (Some(dhcp), None) = (self.dhcp, self.address) {
            self.sockets.get_mut::<dhcpv4::Socket<'_>>(dhcp).reset();
        }
    }

    /// The card.
    pub fn card(&self) -> &C {
        &self.port.card
    }

    /// The card, to stop it.
    pub fn into_card(self) -> C {
        self.port.card
    }

    /// Sets or removes the machine's address.
    fn set_address(&mut self, cidr: Option<(Ipv4Addr, u8)>, gateway: Option<Ipv4Addr>) {
        // The interface panics on anything else.
        let cidr = cidr.filter(|&(address, prefix)| is_one_machine(address) && prefix <= 32);
        self.interface.update_ip_addrs(|addresses| {
            addresses.clear();
            if let Some((address, prefix)) = cidr {
                let _ = addresses.push(IpCidr::from(Ipv4Cidr::new(address, prefix)));
            }
        });
        self.interface.routes_mut().remove_default_ipv4_route();
        if let Some(gateway) = gateway.filter(|&gateway| is_one_machine(gateway)) {
            let _ = self.interface.routes_mut().add_default_ipv4_route(gateway);
        }
        self.address = cidr.map(|(address, _)| address);
        let Some(address) = self.address else { return };
        self.had_address = true;
        // Nothing can come any more on connections to another address.
        let served = self.slots.iter().map(|slot| slot.socket);
        for handle in served.chain(self.line.0) {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
            let local = socket.local_endpoint().map(|local| local.addr);
            if local.is_some_and(|local| local != address.into()) {
                socket.abort();
            }
        }
        // Without room for the group the name stays unknown, and the address works.
        let _ = self.interface.join_multicast_group(mdns::GROUP);
        self.announce(address);
    }

    /// Tells the network the machine's name.
    fn announce(&mut self, address: Ipv4Addr) {
        let Some(handle) = self.mdns else { return };
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(handle);
        let group = IpEndpoint::new(mdns::GROUP.into(), mdns::PORT);
        let mut out = [0; mdns::LONGEST];
        let _ = socket.send_slice(mdns::answer(address, None, &mut out), group);
    }

    /// Answers those who ask for the machine's name.
    fn answer_names(&mut self) {
        let (Some(handle), Some(address)) = (self.mdns, self.address) else {
            return;
        };
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(handle);
        while let Ok((packet, from)) = socket.recv() {
            let Some(question) = mdns::question(packet) else {
                continue;
            };
            let legacy = (from.endpoint.port != mdns::PORT).then_some(question);
            let to = if legacy.is_some() || question.wants_unicast {
                from.endpoint
            } else {
                IpEndpoint::new(mdns::GROUP.into(), mdns::PORT)
            };
            let mut out = [0; mdns::LONGEST];
            // Where there is no room, whoever asked asks again.
            let _ = socket.send_slice(mdns::answer(address, legacy, &mut out), to);
        }
    }

    /// Sees to it that enough sockets wait for clients.
    fn listen(&mut self) {
        if self.tcp_port == 0 {
            return;
        }
        let mut waiting = 0;
        for slot in &self.slots {
            let socket = self.sockets.get::<tcp::Socket<'_>>(slot.socket);
            waiting += usize::from(socket.is_listening());
        }
        while waiting < BACKLOG && self.slots.len() < CONNECTIONS {
            let (Some(receive), Some(send)) = (buffer(RECEIVE), buffer(SEND)) else {
                // Fewer clients, then.
                return;
            };
            let receive = tcp::SocketBuffer::new(receive);
            let mut socket = tcp::Socket::new(receive, tcp::SocketBuffer::new(send));
            socket.set_keep_alive(Some(KEEP_ALIVE));
            socket.set_timeout(Some(PATIENCE));
            // A token is to go out when it is made.
            socket.set_nagle_enabled(false);
            socket.set_ack_delay(None);
            socket.set_congestion_control(tcp::CongestionControl::Reno);
            if socket.listen(self.tcp_port).is_err() {
                return;
            }
            self.slots.push(Slot {
                socket: self.sockets.add(socket),
                phase: Phase::Listening,
            });
            waiting += 1;
        }
    }

    /// Has sockets listen again whose connections are over.
    fn recycle(&mut self, now: u64) {
        for slot in &mut self.slots {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(slot.socket);
            let state = socket.state();
            let is_over = matches!(state, State::Closed | State::TimeWait);
            match slot.phase {
                // The server learns by itself that it is lost.
                Phase::Open => continue,
                Phase::Listening | Phase::Waiting(_) | Phase::Ending(_) if is_over => {
                    // It cannot fail: the socket is closed, and the port is not 0.
                    let _ = socket.listen(self.tcp_port);
                    slot.phase = Phase::Listening;
                }
                Phase::Listening if is_connected(state) => slot.phase = Phase::Waiting(now),
                Phase::Waiting(since) if now.saturating_sub(since) >= UNHEARD => socket.abort(),
                Phase::Ending(None) if state == State::FinWait2 => {
                    slot.phase = Phase::Ending(Some(now));
                }
                Phase::Ending(Some(since)) if now.saturating_sub(since) >= LINGER => {
                    socket.abort();
                }
                _ => (),
            }
        }
    }

    /// Looks at the cable now and then. One that was plugged in may lead into another network.
    fn look_at_link(&mut self, now: u64) {
        if self
            .link
            .looked
            .is_some_and(|looked| now.saturating_sub(looked) < LINK)
        {
            return;
        }
        self.link.looked = Some(now);
        let reported = self.port.card.has_link();
        self.link.is_reported = reported == Some(true);
        let is_there = reported.unwrap_or(true);
        let came = is_there && !self.link.is_there;
        if came
            && self.link.was_there
            && let Some(dhcp) = self.dhcp
        {
            self.sockets.get_mut::<dhcpv4::Socket<'_>>(dhcp).reset();
        }
        self.link.is_there = is_there;
        self.link.was_there |= is_there;
    }

    /// Follows what the DHCP server says.
    fn follow_lease(&mut self) {
        let Some(dhcp) = self.dhcp else { return };
        let event = self.sockets.get_mut::<dhcpv4::Socket<'_>>(dhcp).poll();
        let (cidr, router) = match event {
            None => return,
            Some(dhcpv4::Event::Deconfigured) => (None, None),
            Some(dhcpv4::Event::Configured(config)) => {
                self.lessor = Some(config.server);
                let address = config.address;
                let cidr = (address.address(), address.prefix_len());
                (Some(cidr), config.router)
            }
        };
        self.set_address(cidr, router);
    }

    /// Does what is to be done at this time, in microseconds, and never waits. Returns true if
    /// frames came or went: then more may come soon.
    pub fn poll(&mut self, now: u64) -> bool {
        let moved = self.port.came + self.port.went;
        self.port.card.reclaim(now);
        self.look_at_link(now);
        let at = instant(now);
        self.interface.poll_maintenance(at);
        for _ in 0..BURST {
            let (port, sockets) = (&mut self.port, &mut self.sockets);
            let result = self.interface.poll_ingress_single(at, port, sockets);
            if matches!(result, PollIngressSingleResult::None) {
                break;
            }
            // One that asks for a connection has taken a socket.
            self.listen();
        }
        self.follow_lease();
        self.answer_names();
        for _ in 0..BURST {
            let (port, sockets) = (&mut self.port, &mut self.sockets);
            if self.interface.poll_egress(at, port, sockets) == PollResult::None {
                break;
            }
        }
        self.recycle(now);
        if self.port.went > 0 {
            self.since.get_or_insert(now);
        }
        self.port.came + self.port.went != moved
    }

    /// Ends all connections at once, tells the clients, and gives a leased address back.
    pub fn abort(&mut self, now: u64) {
        for slot in &mut self.slots {
            self.sockets.get_mut::<tcp::Socket<'_>>(slot.socket).abort();
            slot.phase = Phase::Open;
        }
        self.release(now);
        self.poll(now);
    }

    /// Tells the DHCP server that the address is free (RFC 2131, section 4.4.6), once the server is
    /// known to its card; it may be lost.
    fn release(&mut self, now: u64) -> Option<()> {
        let dhcp = self.dhcp.take()?;
        self.sockets.remove(dhcp);
        let (server, address) = (self.lessor?, self.address?);
        let mac = EthernetAddress(self.port.card.mac());
        let message = DhcpRepr {
            message_type: DhcpMessageType::Release,
            transaction_id: now as u32,
            secs: 0,
            client_hardware_address: mac,
            client_ip: address,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: false,
            requested_ip: None,
            client_identifier: Some(mac),
            server_identifier: Some(server.identifier),
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        };
        // The one socket for datagrams, which nobody needs any more.
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.mdns?);
        socket.close();
        socket.bind(DHCP_CLIENT_PORT).ok()?;
        let to = IpEndpoint::new(server.address.into(), DHCP_SERVER_PORT);
        let packet = socket.send(message.buffer_len(), to).ok()?;
        message.emit(&mut DhcpPacket::new_unchecked(packet)).ok()
    }

    /// Returns true while something is still to be sent after [`Stack::abort`].
    pub fn is_leaving(&self) -> bool {
        let queue = |mdns| self.sockets.get::<udp::Socket<'_>>(mdns).send_queue();
        self.mdns.is_some_and(|mdns| queue(mdns) > 0)
    }

    /// Socket of a connection that the server has.
    fn socket(&mut self, id: ConnectionId) -> Option<&mut tcp::Socket<'static>> {
        let slot = self.slots.get(id.0)?;
        (slot.phase == Phase::Open).then(|| self.sockets.get_mut(slot.socket))
    }
}

impl<C: Card> Network for Stack<C> {
    fn accept(&mut self) -> Option<ConnectionId> {
        let index = self.slots.iter().position(|slot| {
            let socket = self.sockets.get::<tcp::Socket<'_>>(slot.socket);
            let is_new = matches!(slot.phase, Phase::Listening | Phase::Waiting(_));
            is_new && is_connected(socket.state())
        })?;
        self.slots[index].phase = Phase::Open;
        Some(ConnectionId(index))
    }

    fn receive(&mut self, id: ConnectionId, buffer: &mut [u8]) -> Received {
        self.socket(id)
            .map_or(Received::Lost, |socket| receive(socket, buffer))
    }

    fn send(&mut self, id: ConnectionId, bytes: &[u8]) -> Result<usize, Lost> {
        let socket = self.socket(id).ok_or(Lost)?;
        socket.send_slice(bytes).map_err(|_| Lost)
    }

    fn close(&mut self, id: ConnectionId, abort: bool) {
        let Some(socket) = self.socket(id) else {
            return;
        };
        if abort {
            socket.abort();
        } else {
            socket.close();
        }
        self.slots[id.0].phase = Phase::Ending(None);
    }

    fn peer(&self, id: ConnectionId) -> Option<IpAddr> {
        let slot = self.slots.get(id.0)?;
        let socket = self.sockets.get::<tcp::Socket<'_>>(slot.socket);
        Some(socket.remote_endpoint()?.addr.into())
    }
}

/// Returns true if a client is there.
fn is_connected(state: State) -> bool {
    matches!(state, State::Established | State::CloseWait)
}

/// Takes what has come on a connection.
fn receive(socket: &mut tcp::Socket<'_>, buffer: &mut [u8]) -> Received {
    if socket.can_recv() {
        return match socket.recv_slice(buffer) {
            Ok(0) => Received::Nothing,
            Ok(len) => Received::Bytes(len),
            Err(tcp::RecvError::Finished) => Received::End,
            Err(tcp::RecvError::InvalidState) => Received::Lost,
        };
    }
    match socket.state() {
        State::Established | State::FinWait1 | State::FinWait2 => Received::Nothing,
        State::Closed | State::Listen | State::SynSent | State::SynReceived => Received::Lost,
        _ => Received::End,
    }
}

mod line;
#[cfg(test)]
mod tests;
