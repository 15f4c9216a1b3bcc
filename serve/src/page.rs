//! The page to chat from a browser, and the files that it consists of.

use crate::http::{Request, Response};

/// A file of the page.
struct File {
    path: &'static str,
    kind: &'static str,
    body: &'static [u8],
}

static FILES: [File; 9] = [
    file(
        "/",
        "text/html; charset=utf-8",
        include_bytes!("page/index.html"),
    ),
    file(
        "/page.css",
        "text/css; charset=utf-8",
        include_bytes!("page/style.css"),
    ),
    file(
        "/page.js",
        "text/javascript; charset=utf-8",
        include_bytes!("page/page.js"),
    ),
    file(
        "/icon.svg",
        "image/svg+xml",
        include_bytes!("page/icon.svg"),
    ),
    file(
        "/favicon.ico",
        "image/svg+xml",
        include_bytes!("page/icon.svg"),
    ),
    file(
        "/sw.js",
        "text/javascript; charset=utf-8",
        include_bytes!("page/sw.js"),
    ),
    file(
        "/manifest.webmanifest",
        "application/manifest+json",
        include_bytes!("page/manifest.webmanifest"),
    ),
    // Where llama-server's page keeps its version: programs ask for it to see whether there is one.
    file("/_app/version.json", "application/json", VERSION.as_bytes()),
    file(
        "/index.html",
        "text/html; charset=utf-8",
        include_bytes!("page/index.html"),
    ),
];

const VERSION: &str = concat!("{\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}");

const fn file(path: &'static str, kind: &'static str, body: &'static [u8]) -> File {
    File { path, kind, body }
}

/// Policy of the page: it may load its own files, and ask the server that it came from.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    img-src 'self' data:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// The file of the page that a request asks for.
pub(crate) fn answer(request: &Request) -> Option<Response> {
    if !matches!(&request.method[..], "GET" | "HEAD") {
        return None;
    }
    let file = FILES.iter().find(|file| file.path == request.path)?;
    let response = Response::new(200, file.kind, file.body)
        .with("Cache-Control", "no-cache")
        .with("Content-Security-Policy", POLICY)
        .with("X-Content-Type-Options", "nosniff")
        .with("Referrer-Policy", "no-referrer");
    Some(response)
}
