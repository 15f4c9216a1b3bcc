//! A stack and a client's stack, back to back: both over cards of a cable of ours.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, string::String, vec, vec::Vec};

use smoltcp::{phy::FaultInjector, wire::IpAddress};

use super::*;
use crate::network::{
    LONGEST,
    answer::{FixedAnswer, filling_of},
    cards::Cards,
};

const OURS: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
const THEIRS: [u8; 6] = [0x52, 0x54, 0, 0, 0, 2];
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const PORT: u16 = 8080;
const BY_HAND: Addressing = Addressing::Static {
    address: ADDRESS,
    prefix: 24,
    gateway: Some(CLIENT),
};

/// Frames under way in one direction.
type Frames = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// Faults of a cable that smoltcp's `FaultInjector` does not have: of 32 frames one comes twice,
/// one after the next, and one without its end.
#[derive(Debug, Clone, Copy)]
struct Rough(u32);

impl Rough {
    /// Spoils the frames under way.
    fn spoil(&mut self, frames: &mut VecDeque<Vec<u8>>) {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match (self.0 >> 27, &mut frames.make_contiguous()) {
            (0, [first, second, ..]) => core::mem::swap(first, second),
            (1, [first, ..]) => {
                let again = first.clone();
                frames.push_front(again);
            }
            (2, [first, ..]) => first.truncate((self.0 >> 8) as usize % first.len().max(1)),
            _ => (),
        }
    }
}

/// End of a cable.
struct End {
    mac: [u8; 6],
    link: Rc<RefCell<Option<bool>>>,
    coming: Frames,
    going: Frames,
    /// Frames that are sent and not handed back.
    sent: usize,
    /// Frames that it sends before it needs to be asked for them.
    room: usize,
    rough: Option<Rough>,
}

impl Card for End {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }
    fn longest(&self) -> usize {
        LONGEST
    }
    fn has_link(&mut self) -> Option<bool> {
        *self.link.borrow()
    }
    fn reclaim(&mut self, _: u64) {
        self.sent = 0;
    }
    fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let mut coming = self.coming.borrow_mut();
        if let Some(rough) = &mut self.rough {
            rough.spoil(&mut coming);
        }
        let frame = coming.pop_front()?;
        buffer[..frame.len()].copy_from_slice(&frame);
        Some(frame.len())
    }
    fn can_send(&self) -> bool {
        self.sent < self.room
    }
    fn send(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) {
        assert!((60..=LONGEST).contains(&len) && self.can_send());
        self.sent += 1;
        let mut frame = vec![0; len];
        fill(&mut frame);
        self.going.borrow_mut().push_back(frame);
    }
}

/// Both ends, and the time.
struct Bench {
    stack: Stack<End>,
    link: Rc<RefCell<Option<bool>>>,
    coming: Frames,
    port: FaultInjector<Port<End>>,
    interface: Interface,
    sockets: SocketSet<'static>,
    now: u64,
    /// Frames from us to the client, to be lost.
    cut: bool,
}

impl Bench {
    fn new(addressing: Addressing) -> Bench {
        Bench::rough(addressing, None)
    }

    fn rough(addressing: Addressing, rough: Option<Rough>) -> Bench {
        let (a, b) = (Frames::default(), Frames::default());
        let link = Rc::new(RefCell::new(Some(true)));
        let end = |mac, coming: &Frames, going: &Frames, room| End {
            mac,
            link: link.clone(),
            coming: coming.clone(),
            going: going.clone(),
            sent: 0,
            room,
            rough,
        };
        let stack = Stack::new(end(OURS, &a, &b, 8), addressing, PORT, 1, 0).unwrap();
        let theirs = Port::new(end(THEIRS, &b, &a, usize::MAX));
        let mut port = FaultInjector::new(theirs, 1);
        let config = Config::new(EthernetAddress(THEIRS).into());
        let mut interface = Interface::new(config, &mut port, instant(0));
        interface.update_ip_addrs(|addresses| {
            addresses
                .push(IpCidr::new(IpAddress::from(CLIENT), 24))
                .unwrap();
        });
        Bench {
            stack,
            link: link.clone(),
            coming: b.clone(),
            port,
            interface,
            sockets: SocketSet::new(Vec::new()),
            now: 0,
            cut: false,
        }
    }

