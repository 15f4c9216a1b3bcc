//! Connections: requests come in, answers go out, and nobody is waited for.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{cell::RefCell, time::Duration};

use llama2_engine::{session::Session, tokenizer::Tokenizer};

use crate::{
    api::{self, Call, Outcome, error_response},
    config::{Config, Origins},
    error::{ApiError, Kind},
    field::short,
    generation::{Generation, News},
    http::{CONTINUE, MOST_HEAD, Parsed, Reader, Request, Response, write_chunk},
    job::{About, Job},
    machine::Machine,
    network::{ConnectionId, Network, Received},
    page,
    scheduler::Other,
    state::ServerState,
};

/// Time for a request's head and body to come, from its first byte on.
const REQUEST_TIME: Duration = Duration::from_secs(60);
/// Time that a connection may be open without a request.
const IDLE_TIME: Duration = Duration::from_secs(75);
/// Time without a byte taken by a client that has bytes to take.
const STALL_TIME: Duration = Duration::from_secs(60);
/// Time without a byte in a stream, after which something is sent that says nothing.
const PING_TIME: Duration = Duration::from_secs(15);
/// Bytes that are received at once.
const PIECE: usize = 16 << 10;
/// Most bytes that a connection is taken at once: others and the deadlines have their turn, too.
const MOST_RECEIVED: usize = 256 << 10;
/// Most bytes that wait to be sent before no further request of the connection is answered.
const MOST_WAITING: usize = 1 << 20;
/// Most bytes of a stream that wait to be sent: who takes so little is left.
const MOST_BEHIND: usize = 4 << 20;

/// State of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Connections.
    pub connections: usize,
    /// Tasks in slots.
    pub running: usize,
    /// Tasks that wait for a slot.
    pub waiting: usize,
    /// Tokens drawn since it began.
    pub drawn: u64,
    /// Something happened in the last call: there may be more to do at once.
    pub is_active: bool,
}

/// A client that waits for an answer.
struct Waiting {
    job: Job,
    is_old: bool,
    keeps_alive: bool,
    /// Headers of the answer that depend on the request.
    headers: Vec<(&'static str, String)>,
    /// The head of a stream has been written.
    is_begun: bool,
}

/// A connection.
struct Client {
    reader: Reader,
    /// Bytes to send, and how many of them are sent.
    out: Vec<u8>,
    sent: usize,
    waiting: Option<Waiting>,
    /// A request that waits until the server wakes.
    held: Option<Request>,
    /// When the request under way began, or the last one ended.
    since: Duration,
    has_begun: bool,
    /// When bytes were taken last, or there were none to take.
    moved: Duration,
    /// When something was written last.
    written: Duration,
    /// Closed as soon as everything is sent.
    is_last: bool,
    /// The client sends nothing more.
    has_ended: bool,
}

impl Client {
    fn new(most_body: usize, now: Duration) -> Client {
        Client {
            reader: Reader::new(most_body),
            out: Vec::new(),
            sent: 0,
            waiting: None,
            held: None,
            since: now,
            has_begun: false,
            moved: now,
            written: now,
            is_last: false,
            has_ended: false,
        }
    }

    fn unsent(&self) -> usize {
        self.out.len() - self.sent
    }
}

/// A server.
pub struct Server<'t> {
    state: ServerState<'t>,
    clients: BTreeMap<ConnectionId, Client>,
    piece: Vec<u8>,
}

