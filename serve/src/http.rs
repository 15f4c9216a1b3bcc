//! HTTP/1.1 (RFC 9112): requests out of bytes as they come, and responses into bytes.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use httparse::{EMPTY_HEADER, Status};

/// Most bytes of a request's line and headers.
pub(crate) const MOST_HEAD: usize = 32 << 10;

/// Most headers of a request.
const MOST_HEADERS: usize = 100;

/// Most bytes of a line with a chunk's size.
const MOST_SIZE_LINE: usize = 1024;

/// A request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Request {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// Path without the query, percent-encoding undone.
    pub path: String,
    /// Names and values of the query, percent-encoding undone.
    pub query: Vec<(String, String)>,
    /// Headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The client wants to send further requests on the connection.
    pub keeps_alive: bool,
    /// HTTP/1.0: chunks are unknown.
    pub is_old: bool,
}

impl Request {
    /// Value of a header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| &value[..])
    }

    /// Value of a name in the query.
    pub fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| &value[..])
    }
}

/// A request that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRequest {
    /// Status of the answer.
    pub status: u16,
    /// Fault of the request.
    pub sentence: String,
}

fn bad<T>(status: u16, sentence: impl Into<String>) -> Result<T, BadRequest> {
    Err(BadRequest {
        status,
        sentence: sentence.into(),
    })
}

/// Part of a request that has come.
#[derive(Debug, PartialEq)]
pub(crate) enum Parsed {
    /// Nothing: the client may be idle.
    Nothing,
    /// A part.
    Part,
    /// The head; the client waits for [`CONTINUE`] before it sends the body.
    Expects,
    /// All of it.
    Whole(Request),
}

/// Length of a body.
#[derive(Debug)]
enum Framing {
    Length(usize),
    /// The next chunk's size line is next, or so many bytes of a chunk are left.
    Chunks(Option<usize>),
    /// Trailers after the last chunk, of which so many bytes are read.
    Trailers(usize),
}

/// A request that is being received.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Bytes that have come.
    bytes: Vec<u8>,
    /// How many of them are understood: they are dropped together, not one by one.
    at: usize,
    /// Bytes behind them that have been searched for the head's end.
    searched: usize,
    /// Bytes of empty lines before the head.
    blank: usize,
    begun: Option<(Request, Framing)>,
    expects: bool,
    most_body: usize,
    /// Path of the request under way, as soon as it is known.
    path: String,
}

impl Reader {
    /// A reader of requests whose bodies have at most `most_body` bytes.
    pub fn new(most_body: usize) -> Reader {
        Reader {
            bytes: Vec::new(),
            at: 0,
            searched: 0,
            blank: 0,
            begun: None,
            expects: false,
            most_body,
            path: String::new(),
        }
    }