    fn by_hand() -> Bench {
        Bench::new(BY_HAND)
    }

    /// Lets so many milliseconds pass for both.
    fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds * 1000;
        self.stack.poll(self.now);
        if self.cut {
            self.coming.borrow_mut().clear();
        }
        self.interface
            .poll(instant(self.now), &mut self.port, &mut self.sockets);
    }

    fn client(&mut self, from: u16) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 32 << 10]);
        let handle = self.sockets.add(tcp::Socket::new(buffer(), buffer()));
        self.connect(handle, from);
        handle
    }

    fn connect(&mut self, handle: SocketHandle, from: u16) {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        let to = IpEndpoint::new(ADDRESS.into(), PORT);
        socket.connect(self.interface.context(), to, from).unwrap();
    }

    fn get(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }
}

/// Sends a request and returns the answer, while `FixedAnswer` serves.
fn request(
    bench: &mut Bench,
    server: &mut FixedAnswer,
    handle: SocketHandle,
    path: &str,
) -> String {
    let request = std::format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let (mut is_sent, mut answer) = (false, Vec::new());
    for _ in 0..100_000 {
        bench.pass(1);
        server.poll(&mut bench.stack);
        let socket = bench.get(handle);
        if !is_sent && socket.can_send() {
            socket.send_slice(request.as_bytes()).unwrap();
            is_sent = true;
        }
        let mut piece = vec![0; 32 << 10];
        if let Ok(len) = socket.recv_slice(&mut piece) {
            answer.extend(&piece[..len]);
        }
        if is_sent && !socket.may_recv() {
            socket.close();
            break;
        }
    }
    bench.pass(1);
    bench.pass(1);
    String::from_utf8(answer).unwrap()
}

#[test]
fn clients_come_one_after_another_more_often_than_there_are_sockets() {
    let (mut bench, mut server) = (Bench::by_hand(), FixedAnswer::default());
    bench.pass(1);
    assert_eq!(bench.stack.state(), NetworkState::Address(ADDRESS));
    for number in 0..2 * CONNECTIONS as u16 {
        let handle = bench.client(10_000 + number);
        let answer = request(&mut bench, &mut server, handle, "/");
        assert!(answer.starts_with("HTTP/1.1 200"), "{number}: {answer}");
        assert!(answer.ends_with("llama2.efi is here.\n"), "{answer}");
        bench.sockets.remove(handle);
    }
    // The usual number was enough.
    assert!(bench.stack.slots.len() <= BACKLOG + 2);
    let handle = bench.client(9000);
    let answer = request(&mut bench, &mut server, handle, "/bytes/300000");
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), 300_000);
}

#[test]
fn answers_arrive_whole_over_a_bad_cable() {
    // Frames of 100 that are lost, or have a bit turned over; most frames in 10 ms; other faults.
    for (drop, corrupt, rate, rough) in [
        (15, 0, 0, None),
        (0, 15, 0, None),
        (0, 0, 6, None),
        (0, 0, 0, Some(Rough(7))),
        (4, 4, 20, Some(Rough(8))),
    ] {
        let mut server = FixedAnswer::default();
        let mut bench = Bench::rough(BY_HAND, rough);
        bench.port.set_drop_chance(drop);
        bench.port.set_corrupt_chance(corrupt);
        bench.port.set_max_rx_rate(rate);
        bench.port.set_max_tx_rate(rate);
        bench.port.set_bucket_interval(Duration::from_millis(10));
        for number in 0..12 {
            let handle = bench.client(10_000 + number);
            let len = 100 + 7_000 * usize::from(number);
            let path = std::format!("/bytes/{len}");
            let answer = request(&mut bench, &mut server, handle, &path);
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
            assert!(head.starts_with("HTTP/1.1 200"), "{number}, {drop}: {head}");
            let wrong = body
                .bytes()
                .zip(filling_of(len, len))
                .position(|(a, b)| a != b);
            assert_eq!(
                (body.len(), wrong),
                (len, None),
                "{number}, {drop} {corrupt} {rate}"
            );
            bench.sockets.remove(handle);
        }
    }
}