impl<'t> Server<'t> {
    /// A server with slots of a session: the number of the first one's sequence, and how many.
    /// Sequences behind them are for what is kept of earlier texts ([`Config::kept`]); those before
    /// them are somebody else's.
    pub fn new(
        config: Config,
        tokenizer: &'t Tokenizer,
        session: &Session<'_>,
        slots: (usize, usize),
        machine: &dyn Machine,
    ) -> Server<'t> {
        let mut state = ServerState::new(config, tokenizer, session, slots);
        state.begun_at = machine.unix_time();
        state.unix_time = state.begun_at;
        Server {
            state,
            clients: BTreeMap::new(),
            piece: alloc::vec![0; PIECE],
        }
    }

    /// Why the model's chat template cannot be used, if that is so: chatml is in its place.
    pub fn template_fault(&self) -> Option<String> {
        self.state.template.fault().map(ToString::to_string)
    }

    /// Gives the server's state.
    pub fn status(&self) -> Status {
        Status {
            connections: self.clients.len(),
            running: self.state.scheduler.running(),
            waiting: self.state.scheduler.waiting(),
            drawn: self.state.scheduler.counts.drawn,
            is_active: false,
        }
    }

    /// Ends all connections and what was made for them.
    pub fn close(&mut self, network: &mut dyn Network) {
        for (id, mut client) in core::mem::take(&mut self.clients) {
            self.abandon(&mut client);
            network.close(id, true);
        }
    }

    /// Tells whether a request waits for the model.
    pub fn wants_session(&self) -> bool {
        self.clients.values().any(|client| client.held.is_some())
    }

    /// Knows that the session is gone, and with it all that it held; the server sleeps until it is
    /// polled with another one.
    pub fn sleep(&mut self) {
        self.state.scheduler.forget();
        self.state.is_asleep = true;
    }

    /// Tells whether a pass has something to do.
    pub fn is_idle(&self) -> bool {
        self.state.scheduler.is_idle()
    }

    /// Takes what has come over the network, and sends what can be sent. Without a session the
    /// server sleeps: requests that need the model wait, and [`Server::wants_session`] says so.
    pub fn poll(
        &mut self,
        mut session: Option<&mut Session<'_>>,
        network: &mut dyn Network,
        machine: &mut dyn Machine,
    ) -> Status {
        let now = machine.now();
        self.state.now = now;
        self.state.is_asleep = session.is_none();
        let mut is_active = self.accept(network, machine, now);
        let ids: Vec<ConnectionId> = self.clients.keys().copied().collect();
        for id in ids {
            let Some(mut client) = self.clients.remove(&id) else {
                continue;
            };
            let (moved, is_open) =
                self.serve(id, &mut client, session.as_deref_mut(), network, machine);
            is_active |= moved;
            if is_open {
                self.clients.insert(id, client);
            } else {
                self.abandon(&mut client);
            }
        }
        Status {
            is_active,
            ..self.status()
        }
    }

    fn accept(
        &mut self,
        network: &mut dyn Network,
        machine: &mut dyn Machine,
        now: Duration,
    ) -> bool {
        let mut is_active = false;
        while let Some(id) = network.accept() {
            is_active = true;
            let mut client = Client::new(self.state.config.most_body, now);
            if self.clients.len() >= self.state.config.most_connections {
                let most = self.state.config.most_connections;
                machine.log(format_args!("refused a connection: {most} are open"));
                let sentence = format!("{most} connections are open already: try again later");
                let error = ApiError::new(Kind::Unavailable, sentence);
                error_response("", &error).write(false, false, &mut client.out);
                client.is_last = true;
            }
            self.clients.insert(id, client);
        }
        is_active
    }

    /// Ends what a client waits for.
    fn abandon(&mut self, client: &mut Client) {
        if let Some(waiting) = client.waiting.take() {
            for task in waiting.job.tasks {
                self.state.scheduler.cancel(task);
            }
        }
    }

    /// Serves one connection. Returns whether something happened, and whether it is open still.
    fn serve(
        &mut self,
        id: ConnectionId,
        client: &mut Client,
        mut session: Option<&mut Session<'_>>,
        network: &mut dyn Network,
        machine: &mut dyn Machine,
    ) -> (bool, bool) {
        let now = self.state.now;
        let mut is_active = false;
        let mut received = 0;
        // Behind a request that is being answered a little more is taken, to hear of the end.
        while received < MOST_RECEIVED
            && client.reader.waiting() < MOST_HEAD + PIECE
            && !client.is_last
            && !client.has_ended
        {
            match network.receive(id, &mut self.piece) {
                Received::Bytes(count) => {
                    is_active = true;
                    received += count;
                    client.reader.push(&self.piece[..count]);
                    if client.waiting.is_none() {
                        self.read(id, client, session.as_deref_mut(), machine);
                    }
                }
                Received::Nothing => break,
                Received::End => client.has_ended = true,
                Received::Lost => {
                    network.close(id, true);
                    return (true, false);
                }
            }
        }
        // With this much behind a request no more is received, and the client's end not heard of:
        // who sends requests ahead like this keeps no slot.
        let is_worked_on = client.waiting.is_some() || client.held.is_some();
        if is_worked_on && client.reader.waiting() >= MOST_HEAD + PIECE {
            network.close(id, true);
            return (true, false);
        }
        if client.waiting.is_none() && !client.is_last && client.unsent() < MOST_WAITING {
            is_active |= self.read(id, client, session, machine);
        }
        if client.has_ended {
            // Who has closed its side while it waits has given up.
            if client.waiting.is_some() || client.held.is_some() {
                network.close(id, true);
                return (true, false);
            }
            client.is_last = true;
        }
        self.ping(client, now);
        let is_open = send(id, client, network, now);
        // If the text waited for the client instead, one that takes a byte a minute kept its slot.
        let streams = |waiting: &Waiting| waiting.is_begun;
        let is_behind =
            client.waiting.as_ref().is_some_and(streams) && client.unsent() > MOST_BEHIND;
        if !is_open || is_behind {
            network.close(id, true);
            return (true, false);
        }
        if client.unsent() == 0 && client.is_last {
            network.close(id, false);
            return (true, false);
        }
        let is_late = match (
            client.unsent() > 0,
            client.waiting.is_some() || client.held.is_some(),
        ) {
            (true, _) => now.saturating_sub(client.moved) > STALL_TIME,
            (false, true) => false,
            (false, false) => {
                let most = if client.has_begun {
                    REQUEST_TIME
                } else {
                    IDLE_TIME
                };
                now.saturating_sub(client.since) > most
            }
        };
        if is_late {
            if client.has_begun && client.unsent() == 0 {
                let error = ApiError::new(Kind::Http(408), "the request took too long to come");
                let response = error_response(client.reader.path(), &error);
                response.write(false, false, &mut client.out);
                client.is_last = true;
                return (true, true);
            }
            network.close(id, client.unsent() > 0);
            return (true, false);
        }
        (is_active, true)
    }

    /// Lets a silent stream say that it is there.
    fn ping(&mut self, client: &mut Client, now: Duration) {
        let Some(waiting) = &mut client.waiting else {
            return;
        };
        if waiting.job.streams && now.saturating_sub(client.written) > PING_TIME {
            // It waits for a slot still.
            if !waiting.is_begun {
                begin(waiting, &mut client.out);
            }
            let mut ping = Vec::new();
            waiting.job.format.framing().write_ping(&mut ping);
            if !ping.is_empty() {
                write_chunk(&ping, waiting.is_old, &mut client.out);
            }
            client.written = now;
        }
    }

    /// Reads requests, and answers them or lets them wait. Returns whether there was one.
    fn read(
        &mut self,
        id: ConnectionId,
        client: &mut Client,
        mut session: Option<&mut Session<'_>>,
        machine: &mut dyn Machine,
    ) -> bool {
        let mut is_active = false;
        while client.waiting.is_none() && !client.is_last && client.unsent() < MOST_WAITING {
            if let Some(request) = client.held.take() {
                is_active |= session.is_some();
                self.answer(id, client, request, session.as_deref_mut(), machine);
                if client.held.is_some() {
                    break;
                }
                continue;
            }
            match client.reader.next() {
                Ok(Parsed::Nothing) => {
                    if client.has_begun {
                        (client.has_begun, client.since) = (false, self.state.now);
                    }
                    break;
                }
                Ok(Parsed::Part) => {
                    if !client.has_begun {
                        (client.has_begun, client.since) = (true, self.state.now);
                    }
                    break;
                }
                Ok(Parsed::Expects) => client.out.extend(CONTINUE),
                Ok(Parsed::Whole(request)) => {
                    is_active = true;
                    (client.has_begun, client.since) = (false, self.state.now);
                    self.answer(id, client, request, session.as_deref_mut(), machine);
                }
                Err(bad) => {
                    is_active = true;
                    let error = ApiError::new(Kind::Http(bad.status), bad.sentence);
                    let response = error_response(client.reader.path(), &error);
                    response.write(false, false, &mut client.out);
                    client.is_last = true;
                }
            }
        }
        is_active
    }

    fn answer(
        &mut self,
        id: ConnectionId,
        client: &mut Client,
        request: Request,
        session: Option<&mut Session<'_>>,
        machine: &mut dyn Machine,
    ) {
        let headers = self.headers(&request);
        let is_head = request.method == "HEAD";
        let respond = |client: &mut Client, mut response: Response| {
            response.headers.extend(headers.iter().cloned());
            response.write(is_head, request.keeps_alive, &mut client.out);
            client.is_last |= !request.keeps_alive;
        };
        if request.method == "OPTIONS" {
            let mut response = Response::new(200, "text/plain", "");
            let allowed = api::methods(&request.path).unwrap_or(&["GET", "POST"]);
            response
                .headers
                .push(("Allow", format!("{}, OPTIONS", allowed.join(", "))));
            return respond(client, response);
        }
        let page = self
            .state
            .config
            .has_page
            .then(|| page::answer(&request))
            .flatten();
        if let Some(response) = page {
            return respond(client, response);
        }
        if !self.may_enter(&request) {
            let error = ApiError::new(Kind::Authentication, "Invalid API Key");
            let response = error_response(&request.path, &error).with("WWW-Authenticate", "Bearer");
            return respond(client, response);
        }
        if let Err(sentence) = self.check_site(&request) {
            let error = ApiError::new(Kind::Forbidden, sentence);
            return respond(client, error_response(&request.path, &error));
        }
        if self.state.config.is_verbose {
            machine.log(format_args!(
                "{} {} ({})",
                request.method, request.path, id.0
            ));
        }
        if session.is_none() && !api::answers_asleep(&request.path) {
            client.held = Some(request);
            return;
        }
        self.state.unix_time = machine.unix_time();
        self.state.date = machine.date();
        let mut call = Call {
            state: &mut self.state,
            session,
            machine,
            request: &request,
        };
        match api::answer(&mut call) {
            Ok(Outcome::Now(response)) => respond(client, response),
            Ok(Outcome::Job(job)) => {
                client.written = self.state.now;
                client.waiting = Some(Waiting {
                    job,
                    is_old: request.is_old,
                    keeps_alive: request.keeps_alive,
                    headers,
                    is_begun: false,
                });
            }
            Err(error) => {
                let mut response = error_response(&request.path, &error);
                if error.kind == Kind::Method
                    && let Some(allowed) = api::methods(&request.path)
                {
                    response.headers.push(("Allow", allowed.join(", ")));
                }
                respond(client, response);
            }
        }
    }

    /// Tells whether a request may be answered: it is public, or has a key.
    fn may_enter(&self, request: &Request) -> bool {
        let keys = &self.state.config.keys;
        if keys.is_empty() || is_public(&request.path) {
            return true;
        }
        let bearer = request.header("authorization");
        let bearer = bearer.and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
        let given = bearer.or(request.header("x-api-key")).unwrap_or_default();
        // All keys are compared, in a time that does not depend on where they differ.
        keys.iter()
            .fold(false, |found, key| found | is_same(key, given))
    }

    /// Checks that no page of another site sends a request to a server without a key. Browsers send
    /// simple ones unasked, though the page cannot read the answer; and if its site's name leads
    /// here (DNS rebinding) it can, because to the browser we are its site.
    ///
    /// # Errors
    /// A sentence.
    fn check_site(&self, request: &Request) -> Result<(), String> {
        // Pages cannot write this header, and browsers send it only over TLS, for which a name that
        // leads here would have no certificate, and to the machine itself.
        let is_own = request.header("sec-fetch-site") == Some("same-origin");
        if is_own || !self.state.config.keys.is_empty() || is_public(&request.path) {
            return Ok(());
        }
        let host = request.header("host").unwrap_or_default();
        let origin = request.header("origin");
        if matches!(&request.method[..], "GET" | "HEAD") {
            // Requests to read have no origin where they are the site's own.
            let is_allowed = origin.is_some_and(|origin| self.allows(origin));
            return match is_allowed || is_at_home(host) || self.allows_host(host) {
                true => Ok(()),
                false => Err(format!(
                    "this server has no key, and tells what it knows only to those who reach it by \
                     its address or a local name, not as {}: set an API key (api_key, --api-key), \
                     or allow http://{} (--cors-origins)",
                    short(host),
                    short(host)
                )),
            };
        }
        // Programs other than browsers send none.
        let Some(origin) = origin else {
            return Ok(());
        };
        let is_welcome = match origin.split_once("://") {
            _ if self.allows(origin) => true,
            Some(("http", own)) => own.eq_ignore_ascii_case(host) && is_at_home(host),
            // Not by TLS, as above.
            Some(("https", own)) => own.eq_ignore_ascii_case(host),
            // No site's, but a program's that shows pages of its own.
            Some(_) => true,
            None => false,
        };
        let sentence = "a page of another site may not use this server, which has no key: \
            set one, or allow the page's origin (--cors-origins)";
        is_welcome.then_some(()).ok_or_else(|| sentence.into())
    }

    /// Tells whether the host of an origin that may read answers is this one: the server's own
    /// name, which somebody has told it.
    fn allows_host(&self, host: &str) -> bool {
        let is_own = |origin: &String| {
            let own = origin.split_once("://").map(|(_, own)| own);
            own.is_some_and(|own| own.eq_ignore_ascii_case(host))
        };
        match &self.state.config.origins {
            Origins::Any => true,
            Origins::Listed(origins) => origins.iter().any(is_own),
            Origins::Keyed | Origins::Local => false,
        }
    }

    /// Tells whether pages of an origin may read answers.
    fn allows(&self, origin: &str) -> bool {
        match &self.state.config.origins {
            Origins::Keyed => !self.state.config.keys.is_empty(),
            Origins::Any => true,
            Origins::Local => is_local(origin),
            Origins::Listed(origins) => origins.iter().any(|own| own == origin),
        }
    }

    /// Headers about which pages may read an answer.
    fn headers(&self, request: &Request) -> Vec<(&'static str, String)> {
        let origin = request.header("origin");
        let Some(origin) = origin.filter(|origin| self.allows(origin)) else {
            return Vec::new();
        };
        let mut headers = alloc::vec![
            ("Access-Control-Allow-Origin", origin.to_string()),
            ("Access-Control-Allow-Credentials", "true".to_string()),
            ("Vary", "Origin".to_string()),
        ];
        if request.method == "OPTIONS" {
            headers.push((
                "Access-Control-Allow-Methods",
                "GET, POST, DELETE, OPTIONS".into(),
            ));
            // For requests with credentials `*` is a name as any other, and never covers
            // Authorization. An origin without a scheme is no browser's: llama.cpp's tests,
            // which want `*`.
            let asked = request.header("access-control-request-headers");
            let asked = asked.filter(|names| is_browser(origin) && is_list(names));
            headers.push(("Access-Control-Allow-Headers", asked.unwrap_or("*").into()));
        }
        headers
    }

    /// Makes one pass over the weights for everything that runs, and for `other`, a sequence of
    /// somebody else with a number of its own. Returns the number of tokens
    /// passed.
    pub fn step(
        &mut self,
        session: &mut Session<'_>,
        machine: &mut dyn Machine,
        other: Option<Other<'_>>,
    ) -> usize {
        let now = machine.now();
        let scheduler = &mut self.state.scheduler;
        scheduler.launch(session, self.state.tokenizer, now, &mut || machine.random());
        self.deliver(now);
        let clock = RefCell::new(&mut *machine);
        let scheduler = &mut self.state.scheduler;
        let passed = scheduler.step(session, self.state.tokenizer, other, &|| {
            clock.borrow().now()
        });
        let now = machine.now();
        self.deliver(now);
        for remark in core::mem::take(&mut self.state.scheduler.remarks) {
            if self.state.config.is_verbose {
                machine.log(format_args!("{remark}"));
            }
        }
        passed
    }

    /// Answers all that waits with a text, without a pass: for fuzzers, which with a model in the
    /// loop would reach hundreds of requests a second, not thousands.
    pub fn recite(&mut self, text: &str, session: &mut Session<'_>, machine: &mut dyn Machine) {
        let now = machine.now();
        while !self.is_idle() {
            let scheduler = &mut self.state.scheduler;
            scheduler.launch(session, self.state.tokenizer, now, &mut || machine.random());
            scheduler.recite(text, now);
            self.deliver(now);
        }
    }

    /// Writes what has happened to the answers that wait.
    fn deliver(&mut self, now: Duration) {
        let about = About {
            tokenizer: self.state.tokenizer,
            model: self.state.config.names.first().map_or("", |name| &name[..]),
            unix_time: self.state.unix_time,
        };
        let scheduler = &mut self.state.scheduler;
        for client in self.clients.values_mut() {
            let Some(waiting) = &mut client.waiting else {
                continue;
            };
            let before = client.out.len();
            for place in 0..waiting.job.tasks.len() {
                let task = waiting.job.tasks[place];
                let Some(generation) = scheduler.find(task) else {
                    continue;
                };
                let news = generation.news();
                let is_over = news.last() == Some(&News::End);
                // An error before the first event has a status.
                if waiting.job.streams && generation.failure.is_none() && !waiting.is_begun {
                    begin(waiting, &mut client.out);
                }
                if waiting.is_begun {
                    write_news(waiting, about, generation, &news, &mut client.out);
                }
                if is_over {
                    waiting.job.ended.extend(scheduler.take_ended(task));
                }
            }
            if waiting.job.ended.len() == waiting.job.tasks.len() {
                finish(waiting, about, &mut client.out);
                client.is_last |= !waiting.keeps_alive || (waiting.is_old && waiting.is_begun);
                client.waiting = None;
                client.since = now;
            }
            if client.out.len() > before {
                client.written = now;
            }
        }
    }
}

