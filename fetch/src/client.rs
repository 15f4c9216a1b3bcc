//! Requests over HTTP: redirects one by one, so that the token stays with the hub, and each way to
//! fail with its own sentence.

use std::{env, io, time::Duration};

use ureq::{
    Agent, Body,
    http::{HeaderMap, Response, Uri, header},
    tls::{RootCerts, TlsConfig},
};

use crate::{address::Address, digest::Stated, error::Error};

/// The hub, unless `HF_ENDPOINT` names a mirror.
const HUB: &str = "https://huggingface.co";
/// Longest chain of redirects.
const MOST_HOPS: usize = 10;
/// Time to connect, and to wait for an answer.
const CONNECT: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(60);
/// Longest pause between two pieces of a file.
const STALL: Duration = Duration::from_secs(60);

pub(crate) struct Client {
    agent: Agent,
    /// Address of the hub, without a slash at its end.
    pub endpoint: String,
    /// The user's token for the hub.
    pub token: Option<String>,
    /// Longest pause between two pieces of a file.
    pub stall: Duration,
}

/// Answer of the server.
pub(crate) struct Answer {
    pub body: Body,
    /// Position of the first byte.
    pub from: u64,
    /// Size of the whole file, if the server states it.
    pub size: Option<u64>,
}

impl Client {
    /// Client for the hub that the environment names.
    pub fn from_environment() -> Client {
        let value = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let endpoint = value("HF_ENDPOINT").unwrap_or_else(|| HUB.into());
        Client::new(&endpoint, value("HF_TOKEN").as_deref())
    }

    pub fn new(endpoint: &str, token: Option<&str>) -> Client {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
        let config = Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .user_agent(concat!("llama2/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build());
        Client {
            agent: config.build().into(),
            endpoint: endpoint.trim().trim_end_matches('/').into(),
            token: token.map(|token| token.trim().into()),
            stall: STALL,
        }
    }

    /// Address of a file.
    fn url(&self, address: &Address) -> String {
        match address {
            Address::Hub { repository, path } => {
                format!("{}/{repository}/resolve/main/{path}", self.endpoint)
            }
            Address::Url(url) => url.clone(),
            Address::Wheel(_) => String::new(),
        }
    }

    /// Asks the hub what a file is. Only its own answers count, not those of the hosts that it
    /// redirects to.
    pub fn state(&self, address: &Address) -> Result<Stated, Error> {
        let Address::Hub { .. } = address else {
            return Ok(Stated::default());
        };
        let mut url = self.url(address);
        for _ in 0..MOST_HOPS {
            let request = self.agent.head(&url);
            let answer = self.send(request, &url, address, None)?;
            let stated = linked(answer.headers());
            let next = redirect(&url, answer.headers());
            match (answer.status().as_u16(), next) {
                _ if stated != Stated::default() => return Ok(stated),
                // A repository that was renamed.
                (300..=399, Some(next)) if is_same_host(&url, &next) => url = next,
                (200..=399, _) => return Ok(stated),
                (status, _) => return Err(self.refused(status, answer.headers(), address)),
            }
        }
        Err(hops(address))
    }

    /// Asks for a file from a position on.
    pub fn get(&self, address: &Address, from: u64) -> Result<Answer, Error> {
        let mut url = self.url(address);
        for _ in 0..MOST_HOPS {
            let range = (from > 0).then(|| format!("bytes={from}-"));
            let answer = self.send(self.agent.get(&url), &url, address, range)?;
            let headers = answer.headers();
            let number = |name| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
            match (answer.status().as_u16(), redirect(&url, headers)) {
                (200, _) => {
                    return Ok(Answer {
                        from: 0,
                        size: number(header::CONTENT_LENGTH),
                        body: answer.into_body(),
                    });
                }
                (206, _) => {
                    let (at, size) = range_of(headers).unwrap_or((from, None));
                    return Ok(Answer {
                        from: at,
                        size,
                        body: answer.into_body(),
                    });
                }
                // Nothing is left, or the server has another opinion: all of it is asked for.
                (416, _) if from > 0 => return self.get(address, 0),
                (300..=399, Some(next)) => {
                    if url.starts_with("https:") && !next.starts_with("https:") {
                        return Err(Error::Failed(format!(
                            "{address}: the server sends on to an address that is not https"
                        )));
                    }
                    url = next;
                }
                (status, _) => return Err(self.refused(status, headers, address)),
            }
        }
        Err(hops(address))
    }

    /// Sends a request; the token goes to the hub only.
    fn send(
        &self,
        mut request: ureq::RequestBuilder<ureq::typestate::WithoutBody>,
        url: &str,
        address: &Address,
        range: Option<String>,
    ) -> Result<Response<Body>, Error> {
        request = request.header(header::ACCEPT_ENCODING, "identity");
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        if let Some(token) = &self.token
            && is_same_host(url, &self.endpoint)
        {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request.call().map_err(|error| unreachable(&error, address))
    }

    /// Describes an answer that is none. The hub says more in headers of its own.
    fn refused(&self, status: u16, headers: &HeaderMap, address: &Address) -> Error {
        let code = headers
            .get("x-error-code")
            .and_then(|code| code.to_str().ok());
        let hub = &self.endpoint;
        let what = match (status, code.unwrap_or_default(), address) {
            (_, "GatedRepo", Address::Hub { repository, .. }) => {
                let then = match self.token {
                    None => "and set HF_TOKEN to a token of yours",
                    Some(_) => "with the account that HF_TOKEN belongs to",
                };
                format!(
                    "its maker asks for consent: accept the terms at {hub}/{repository}, {then}"
                )
            }
            (_, "EntryNotFound", Address::Hub { repository, path }) => format!(
                "{repository} has no file {path}; {hub}/{repository}/tree/main shows its files"
            ),
            (401 | 403 | 404, _, Address::Hub { repository, .. }) => {
                let token = match self.token {
                    None => "or private: then set HF_TOKEN",
                    Some(_) => "or HF_TOKEN does not open it",
                };
                format!(
                    "the hub answers HTTP {status}: there is no {repository}, or no such file in \
                     it, {token}"
                )
            }
            (401 | 403, ..) => format!("the server denies access (HTTP {status})"),
            (404 | 410, ..) => "the server has no such file".into(),
            (429, ..) => "the server has had too many requests; try again later".into(),
            _ => format!("the server answers HTTP {status}; try again later"),
        };
        let sentence = format!("{address}: {what}");
        match status {
            429 | 500.. => Error::Unreachable(sentence),
            _ => Error::Failed(sentence),
        }
    }
}

fn hops(address: &Address) -> Error {
    Error::Failed(format!(
        "{address}: the server sends on and on, more than {MOST_HOPS} times"
    ))
}

/// Describes an error of the connection.
fn unreachable(error: &ureq::Error, address: &Address) -> Error {
    let text = match error {
        ureq::Error::Io(error) => error.to_string(),
        _ => error.to_string(),
    };
    let what = match error {
        ureq::Error::HostNotFound => "the host's name cannot be resolved: is there a network?",
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            "the server's certificate is not trusted by this system"
        }
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => {
            "the server's certificate is not trusted by this system"
        }
        ureq::Error::ConnectionFailed | ureq::Error::Io(_) | ureq::Error::Timeout(_) => {
            "the host does not answer: is there a network?"
        }
        _ => "the request failed",
    };
    Error::Unreachable(format!("{address}: {what} ({text})"))
}

/// Reads the hub's statement about a large file: of LFS, as its own library reads it.
fn linked(headers: &HeaderMap) -> Stated {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let sum = text("x-linked-etag").map(|tag| tag.trim_start_matches("W/").trim_matches('"'));
    Stated {
        sha256: sum.and_then(|sum| sum.parse().ok()),
        size: text("x-linked-size").and_then(|size| size.parse().ok()),
    }
}

/// First byte and size of the whole from Content-Range: bytes 10-31/32.
fn range_of(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, size.parse().ok()))
}