#[test]
fn a_burst_of_clients_is_not_refused_until_all_sockets_are_taken() {
    let mut bench = Bench::by_hand();
    let clients: Vec<SocketHandle> = (0..CONNECTIONS as u16 + 1)
        .map(|number| bench.client(10_000 + number))
        .collect();
    for _ in 0..100 {
        bench.pass(1);
    }
    let open = |bench: &mut Bench| {
        let mut open = 0;
        for &client in &clients {
            open += usize::from(bench.get(client).state() == State::Established);
        }
        open
    };
    assert_eq!(open(&mut bench), CONNECTIONS);
    let ids: Vec<ConnectionId> = std::iter::from_fn(|| bench.stack.accept()).collect();
    assert_eq!(ids.len(), CONNECTIONS);
    assert_eq!(bench.stack.peer(ids[0]), Some(CLIENT.into()));
    // One that is dropped makes room.
    bench.stack.close(ids[5], true);
    bench.pass(1);
    bench.pass(1);
    assert_eq!(open(&mut bench), CONNECTIONS - 1);
    let mut piece = [0; 8];
    assert_eq!(bench.stack.receive(ids[5], &mut piece), Received::Lost);
    assert_eq!(bench.stack.send(ids[5], b"x"), Err(Lost));
    bench.client(9000);
    for _ in 0..10 {
        bench.pass(1);
    }
    assert!(bench.stack.accept().is_some());
}

#[test]
fn a_client_s_end_and_its_death_are_told_apart() {
    let mut bench = Bench::by_hand();
    let (client, dead) = (bench.client(10_000), bench.client(10_001));
    for _ in 0..10 {
        bench.pass(1);
    }
    let first = bench.stack.accept().unwrap();
    let second = bench.stack.accept().unwrap();
    let mut piece = [0; 8];
    assert_eq!(bench.stack.receive(first, &mut piece), Received::Nothing);
    bench.get(client).send_slice(b"hello, you").unwrap();
    bench.get(client).close();
    for _ in 0..10 {
        bench.pass(1);
    }
    assert_eq!(bench.stack.receive(first, &mut piece), Received::Bytes(8));
    assert_eq!(bench.stack.receive(first, &mut piece), Received::Bytes(2));
    assert_eq!(bench.stack.receive(first, &mut piece), Received::End);
    // It still hears us.
    assert_eq!(bench.stack.send(first, b"bye"), Ok(3));
    bench.stack.close(first, false);
    for _ in 0..30 {
        bench.pass(1);
    }
    assert_eq!(bench.get(client).recv_slice(&mut piece), Ok(3));
    assert_eq!(bench.stack.slots[first.0].phase, Phase::Listening);
    // A client that answers no more is given up.
    assert_eq!(bench.stack.receive(second, &mut piece), Received::Nothing);
    let _ = dead;
    bench.cut = true;
    for _ in 0..90 {
        bench.pass(1000);
    }
    assert_eq!(bench.stack.receive(second, &mut piece), Received::Lost);
    bench.stack.close(second, false);
    bench.pass(1);
    assert_eq!(bench.stack.slots[second.0].phase, Phase::Listening);
}

#[test]
fn a_client_that_never_ends_its_side_is_dropped() {
    let mut bench = Bench::by_hand();
    let client = bench.client(10_000);
    for _ in 0..10 {
        bench.pass(1);
    }
    let id = bench.stack.accept().unwrap();
    bench.stack.close(id, false);
    for _ in 0..20 {
        bench.pass(1000);
    }
    assert_eq!(bench.stack.slots[id.0].phase, Phase::Listening);
    assert_eq!(bench.get(client).state(), State::Closed);
}

/// A DHCP server for the client's end of the cable.
struct DhcpServer {
    socket: SocketHandle,
    lease: u32,
    answers: bool,
    requests: usize,
    released: Option<Ipv4Addr>,
}