/// Writes the head of a stream.
fn begin(waiting: &mut Waiting, out: &mut Vec<u8>) {
    let framing = waiting.job.format.framing();
    let mut response = Response::new(200, framing.content_type(), "");
    response.headers.push(("Cache-Control", "no-cache".into()));
    response.headers.append(&mut waiting.headers);
    response.write_stream_head(waiting.is_old, waiting.keeps_alive, out);
    waiting.is_begun = true;
}

/// Writes what happened to a generation into a stream.
fn write_news(
    waiting: &mut Waiting,
    about: About<'_>,
    generation: &Generation,
    news: &[News],
    out: &mut Vec<u8>,
) {
    let framing = waiting.job.format.framing();
    let mut bytes = Vec::new();
    for one in news {
        let frames = match (one, generation.failure) {
            (News::End, Some(failure)) => {
                let error = ApiError::new(Kind::Server, failure);
                alloc::vec![waiting.job.format.error(&error).into()]
            }
            _ => waiting.job.format.news(about, generation, one),
        };
        for frame in frames {
            framing.write(&frame, &mut bytes);
        }
    }
    if !bytes.is_empty() {
        write_chunk(&bytes, waiting.is_old, out);
    }
}

/// Writes the end of an answer, or all of it.
fn finish(waiting: &mut Waiting, about: About<'_>, out: &mut Vec<u8>) {
    if waiting.is_begun {
        let mut bytes = Vec::new();
        waiting.job.format.framing().write_end(&mut bytes);
        if !bytes.is_empty() {
            write_chunk(&bytes, waiting.is_old, out);
        }
        if !waiting.is_old {
            write_chunk(b"", false, out);
        }
        return;
    }
    let ended = &mut waiting.job.ended;
    ended.sort_by_key(|generation| generation.task.index);
    let failure = ended.iter().find_map(|generation| generation.failure);
    let mut response = match failure {
        Some(failure) => {
            let error = ApiError::new(Kind::Server, failure);
            api::json(error.kind.status(), &waiting.job.format.error(&error))
        }
        None => api::json(200, &waiting.job.format.whole(about, ended)),
    };
    response.headers.append(&mut waiting.headers);
    response.write(false, waiting.keeps_alive, out);
}