/// Address that an answer sends on to.
fn redirect(base: &str, headers: &HeaderMap) -> Option<String> {
    let location = headers.get(header::LOCATION)?.to_str().ok()?;
    let location = location.split('#').next()?;
    if location.starts_with("https://") || location.starts_with("http://") {
        return Some(location.into());
    }
    let (scheme, rest) = base.split_once("://")?;
    let host = rest.split(['/', '?']).next()?;
    Some(match location {
        other if other.starts_with("//") => format!("{scheme}:{other}"),
        path if path.starts_with('/') => format!("{scheme}://{host}{path}"),
        name => {
            let path = base.split('?').next()?;
            let folder = path
                .rsplit_once('/')
                .filter(|(folder, _)| folder.len() > scheme.len() + 3);
            format!("{}/{name}", folder.map_or(path, |(folder, _)| folder))
        }
    })
}

/// Returns true if two addresses have the same scheme, host and port.
fn is_same_host(one: &str, other: &str) -> bool {
    let parts = |text: &str| {
        let uri = text.parse::<Uri>().ok()?;
        let scheme = uri.scheme_str()?.to_owned();
        let port = uri
            .port_u16()
            .unwrap_or(if scheme == "https" { 443 } else { 80 });
        Some((scheme, uri.host()?.to_lowercase(), port))
    };
    parts(one).is_some_and(|one| Some(one) == parts(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_joined_and_hosts_compared() {
        let to = |base: &str, location: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, location.parse().unwrap());
            redirect(base, &headers).unwrap()
        };
        let base = "https://hub:8/a/b/c?x=/y";
        assert_eq!(to(base, "https://cdn/z?s=1#f"), "https://cdn/z?s=1");
        assert_eq!(to(base, "//cdn/z"), "https://cdn/z");
        assert_eq!(to(base, "/z"), "https://hub:8/z");
        assert_eq!(to(base, "z"), "https://hub:8/a/b/z");
        assert_eq!(to("https://hub", "z"), "https://hub/z");
        assert!(is_same_host("https://Hub/a", "https://hub:443"));
        for other in [
            "http://hub/a",
            "https://hub:444",
            "https://hub.evil/",
            "https://evil/hub",
            "",
        ] {
            assert!(!is_same_host(other, "https://hub"), "{other}");
        }
        // What is before @ is no host.
        assert!(!is_same_host("https://hub@evil/", "https://hub"));
    }

    #[test]
    fn digests_in_the_hub_s_answers() {
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for (tag, is_sum) in [
            (format!("\"{sum}\""), true),
            (format!("W/\"{sum}\""), true),
            // A small file's is git's.
            ("\"9c9c8f9c1c4d4a3a1f0b2f8f2f0e4d4f5a6b7c8d\"".into(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-linked-etag", tag.parse().unwrap());
            headers.insert("x-linked-size", "32".parse().unwrap());
            let stated = linked(&headers);
            assert_eq!(stated.sha256.is_some(), is_sum, "{tag}");
            assert_eq!(stated.size, Some(32));
        }
    }
}