impl DhcpServer {
    fn new(bench: &mut Bench, lease: u32) -> DhcpServer {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 8192]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(67).unwrap();
        DhcpServer {
            socket: bench.sockets.add(socket),
            lease,
            answers: true,
            requests: 0,
            released: None,
        }
    }

    fn poll(&mut self, bench: &mut Bench) {
        let socket = bench.sockets.get_mut::<udp::Socket<'_>>(self.socket);
        while let Ok((packet, _)) = socket.recv() {
            let packet = DhcpPacket::new_checked(packet.to_vec()).unwrap();
            let packet = DhcpPacket::new_unchecked(packet.into_inner());
            let bytes = packet.into_inner();
            let view = DhcpPacket::new_unchecked(&bytes[..]);
            let asked = DhcpRepr::parse(&view).unwrap();
            if asked.message_type == DhcpMessageType::Release {
                assert_eq!(asked.server_identifier, Some(CLIENT));
                self.released = Some(asked.client_ip);
                continue;
            }
            self.requests += 1;
            if !self.answers {
                continue;
            }
            let kind = match asked.message_type {
                DhcpMessageType::Discover => DhcpMessageType::Offer,
                _ => DhcpMessageType::Ack,
            };
            let answer = DhcpRepr {
                message_type: kind,
                your_ip: ADDRESS,
                server_ip: CLIENT,
                router: Some(CLIENT),
                subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
                requested_ip: None,
                client_identifier: None,
                server_identifier: Some(CLIENT),
                parameter_request_list: None,
                dns_servers: None,
                max_size: None,
                lease_duration: Some(self.lease),
                broadcast: true,
                client_ip: Ipv4Addr::UNSPECIFIED,
                relay_agent_ip: Ipv4Addr::UNSPECIFIED,
                ..asked
            };
            let to = IpEndpoint::new(Ipv4Addr::BROADCAST.into(), 68);
            let out = socket.send(answer.buffer_len(), to).unwrap();
            answer.emit(&mut DhcpPacket::new_unchecked(out)).unwrap();
        }
    }
}

#[test]
fn an_address_is_leased_renewed_and_lost() {
    let mut bench = Bench::new(Addressing::Dhcp);
    for _ in 0..5 {
        bench.pass(1000);
    }
    assert_eq!(bench.stack.state(), NetworkState::Waiting);
    let mut server = DhcpServer::new(&mut bench, 600);
    let seconds = |bench: &mut Bench, server: &mut DhcpServer, count: u64| {
        for _ in 0..count * 10 {
            bench.pass(100);
            server.poll(bench);
        }
    };
    seconds(&mut bench, &mut server, 10);
    let leased = NetworkState::Address(ADDRESS);
    assert_eq!(bench.stack.state(), leased);
    let asked = server.requests;
    seconds(&mut bench, &mut server, 1500);
    assert_eq!(bench.stack.state(), leased);
    assert!(server.requests > asked, "it never renewed");
    // A connection lives on over renewals; without them the address is lost.
    server.answers = false;
    seconds(&mut bench, &mut server, 1300);
    assert_eq!(bench.stack.state(), NetworkState::Lost);
    server.answers = true;
    seconds(&mut bench, &mut server, 10);
    assert_eq!(bench.stack.state(), leased);
}

#[test]
fn a_cable_that_is_pulled_out_is_told_and_its_return_asks_again() {
    let mut bench = Bench::new(Addressing::Dhcp);
    *bench.link.borrow_mut() = Some(false);
    bench.pass(1000);
    assert_eq!(bench.stack.state(), NetworkState::NoLink);
    // A card that is wrong about it works all the same.
    let mut server = DhcpServer::new(&mut bench, 600);
    for _ in 0..100 {
        bench.pass(100);
        server.poll(&mut bench);
    }
    assert_eq!(bench.stack.state(), NetworkState::Address(ADDRESS));
    *bench.link.borrow_mut() = Some(true);
    bench.pass(1000);
    assert_eq!(bench.stack.state(), NetworkState::Address(ADDRESS));
    *bench.link.borrow_mut() = Some(false);
    bench.pass(1000);
    assert_eq!(bench.stack.state(), NetworkState::NoLink);
    let asked = server.requests;
    *bench.link.borrow_mut() = Some(true);
    for _ in 0..100 {
        bench.pass(100);
        server.poll(&mut bench);
    }
    assert_eq!(bench.stack.state(), NetworkState::Address(ADDRESS));
    assert!(server.requests > asked);
}