    /// Path of the request under way or of the one that could not be understood; empty if it is not
    /// known.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Takes bytes that have come.
    pub fn push(&mut self, bytes: &[u8]) {
        if 2 * self.at >= self.bytes.len() {
            self.bytes.drain(..core::mem::take(&mut self.at));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Number of bytes that wait.
    pub fn waiting(&self) -> usize {
        self.rest().len()
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Takes the next step towards a request.
    ///
    /// # Errors
    /// [`BadRequest`]; the connection cannot be used any more.
    pub fn next(&mut self) -> Result<Parsed, BadRequest> {
        if self.begun.is_none() && !self.begin()? {
            return Ok(match self.rest().is_empty() {
                true => Parsed::Nothing,
                false => Parsed::Part,
            });
        }
        if !self.read_body()? {
            return Ok(match core::mem::take(&mut self.expects) {
                true => Parsed::Expects,
                false => Parsed::Part,
            });
        }
        self.expects = false;
        self.path.clear();
        let request = self.begun.take().map(|(request, _)| request);
        Ok(request.map_or(Parsed::Nothing, Parsed::Whole))
    }

    /// Reads the line and the headers, if they are all there.
    fn begin(&mut self) -> Result<bool, BadRequest> {
        // An empty line before a request is allowed.
        while self.rest().starts_with(b"\r\n") {
            self.at += 2;
            self.blank += 2;
            self.searched = 0;
        }
        let rest = self.rest();
        let from = self.searched.saturating_sub(3);
        let end = find(&rest[from..], b"\r\n\r\n").map(|at| from + at + 4);
        let len = end.unwrap_or(rest.len());
        // A line that ends with LF alone is one to some and none to others: behind a proxy, where a
        // request ends would be anybody's guess.
        let is_bare = |at: usize| rest[at] == b'\n' && (at == 0 || rest[at - 1] != b'\r');
        // Before the length, but only as far as a head may reach: what comes first is told, in
        // any pieces.
        let most = MOST_HEAD.saturating_sub(self.blank);
        if (from..len.min(most)).any(is_bare) {
            return bad(
                400,
                "a line of the request's head does not end with CR and LF",
            );
        }
        if self.blank + len > MOST_HEAD {
            return bad(
                431,
                format!("the request's head has more than {MOST_HEAD} bytes"),
            );
        }
        let Some(end) = end else {
            self.searched = len;
            return Ok(false);
        };
        let head = rest[..end].to_vec();
        self.at += end;
        (self.searched, self.blank) = (0, 0);
        let mut headers = [EMPTY_HEADER; MOST_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(&head) {
            Ok(Status::Complete(len)) if len == head.len() => (),
            Ok(Status::Complete(_)) => return bad(400, "the request's head ends twice"),
            Ok(Status::Partial) => return bad(400, "the request's head ends too early"),
            Err(httparse::Error::TooManyHeaders) => {
                return bad(
                    431,
                    format!("the request has more than {MOST_HEADERS} headers"),
                );
            }
            Err(httparse::Error::Version) => return bad(505, "only HTTP/1.0 and 1.1 are served"),
            Err(error) => return bad(400, format!("the request is no HTTP: {error}")),
        }
        let (path, query) = target(parsed.path.unwrap_or("/"));
        self.path.clone_from(&path);
        let mut request = Request {
            method: parsed.method.unwrap_or("GET").to_string(),
            path,
            query,
            is_old: parsed.version == Some(0),
            ..Request::default()
        };
        for header in parsed.headers.iter() {
            let value = String::from_utf8_lossy(header.value).trim().to_string();
            request
                .headers
                .push((header.name.to_ascii_lowercase(), value));
        }
        let hosts = request.headers.iter().filter(|(name, _)| name == "host");
        match hosts.count() {
            0 if !request.is_old => return bad(400, "the request has no Host header"),
            0 | 1 => (),
            _ => return bad(400, "the request has several Host headers"),
        }
        let wishes = request.header("connection").unwrap_or_default();
        let wishes = |wish: &str| {
            wishes
                .split(',')
                .any(|own| own.trim().eq_ignore_ascii_case(wish))
        };
        request.keeps_alive = match request.is_old {
            true => wishes("keep-alive"),
            false => !wishes("close"),
        };
        let framing = self.framing(&request)?;
        let expects = request.header("expect");
        self.expects = expects.is_some_and(|what| what.eq_ignore_ascii_case("100-continue"));
        self.begun = Some((request, framing));
        Ok(true)
    }

    /// How the body's end is known.
    fn framing(&self, request: &Request) -> Result<Framing, BadRequest> {
        let values = |name: &'static str| {
            let own = request.headers.iter().filter(move |(own, _)| own == name);
            own.map(|(_, value)| &value[..])
        };
        let lengths: Vec<&str> = values("content-length").collect();
        let coding: Vec<&str> = values("transfer-encoding").collect();
        match (&lengths[..], &coding[..]) {
            ([], []) => Ok(Framing::Length(0)),
            ([length, others @ ..], []) if others.iter().all(|other| other == length) => {
                let digits = length.bytes().all(|byte| byte.is_ascii_digit());
                match length.parse::<usize>() {
                    Ok(length) if digits && length <= self.most_body => Ok(Framing::Length(length)),
                    Ok(length) if digits => self.too_long(length),
                    _ if digits && !length.is_empty() => self.too_long(usize::MAX),
                    _ => bad(400, format!("Content-Length {length} is no number")),
                }
            }
            ([], [one]) if one.eq_ignore_ascii_case("chunked") && !request.is_old => {
                Ok(Framing::Chunks(None))
            }
            ([], _) => bad(501, "the only Transfer-Encoding served is chunked"),
            _ => bad(400, "the request states the length of its body twice"),
        }
    }

    fn too_long<T>(&self, length: usize) -> Result<T, BadRequest> {
        let most = self.most_body;
        bad(
            413,
            format!("the body has {length} bytes, but at most {most} are taken"),
        )
    }

    /// Reads on in the body; `true` if all of it is there.
    fn read_body(&mut self) -> Result<bool, BadRequest> {
        loop {
            let Some((request, framing)) = &mut self.begun else {
                return Ok(false);
            };
            let rest = &self.bytes[self.at..];
            match framing {
                Framing::Length(length) => {
                    let more = (*length - request.body.len()).min(rest.len());
                    request.body.extend_from_slice(&rest[..more]);
                    self.at += more;
                    return Ok(request.body.len() == *length);
                }
                Framing::Chunks(None) => {
                    // No more than what a line may have, or one that is too long would be taken
                    // if it came in one piece.
                    let line = &rest[..rest.len().min(MOST_SIZE_LINE)];
                    let parsed = httparse::parse_chunk_size(line);
                    let Ok(parsed) = parsed else {
                        return bad(400, "a chunk of the body has no valid size");
                    };
                    let Status::Complete((line, size)) = parsed else {
                        return match rest.len() >= MOST_SIZE_LINE {
                            true => bad(400, "the line with a chunk's size is too long"),
                            false => Ok(false),
                        };
                    };
                    // The parser takes a line without a digit, and LF in an extension.
                    let lines = rest[..line].iter().filter(|byte| **byte == b'\n');
                    if lines.count() > 1 || !rest[0].is_ascii_hexdigit() {
                        return bad(400, "a chunk of the body has no valid size");
                    }
                    self.at += line;
                    let size = usize::try_from(size).unwrap_or(usize::MAX);
                    let whole = request.body.len().saturating_add(size);
                    if whole > self.most_body {
                        return self.too_long(whole);
                    }
                    *framing = match size {
                        0 => Framing::Trailers(0),
                        _ => Framing::Chunks(Some(size)),
                    };
                }
                Framing::Chunks(Some(0)) => match rest.get(..2) {
                    Some(b"\r\n") => {
                        self.at += 2;
                        *framing = Framing::Chunks(None);
                    }
                    Some(_) => return bad(400, "a chunk of the body does not end where it should"),
                    None => return Ok(false),
                },
                Framing::Chunks(Some(left)) => {
                    let more = (*left).min(rest.len());
                    if more == 0 {
                        return Ok(false);
                    }
                    request.body.extend_from_slice(&rest[..more]);
                    self.at += more;
                    *left -= more;
                }
                Framing::Trailers(len) => {
                    let end = find(rest, b"\r\n").map(|at| at + 2);
                    // All lines together, or a client could go on for ever.
                    if *len + end.unwrap_or(rest.len()) > MOST_HEAD {
                        return bad(431, "the body's trailers are too long");
                    }
                    let Some(end) = end else {
                        return Ok(false);
                    };
                    if rest[..end - 2].contains(&b'\n') {
                        return bad(400, "a trailer does not end with CR and LF");
                    }
                    *len += end;
                    self.at += end;
                    if end == 2 {
                        return Ok(true);
                    }
                }
            }
        }
    }
}

/// Place of `part` in `bytes`.
fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// Path and query of a request's target, which may be a whole URL.
fn target(target: &str) -> (String, Vec<(String, String)>) {
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (
            decode(&name.replace('+', " ")),
            decode(&value.replace('+', " ")),
        )
    });
    (decode(path), pairs.collect())
}

/// Undoes percent-encoding.
fn decode(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((16 * high + low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Head that a client who expects it is sent before its body.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Name of a status.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

/// A response.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Response {
    /// Status.
    pub status: u16,
    /// Headers besides those of length and connection.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A response with a body of this type.
    pub fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Response {
        Response {
            status,
            headers: alloc::vec![("Content-Type", kind.to_string())],
            body: body.into(),
        }
    }

    /// Adds a header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Response {
        self.headers.push((name, value.into()));
        self
    }

    /// Bytes of a whole response; a response to HEAD has no body.
    pub fn write(&self, is_head: bool, keeps_alive: bool, out: &mut Vec<u8>) {
        self.write_head(keeps_alive, out);
        if self.status != 204 {
            out.extend(format!("Content-Length: {}\r\n", self.body.len()).bytes());
        }
        out.extend(b"\r\n");
        if !is_head {
            out.extend(&self.body);
        }
    }

    /// Bytes of the head of a response whose body follows piece by piece, in chunks unless the
    /// client is too old for them.
    pub fn write_stream_head(&self, is_old: bool, keeps_alive: bool, out: &mut Vec<u8>) {
        self.write_head(keeps_alive && !is_old, out);
        if !is_old {
            out.extend(b"Transfer-Encoding: chunked\r\n");
        }
        out.extend(b"\r\n");
    }

    fn write_head(&self, keeps_alive: bool, out: &mut Vec<u8>) {
        let status = self.status;
        out.extend(format!("HTTP/1.1 {status} {}\r\n", reason(status)).bytes());
        out.extend(b"Server: llama2\r\n");
        for (name, value) in &self.headers {
            out.extend(format!("{name}: {value}\r\n").bytes());
        }
        out.extend(match keeps_alive {
            true => &b"Connection: keep-alive\r\n"[..],
            false => b"Connection: close\r\n",
        });
    }
}

/// Writes a chunk of a body; an empty one ends it.
pub(crate) fn write_chunk(bytes: &[u8], is_old: bool, out: &mut Vec<u8>) {
    if is_old {
        out.extend(bytes);
        return;
    }
    out.extend(format!("{:x}\r\n", bytes.len()).bytes());
    out.extend(bytes);
    out.extend(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `bytes` in pieces of every size; the same each time.
    fn read(bytes: &[u8]) -> Result<Vec<Request>, BadRequest> {
        let mut first = None;
        for size in 1..=bytes.len().max(1) {
            let result = read_in(bytes, size);
            assert_eq!(first.get_or_insert(result.clone()), &result, "{size}");
        }
        first.unwrap()
    }

    fn read_in(bytes: &[u8], size: usize) -> Result<Vec<Request>, BadRequest> {
        let mut reader = Reader::new(64);
        let mut requests = Vec::new();
        for piece in bytes.chunks(size) {
            reader.push(piece);
            loop {
                match reader.next()? {
                    Parsed::Whole(request) => requests.push(request),
                    Parsed::Expects => (),
                    _ => break,
                }
            }
        }
        Ok(requests)
    }

    #[test]
    fn requests_are_the_same_however_they_come() {
        let all = read(
            b"GET /a%20b?x=1&y=%C3%A9+z HTTP/1.1\r\nHost: h\r\nX-Y: Z \r\n\r\n\
              \r\nPOST http://h/v1 HTTP/1.1\r\nhost: h\r\nContent-Length: 3\r\n\r\nabc\
              POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\
              Connection: close\r\n\r\n\
              2;q=1\r\nab\r\n1\r\nc\r\n0\r\nTrailer: t\r\n\r\n\
              GET / HTTP/1.0\r\n\r\n",
        )
        .unwrap();
        assert_eq!(all.len(), 4);
        assert_eq!(
            (&all[0].path[..], all[0].query("y")),
            ("/a b", Some("\u{e9} z"))
        );
        assert_eq!(all[0].header("x-y"), Some("Z"));
        assert_eq!((&all[1].path[..], &all[1].body[..]), ("/v1", &b"abc"[..]));
        assert_eq!((&all[2].body[..], all[2].keeps_alive), (&b"abc"[..], false));
        assert!(all[1].keeps_alive && all[3].is_old && !all[3].keeps_alive);
    }

    #[test]
    fn what_is_no_request_has_a_status() {
        for (bytes, status) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], 400),
            (b"nonsense\r\n\r\n", 400),
            (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
            (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 65\r\n\r\n", 413),
            (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
            (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
            (
                b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                400,
            ),
            (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
            (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n", 413),
            (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;\n\r\na", 400),
            (
                b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: b\n\r\n",
                400,
            ),
            (b"POST / HTTP/1.1\r\nHost: h\r\n\nContent-Length: 4\r\n\r\nGET ", 400),
            (b"GET / HTTP/1.1\nHost: h\r\n\r\n", 400),
            (b"GET / HTTP/1.1\nHost: h\n\n", 400),
            (b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400),
            (b"GET / HTTP/1.0\r\nHost: h\r\nHost: i\r\n\r\n", 400),
        ] {
            let error = read(bytes).unwrap_err();
            assert_eq!(error.status, status, "{}: {error:?}", String::from_utf8_lossy(bytes));
        }
        let mut reader = Reader::new(64);
        reader.push(b"GET / HTTP/1.1\r\nA: ");
        reader.push(&[b'a'; MOST_HEAD]);
        assert_eq!(reader.next().unwrap_err().status, 431);
        let mut reader = Reader::new(64);
        reader.push(b"GET / HTTP/1.1\r\nHost: h\r\n");
        for _ in 0..MOST_HEADERS {
            reader.push(b"A: b\r\n");
        }
        reader.push(b"\r\n");
        assert_eq!(reader.next().unwrap_err().status, 431);
    }

    #[test]
    fn lines_without_end_are_refused() {
        let chunked = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
        for (start, line) in [(&b""[..], &b"\r\n"[..]), (chunked, b"a: b\r\n")] {
            let mut reader = Reader::new(64);
            reader.push(start);
            let error = (0..=MOST_HEAD / line.len()).find_map(|_| {
                reader.push(line);
                reader.next().err()
            });
            assert_eq!(error.map(|error| error.status), Some(431));
        }
    }

    #[test]
    fn lines_that_are_too_long_are_so_in_any_pieces() {
        let start = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        let with = |line: usize| {
            let extension = "a".repeat(line - "1;\r\n".len());
            read(format!("{start}1;{extension}\r\nb\r\n0\r\n\r\n").as_bytes())
        };
        assert_eq!(with(MOST_SIZE_LINE).unwrap()[0].body, b"b");
        let error = with(MOST_SIZE_LINE + 1).unwrap_err();
        assert_eq!(
            (error.status, error.sentence.contains("too long")),
            (400, true)
        );
        // Which of two faults is told does not depend on it, either.
        for (place, status) in [(20, 400), (MOST_HEAD + 20, 431)] {
            let mut head = b"GET / HTTP/1.1\r\nA: ".to_vec();
            head.resize(MOST_HEAD + 40, b'a');
            head[place] = b'\n';
            for size in [1, 1000, head.len()] {
                assert_eq!(read_in(&head, size).unwrap_err().status, status, "{size}");
            }
        }
    }

    #[test]
    fn a_body_of_small_chunks_is_read_in_a_time_that_its_length_tells() {
        // With a move of all that waits for each chunk: minutes.
        const CHUNKS: usize = 1 << 18;
        let mut reader = Reader::new(CHUNKS);
        reader.push(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        reader.push(&b"1\r\na\r\n".repeat(CHUNKS));
        reader.push(b"0\r\n\r\n");
        match reader.next() {
            Ok(Parsed::Whole(request)) => assert_eq!(request.body.len(), CHUNKS),
            other => panic!("{other:?}"),
        }
        assert_eq!(reader.waiting(), 0);
    }

    #[test]
    fn a_client_that_waits_is_told_once_to_go_on() {
        let mut reader = Reader::new(64);
        reader.push(
            b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
        );
        assert_eq!(reader.next(), Ok(Parsed::Expects));
        assert_eq!(reader.next(), Ok(Parsed::Part));
        reader.push(b"a");
        assert!(matches!(reader.next(), Ok(Parsed::Whole(_))));
        assert_eq!(reader.next(), Ok(Parsed::Nothing));
    }
}
