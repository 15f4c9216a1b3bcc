//! Choice of a network card among several.

use alloc::vec::Vec;

use super::is_unicast;

/// Card as the firmware reports it before it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Address, if it is Ethernet's.
    pub mac: Option<[u8; 6]>,
    /// Returns true if a cable is in it; `None` if the firmware cannot tell.
    pub has_link: Option<bool>,
}

/// Indices of the cards to try, the best first: those with a cable, then those that may have one,
/// then the others, because firmware reports no cable before a card has been started. With
/// `wanted`, those with this address alone.
pub fn order(cards: &[Candidate], wanted: Option<[u8; 6]>) -> Vec<usize> {
    let usable = |card: &Candidate| match (card.mac, wanted) {
        (Some(mac), Some(wanted)) => mac == wanted && is_unicast(mac),
        (Some(mac), None) => is_unicast(mac),
        (None, _) => false,
    };
    let mut order: Vec<usize> = (0..cards.len()).filter(|&i| usable(&cards[i])).collect();
    // Stable: among equals, the firmware's order.
    order.sort_by_key(|&i| match cards[i].has_link {
        Some(true) => 0,
        None => 1,
        Some(false) => 2,
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_with_a_cable_goes_first_and_a_name_decides() {
        let card = |last, has_link| Candidate {
            mac: Some([0x52, 0x54, 0, 0, 0, last]),
            has_link,
        };
        let not_ethernet = Candidate {
            mac: None,
            has_link: Some(true),
        };
        let group = Candidate {
            mac: Some([0x01, 0, 0x5e, 0, 0, 1]),
            has_link: Some(true),
        };
        let nobody = Candidate {
            mac: Some([0; 6]),
            has_link: Some(true),
        };
        let cards = [
            card(0, Some(false)),
            not_ethernet,
            card(2, None),
            group,
            card(4, Some(true)),
            nobody,
            card(6, Some(true)),
        ];
        assert_eq!(order(&cards, None), [4, 6, 2, 0]);
        assert_eq!(order(&cards, Some([0x52, 0x54, 0, 0, 0, 0])), [0]);
        assert!(order(&cards, group.mac).is_empty());
        assert!(order(&cards, Some([2; 6])).is_empty());
        assert!(order(&[], None).is_empty());
    }
}