#[test]
fn an_address_is_given_back_at_the_end() {
    let mut bench = Bench::new(Addressing::Dhcp);
    let mut server = DhcpServer::new(&mut bench, 600);
    for _ in 0..20 {
        bench.pass(100);
        server.poll(&mut bench);
    }
    assert_eq!(bench.stack.state(), NetworkState::Address(ADDRESS));
    // The server's own address is forgotten meanwhile, and asked for.
    for _ in 0..100 {
        bench.pass(1000);
    }
    bench.stack.abort(bench.now);
    assert!(bench.stack.is_leaving());
    for _ in 0..3 {
        bench.pass(1);
        server.poll(&mut bench);
    }
    assert!(!bench.stack.is_leaving());
    assert_eq!(server.released, Some(ADDRESS));
}

/// Stack over a card that never receives anything.
fn deaf(link: Option<bool>, addressing: Addressing) -> Stack<End> {
    let card = End {
        mac: [0x52, 0x54, 0, 0, 0, 3],
        link: Rc::new(RefCell::new(link)),
        coming: Frames::default(),
        going: Frames::default(),
        sent: 0,
        room: 8,
        rough: None,
    };
    Stack::new(card, addressing, PORT, 1, 0).unwrap()
}

#[test]
fn of_several_cards_the_first_with_an_address_is_taken() {
    for link in [Some(true), Some(false), None] {
        let mut bench = Bench::new(Addressing::Dhcp);
        let mut server = DhcpServer::new(&mut bench, 600);
        let other = || deaf(link, Addressing::Dhcp);
        let good = core::mem::replace(&mut bench.stack, other());
        let mut cards = Cards::new(vec![other(), good, other()]).unwrap();
        cards.poll(0);
        assert!(cards.chosen().is_none() && cards.others().is_empty());
        assert_eq!(cards.state(), NetworkState::Waiting);
        for _ in 0..20 {
            bench.pass(100);
            cards.poll(bench.now);
            server.poll(&mut bench);
        }
        assert_eq!(cards.state(), NetworkState::Address(ADDRESS));
        assert_eq!(cards.others().len(), 2);
        assert!(cards.chosen().is_some() && cards.others().is_empty());
    }
    // With an address by hand, the one that is known to have a cable.
    let stacks = [None, Some(false), Some(true)].map(|link| deaf(link, BY_HAND));
    let mut cards = Cards::new(stacks.into()).unwrap();
    cards.poll(0);
    let chosen = cards.chosen().map(|stack| *stack.card().link.borrow());
    assert_eq!(chosen, Some(Some(true)));
    assert!(Cards::<End>::new(Vec::new()).is_none());
}

#[test]
fn a_card_that_hears_nothing_has_a_fault_and_its_stack_goes_on_over_another() {
    for (link, addressing, at, fault) in [
        (None, Addressing::Dhcp, 4, Some(CardFault::Deaf)),
        (Some(true), Addressing::Dhcp, 4, Some(CardFault::Deaf)),
        (Some(false), Addressing::Dhcp, 4, None),
        (None, Addressing::Dhcp, 2, None),
        (None, BY_HAND, 4, None),
        (None, BY_HAND, 40, Some(CardFault::Deaf)),
    ] {
        let mut stack = deaf(link, addressing);
        for tenth in 0..10 * at {
            stack.poll(tenth * 100_000);
        }
        assert_eq!(
            stack.fault(at * 1_000_000),
            fault,
            "{link:?} {addressing:?} {at}"
        );
        stack.exchange(|_| ());
        assert_eq!(stack.fault(at * 1_000_000), None);
    }
    let (mut bench, mut server) = (Bench::by_hand(), FixedAnswer::default());
    let handle = bench.client(10_000);
    for _ in 0..10 {
        bench.pass(1);
    }
    bench.stack.exchange(|_| ());
    let answer = request(&mut bench, &mut server, handle, "/");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn addresses_that_would_make_the_stack_panic_are_refused() {
    let card = |mac| End {
        mac,
        link: Rc::default(),
        coming: Frames::default(),
        going: Frames::default(),
        sent: 0,
        room: 1,
        rough: None,
    };
    for mac in [[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
        assert!(Stack::new(card(mac), Addressing::Dhcp, PORT, 1, 0).is_none());
    }
    for (address, prefix) in [
        (Ipv4Addr::new(224, 0, 0, 1), 24),
        (Ipv4Addr::BROADCAST, 24),
        (ADDRESS, 33),
    ] {
        let addressing = Addressing::Static {
            address,
            prefix,
            gateway: Some(Ipv4Addr::BROADCAST),
        };
        let mut stack = Stack::new(card(OURS), addressing, PORT, 1, 0).unwrap();
        stack.poll(1);
        assert_eq!(stack.state(), NetworkState::Waiting);
    }
}

#[test]
fn the_machine_s_name_is_told() {
    let mut bench = Bench::by_hand();
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 8192]);
    let mut socket = udp::Socket::new(buffer(), buffer());
    socket.bind(40_000).unwrap();
    let group = IpEndpoint::new(mdns::GROUP.into(), mdns::PORT);
    let question =
        b"\x00\x07\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06llama2\x05local\x00\x00\x01\x00\x01";
    socket.send_slice(question, group).unwrap();
    let handle = bench.sockets.add(socket);
    for _ in 0..10 {
        bench.pass(10);
    }
    let socket = bench.sockets.get_mut::<udp::Socket<'_>>(handle);
    let (answer, from) = socket.recv().unwrap();
    assert_eq!(from.endpoint, IpEndpoint::new(ADDRESS.into(), mdns::PORT));
    assert_eq!(answer[..2], [0, 7]);
    assert!(answer.ends_with(&ADDRESS.octets()));
}