/// Sends what can be sent; `false` if the connection is lost.
fn send(id: ConnectionId, client: &mut Client, network: &mut dyn Network, now: Duration) -> bool {
    if client.unsent() == 0 {
        client.moved = now;
        return true;
    }
    while client.unsent() > 0 {
        match network.send(id, &client.out[client.sent..]) {
            Ok(0) => break,
            Ok(count) => {
                client.sent += count;
                client.moved = now;
            }
            Err(_) => return false,
        }
    }
    if client.unsent() == 0 {
        client.out.clear();
        client.sent = 0;
        // A large answer's memory is not kept.
        client.out.shrink_to(PIECE);
    } else if client.sent > MOST_WAITING {
        client.out.drain(..client.sent);
        client.sent = 0;
    }
    true
}

/// Compares two keys in a time that depends on the length of the given one alone.
fn is_same(key: &str, given: &str) -> bool {
    let (key, given) = (key.as_bytes(), given.as_bytes());
    let mut difference = key.len() ^ given.len();
    for (place, &byte) in given.iter().enumerate() {
        let own = key.get(place % key.len().max(1)).copied().unwrap_or(0);
        difference |= usize::from(own ^ byte);
    }
    core::hint::black_box(difference) == 0
}

/// Tells whether an address is for everybody: it says nothing but that the server is there.
fn is_public(path: &str) -> bool {
    matches!(path, "/health" | "/v1/health")
}

/// Tells whether a host (and port) is an address or a name that nobody can have in the public DNS.
fn is_at_home(host: &str) -> bool {
    if host.starts_with('[') {
        return true;
    }
    let name = host.split(':').next().unwrap_or_default();
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let ends = [".local", ".localhost", ".lan", ".internal", ".home.arpa"];
    // No name ends with a number: `127.1` is an address, too.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_address = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    !name.contains('.') || is_address || ends.iter().any(|end| name.ends_with(end))
}

/// Tells whether an origin is one that a browser sends.
fn is_browser(origin: &str) -> bool {
    origin == "null" || origin.contains("://")
}

/// Tells whether a text is a list of headers' names.
fn is_list(names: &str) -> bool {
    let is_own = |byte| matches!(byte, b',' | b' ' | b'-' | b'_') || byte.is_ascii_alphanumeric();
    !names.is_empty() && names.bytes().all(is_own)
}

/// Tells whether an origin is a page of this machine.
fn is_local(origin: &str) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else {
        return false;
    };
    let host = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(host, _)| host),
        None => rest.split(':').next().unwrap_or(""),
    };
    matches!(scheme, "http" | "https") && matches!(host, "localhost" | "127.0.0.1" | "::1")
}
