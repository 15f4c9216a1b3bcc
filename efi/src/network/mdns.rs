//! Name of the machine in its own network, `llama2.local`: answers to questions of multicast DNS
//! (RFC 6762). Nothing else of the protocol: no probing, no services.

use core::net::Ipv4Addr;

/// Address to which questions are sent.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// Address of the group's frames.
pub const GROUP_MAC: [u8; 6] = [0x01, 0x00, 0x5e, 0x00, 0x00, 0xfb];
/// Port of questions and answers.
pub const PORT: u16 = 5353;
/// Bytes of the longest answer.
pub const LONGEST: usize = 64;

/// Name in the protocol's form: each part with its length before it.
const NAME: &[u8] = b"\x06llama2\x05local\x00";
const TYPE_A: u16 = 1;
const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;
/// Bit of a question's class: the answer may come to the asking machine alone.
const UNICAST: u16 = 0x8000;
/// Bit of an answer's class: what others know of the name is obsolete.
const FLUSH: u16 = 0x8000;
/// Seconds for which an answer is valid.
const VALID: u32 = 120;

/// Question for our name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    id: u16,
    /// True if the one who asked wants an answer for himself.
    pub wants_unicast: bool,
}

/// Finds a question for our name's address in a packet.
pub fn question(packet: &[u8]) -> Option<Question> {
    let (header, mut rest) = packet.split_first_chunk::<12>()?;
    let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    // An answer, or a request for something other than a question.
    if number(2) & 0xf800 != 0 {
        return None;
    }
    for _ in 0..number(4).min(16) {
        let (name, after) = split_name(rest)?;
        let (kind, after) = after.split_first_chunk::<4>()?;
        rest = after;
        let class = u16::from_be_bytes([kind[2], kind[3]]);
        let kind = u16::from_be_bytes([kind[0], kind[1]]);
        if name.eq_ignore_ascii_case(NAME)
            && matches!(kind, TYPE_A | TYPE_ANY)
            && class & !UNICAST == CLASS_IN
        {
            return Some(Question {
                id: number(0),
                wants_unicast: class & UNICAST != 0,
            });
        }
    }
    None
}

/// Splits off a name. One that points to another place counts as a name, but is not ours.
fn split_name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    loop {
        match *bytes.get(at)? {
            0 => return bytes.split_at_checked(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. => return bytes.split_at_checked(at + 2),
            _ => return None,
        }
    }
}

/// Writes the answer with our address, and returns it. `legacy` is the question of a plain
/// resolver, one that asks from another port: it wants its number and its question back.
pub fn answer(address: Ipv4Addr, legacy: Option<Question>, out: &mut [u8; LONGEST]) -> &[u8] {
    let mut len = 0;
    let mut put = |bytes: &[u8]| {
        if let Some(place) = out.get_mut(len..len + bytes.len()) {
            place.copy_from_slice(bytes);
            len += bytes.len();
        }
    };
    let id = legacy.map_or(0, |question| question.id);
    let questions = u16::from(legacy.is_some());
    // A response, by whoever has authority.
    for number in [id, 0x8400, questions, 1, 0, 0] {
        put(&number.to_be_bytes());
    }
    if legacy.is_some() {
        put(NAME);
        put(&TYPE_A.to_be_bytes());
        put(&CLASS_IN.to_be_bytes());
    }
    put(NAME);
    put(&TYPE_A.to_be_bytes());
    let class = if legacy.is_some() {
        CLASS_IN
    } else {
        CLASS_IN | FLUSH
    };
    put(&class.to_be_bytes());
    put(&VALID.to_be_bytes());
    put(&4u16.to_be_bytes());
    put(&address.octets());
    &out[..len]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(questions: &[(&[u8], u16, u16)]) -> Vec<u8> {
        let mut packet = vec![0x12, 0x34, 0, 0, 0, questions.len() as u8, 0, 0, 0, 0, 0, 0];
        for (name, kind, class) in questions {
            packet.extend(*name);
            packet.extend(kind.to_be_bytes());
            packet.extend(class.to_be_bytes());
        }
        packet
    }

    #[test]
    fn our_name_is_found_among_others_in_any_case() {
        let other: &[u8] = b"\x07printer\x05local\x00";
        let shouted: &[u8] = b"\x06LLAMA2\x05Local\x00";
        let pointed: &[u8] = b"\x04_tcp\xc0\x0c";
        let found = question(&asked(&[
            (other, 1, 1),
            (pointed, 12, 1),
            (shouted, 1, 0x8001),
        ]));
        let want = Question {
            id: 0x1234,
            wants_unicast: true,
        };
        assert_eq!(found, Some(want));
        assert!(question(&asked(&[(NAME, 255, 1)])).is_some());
        for other in [(NAME, 28, 1), (NAME, 1, 3), (other, 1, 1)] {
            assert_eq!(question(&asked(&[other])), None);
        }
        // What is cut short or an answer asks nothing, and nothing panics.
        let whole = asked(&[(NAME, 1, 1)]);
        for cut in 0..whole.len() {
            assert_eq!(question(&whole[..cut]), None);
        }
        let mut answer = whole.clone();
        answer[2] = 0x84;
        assert_eq!(question(&answer), None);
        for length in 64..0xc0 {
            let mut packet = whole.clone();
            packet[12] = length;
            assert_eq!(question(&packet), None);
        }
    }

    #[test]
    fn answers_are_short_and_have_the_address() {
        let mut out = [0; LONGEST];
        let address = Ipv4Addr::new(192, 168, 1, 5);
        let told = answer(address, None, &mut out).to_vec();
        assert_eq!(told[..12], [0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(&told[12..12 + NAME.len()], NAME);
        let rest = [0, 1, 0x80, 1, 0, 0, 0, 120, 0, 4, 192, 168, 1, 5];
        assert_eq!(told[12 + NAME.len()..], rest);
        let asked = question(&asked(&[(NAME, 1, 1)]));
        let told = answer(address, asked, &mut out);
        assert_eq!(told[..6], [0x12, 0x34, 0x84, 0, 0, 1]);
        assert_eq!(told.len(), 12 + 2 * NAME.len() + 4 + 14);
    }
}