#[test]
fn a_line_to_a_server_brings_all_bytes_and_is_hung_up() {
    use core::net::SocketAddrV4;

    let mut bench = Bench::by_hand();
    let buffer = || tcp::SocketBuffer::new(vec![0; 64 << 10]);
    let server = bench.sockets.add(tcp::Socket::new(buffer(), buffer()));
    let mut piece = vec![0; 8 << 10];
    for _ in 0..2 {
        bench.get(server).listen(80).unwrap();
        let to = SocketAddrV4::new(CLIENT, 80);
        assert_eq!(bench.stack.dial(to, bench.now), Ok(()));
        assert_eq!(bench.stack.line_send(b"GET"), Ok(0));
        assert_eq!(bench.stack.line_receive(&mut piece), Received::Nothing);
        let (mut sent, mut came) = (0, 0);
        for _ in 0..2000 {
            bench.pass(1);
            if bench.stack.line_send(b"").is_ok() && came == 0 {
                bench.stack.line_send(b"GET").unwrap();
            }
            let socket = bench.get(server);
            if socket.can_recv() && sent < 600_000 {
                let bytes = [7; 8 << 10];
                let room = bytes.len().min(600_000 - sent);
                sent += socket.send_slice(&bytes[..room]).unwrap();
            } else if sent == 600_000 {
                socket.close();
            }
            match bench.stack.line_receive(&mut piece) {
                Received::Bytes(len) => came += len,
                Received::End => break,
                other => assert_eq!(other, Received::Nothing),
            }
        }
        assert_eq!(came, 600_000);
        bench.stack.hang_up(bench.now);
        bench.pass(1);
        assert!(!bench.get(server).is_open());
        assert_eq!(bench.stack.line_send(b"GET"), Err(Lost));
        assert_eq!(bench.stack.line_receive(&mut piece), Received::Lost);
    }
    // Nobody is there, or the address is none.
    for port in [81, 0] {
        let to = SocketAddrV4::new(CLIENT, port);
        assert_eq!(bench.stack.dial(to, bench.now), Ok(()));
        for _ in 0..10 {
            bench.pass(1);
        }
        assert_eq!(bench.stack.line_receive(&mut piece), Received::Lost);
    }
    let mut bench = Bench::new(Addressing::Dhcp);
    let to = SocketAddrV4::new(CLIENT, 80);
    bench.pass(1);
    assert_eq!(bench.stack.dial(to, 0), Err(NetworkState::Waiting));
}

#[test]
fn a_client_whom_nobody_takes_is_turned_away() {
    let mut bench = Bench::by_hand();
    let client = bench.client(10_000);
    (0..5).for_each(|_| bench.pass(1));
    assert_eq!(bench.get(client).state(), State::Established);
    for _ in 0..110 {
        bench.pass(100);
    }
    assert_eq!(bench.get(client).state(), State::Closed);
    // One that is taken stays.
    let client = bench.client(10_001);
    (0..5).for_each(|_| bench.pass(1));
    bench.stack.accept().unwrap();
    for _ in 0..110 {
        bench.pass(100);
    }
    assert_eq!(bench.get(client).state(), State::Established);
}
