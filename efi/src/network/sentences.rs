//! Sentences about the network's state.

use alloc::{format, string::String};
use core::fmt;

use llama2_engine::units::short;

use super::{CardFault, NetworkState, NoCard, download::DownloadError};

/// Most characters of an address in a sentence.
const URL: usize = 100;

/// Sentence about the state of a server on this port.
pub fn sentence(state: NetworkState, port: u16) -> String {
    match (state, trouble(state)) {
        (NetworkState::Address(address), _) => format!("Serving on http://{address}:{port}"),
        (NetworkState::NoLink | NetworkState::Waiting, why) => format!("Not serving yet: {why}"),
        (_, why) => format!("Not serving: {why}"),
    }
}

/// Reason for having no address.
fn trouble(state: NetworkState) -> &'static str {
    match state {
        NetworkState::Address(_) => "there is no memory for a connection",
        NetworkState::NoCard(NoCard::Missing) => {
            "the firmware reports no network card; enable the network in its setup (often called \
             \"network stack\" or \"PXE\"), or plug in another card"
        }
        NetworkState::NoCard(NoCard::Unknown) => {
            "no network card has the address of the setting nic; remove it to use any"
        }
        NetworkState::NoCard(NoCard::Refused) => "the firmware does not start its network card",
        NetworkState::NoLink => "no cable is in the network card, or nothing at its other end",
        NetworkState::Waiting => {
            "no DHCP server has given the machine an address; it goes on asking, or set address"
        }
        NetworkState::Lost => {
            "the DHCP server has not renewed the machine's address; it goes on asking"
        }
    }
}

impl fmt::Display for DownloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DownloadError::NoAddress(state) => f.write_str(trouble(*state)),
            DownloadError::Stopped => f.write_str("stopped by a key"),
            DownloadError::Lost => {
                f.write_str("the server takes no connection, or has ended it too early")
            }
            DownloadError::Silence(milliseconds) => {
                write!(
                    f,
                    "the server has sent nothing for {} s",
                    milliseconds / 1000
                )
            }
            DownloadError::Status(status @ (404 | 410)) => {
                write!(f, "the server has no such file (status {status})")
            }
            DownloadError::Status(status) => write!(f, "the server refuses (status {status})"),
            DownloadError::Redirect(to) => {
                let to = short(to, URL);
                write!(
                    f,
                    "the server sends on to {to:?}, where there is no way to go: \
                           only http:// and an IPv4 address"
                )
            }
            DownloadError::NoLength => {
                f.write_str("the server does not say how long the file is (no Content-Length)")
            }
            DownloadError::Malformed => f.write_str("the server does not answer in HTTP/1.1"),
            DownloadError::Changed(before, now) => {
                write!(f, "the server's file had {before} bytes, and now has {now}")
            }
        }
    }
}

/// Sentence about a card that is shared because of its fault.
pub fn shared(fault: CardFault) -> &'static str {
    match fault {
        CardFault::Deaf => {
            "The network card's driver receives nothing for one user alone: it is shared with the \
             firmware's own network, which is slower"
        }
        CardFault::KeepsBuffers => {
            "The network card's driver never tells that a frame is sent: it is shared with the \
             firmware's own network, which is slower"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_a_sentence_of_one_line() {
        let address = NetworkState::Address([10, 0, 2, 15].into());
        assert_eq!(sentence(address, 8080), "Serving on http://10.0.2.15:8080");
        for state in [
            NetworkState::NoCard(NoCard::Missing),
            NetworkState::NoCard(NoCard::Unknown),
            NetworkState::NoCard(NoCard::Refused),
            NetworkState::NoLink,
            NetworkState::Waiting,
            NetworkState::Lost,
        ] {
            let said = sentence(state, 1);
            assert!(said.starts_with("Not serving"), "{said}");
            assert!(
                !said.contains(['\n', '\t']) && !said.contains("  "),
                "{said}"
            );
        }
    }
}
