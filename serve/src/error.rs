//! Answers to requests that cannot be served.

use alloc::{format, string::String, vec::Vec};

use serde_json::{Map, Value, json};

/// Kind of an error: OpenAI's and llama-server's words, each with a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The request is wrong.
    InvalidRequest,
    /// No key, or not the right one.
    Authentication,
    /// A page of another site, which may not.
    Forbidden,
    /// No such address.
    NotFound,
    /// The address has no such method.
    Method,
    /// The server failed.
    Server,
    /// The server has not what is asked for.
    NotSupported,
    /// The server cannot now.
    Unavailable,
    /// The prompt has more tokens than the context has places.
    ContextSize,
    /// The request is none that HTTP allows, or that is taken: a status of HTTP's own.
    Http(u16),
}

impl Kind {
    /// Status of the response.
    pub fn status(self) -> u16 {
        match self {
            Kind::InvalidRequest | Kind::ContextSize => 400,
            Kind::Http(status) => status,
            Kind::Authentication => 401,
            Kind::Forbidden => 403,
            Kind::NotFound => 404,
            Kind::Method => 405,
            Kind::Server => 500,
            Kind::NotSupported => 501,
            Kind::Unavailable => 503,
        }
    }

    /// Word in llama-server's and OpenAI's shape.
    pub fn name(self) -> &'static str {
        match self {
            Kind::InvalidRequest | Kind::Method | Kind::Http(_) => "invalid_request_error",
            Kind::Authentication => "authentication_error",
            Kind::Forbidden => "permission_error",
            Kind::NotFound => "not_found_error",
            Kind::Server => "server_error",
            Kind::NotSupported => "not_supported_error",
            Kind::Unavailable => "unavailable_error",
            Kind::ContextSize => "exceed_context_size_error",
        }
    }
}

/// An error that is answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ApiError {
    /// Its kind.
    pub kind: Kind,
    /// A sentence.
    pub message: String,
    /// Further numbers.
    pub details: Vec<(&'static str, usize)>,
}

impl ApiError {
    /// An error of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> ApiError {
        ApiError {
            kind,
            message: message.into(),
            details: Vec::new(),
        }
    }

    /// A request that is wrong.
    pub fn invalid(message: impl Into<String>) -> ApiError {
        ApiError::new(Kind::InvalidRequest, message)
    }

    /// Something that the server has not.
    pub fn unsupported(message: impl Into<String>) -> ApiError {
        ApiError::new(Kind::NotSupported, message)
    }

    /// A prompt of at least `tokens` tokens, for a context of `seq_len`.
    pub fn too_long(tokens: usize, seq_len: usize) -> ApiError {
        let sentence = format!(
            "the request has {tokens} tokens, which exceeds the available context size \
             ({seq_len} tokens): shorten it, or start the server with a longer context"
        );
        ApiError {
            kind: Kind::ContextSize,
            message: sentence,
            details: alloc::vec![("n_prompt_tokens", tokens), ("n_ctx", seq_len)],
        }
    }

    /// Object under `error` in OpenAI's shape.
    pub fn object(&self) -> Value {
        let mut object = Map::new();
        object.insert("code".into(), self.kind.status().into());
        object.insert("message".into(), self.message.clone().into());
        object.insert("type".into(), self.kind.name().into());
        for (name, number) in &self.details {
            object.insert((*name).into(), (*number).into());
        }
        Value::Object(object)
    }

    /// OpenAI's shape.
    pub fn openai(&self) -> Value {
        json!({ "error": self.object() })
    }
}
