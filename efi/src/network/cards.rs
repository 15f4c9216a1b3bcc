//! Several cards with a stack each, until one of them turns out to lead to the network.

use alloc::vec::Vec;

use super::{Card, NetworkState, stack::Stack};

/// Cards of a machine. Firmware cannot be trusted to know which has a cable, and a cable may lead
/// anywhere: the first card that gets an address is taken, and the others are given back.
#[derive(Debug)]
pub struct Cards<C: Card> {
    /// The one that is taken comes first.
    stacks: Vec<Stack<C>>,
    is_chosen: bool,
}

impl<C: Card> Cards<C> {
    /// Cards, the best first; `None` if there are none.
    pub fn new(stacks: Vec<Stack<C>>) -> Option<Cards<C>> {
        let is_chosen = stacks.len() == 1;
        (!stacks.is_empty()).then_some(Cards { stacks, is_chosen })
    }

    /// Does what is to be done at this time; returns true if frames came or went.
    pub fn poll(&mut self, now: u64) -> bool {
        if self.is_chosen {
            return self.stacks[0].poll(now);
        }
        let mut moved = false;
        for stack in &mut self.stacks {
            moved |= stack.poll(now);
        }
        if let Some(found) = self.stacks.iter().position(Stack::is_found) {
            self.stacks.swap(0, found);
            self.is_chosen = true;
        }
        moved
    }

    /// The stack over the card that is taken.
    pub fn chosen(&mut self) -> Option<&mut Stack<C>> {
        self.is_chosen.then(|| &mut self.stacks[0])
    }

    /// Those that are polled.
    pub fn polled(&mut self) -> &mut [Stack<C>] {
        let count = if self.is_chosen { 1 } else { self.stacks.len() };
        &mut self.stacks[..count]
    }

    /// Takes those out that are not wanted, to give them back.
    pub fn others(&mut self) -> Vec<Stack<C>> {
        let count = self.polled().len();
        self.stacks.split_off(count)
    }

    /// All of them, at the end.
    pub fn into_stacks(self) -> Vec<Stack<C>> {
        self.stacks
    }

    /// State for users: of the card that has come furthest.
    pub fn state(&self) -> NetworkState {
        let count = if self.is_chosen { 1 } else { self.stacks.len() };
        let mut states = self.stacks[..count].iter().map(Stack::state);
        let first = states.next().unwrap_or(NetworkState::NoLink);
        if first == NetworkState::NoLink {
            return states.find(|state| *state != first).unwrap_or(first);
        }
        first
    }
}
