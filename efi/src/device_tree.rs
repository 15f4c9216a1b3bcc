//! Device tree, by which firmware without ACPI describes a machine: its cores, and the way to
//! switch them on (Devicetree Specification 0.4, chapters 3.7 and 5; Linux'
//! Documentation/devicetree/bindings/arm, cpus.yaml and psci.yaml).

use alloc::vec::Vec;

use crate::cores::{Conduit, SwitchableCores};

/// First four bytes of a tree.
const MAGIC: u32 = 0xd00d_feed;

/// More than the bytes of a property's name that matters here.
const LONGEST_NAME: usize = 16;

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*four))
}

/// Size in bytes of the tree that begins with this header; `None` if it is none.
pub fn size(header: &[u8; 40]) -> Option<usize> {
    let is_tree = number(header, 0) == Some(MAGIC);
    number(header, 4)
        .filter(|_| is_tree)
        .map(|size| size as usize)
}

/// Text up to a zero byte.
fn text(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    core::str::from_utf8(&bytes[..end]).ok()
}

/// Properties of one node that matter here.
#[derive(Default)]
struct Node<'t> {
    kind: &'t [u8],
    compatible: &'t [u8],
    method: &'t [u8],
    enable_method: &'t [u8],
    status: &'t [u8],
    reg: &'t [u8],
}

impl Node<'_> {
    /// Way of switching cores on, if this node describes it in a version with fixed numbers.
    fn conduit(&self) -> Option<Conduit> {
        let mut names = self.compatible.split(|&byte| byte == 0);
        let is_known = names.any(|name| matches!(name, b"arm,psci-0.2" | b"arm,psci-1.0"));
        match text(self.method)? {
            "hvc" if is_known => Some(Conduit::Hvc),
            "smc" if is_known => Some(Conduit::Smc),
            _ => None,
        }
    }

    /// Affinity, if this node is a core that is there and is switched on by PSCI.
    fn core(&self) -> Option<u64> {
        let works = matches!(self.status, b"" | b"okay\0" | b"ok\0");
        let is_core = self.kind == b"cpu\0" && self.enable_method == b"psci\0" && works;
        match self.reg.len() {
            4 if is_core => number(self.reg, 0).map(u64::from),
            8 if is_core => {
                Some(u64::from(number(self.reg, 0)?) << 32 | u64::from(number(self.reg, 4)?))
            }
            _ => None,
        }
    }
}

/// Cores and the way to switch them on; `None` if the tree does not say, or is damaged.
pub fn cores(tree: &[u8]) -> Option<SwitchableCores> {
    const BEGIN: u32 = 1;
    const END: u32 = 2;
    const PROPERTY: u32 = 3;
    const NOP: u32 = 4;
    const LAST: u32 = 9;
    let structure = tree.get(number(tree, 8)? as usize..)?;
    let names = tree.get(number(tree, 12)? as usize..)?;
    let (mut conduit, mut ids) = (None, Vec::new());
    let mut open: Vec<Node<'_>> = Vec::new();
    let mut at = 0;
    loop {
        let token = number(structure, at)?;
        at += 4;
        match token {
            BEGIN => {
                at += (text(structure.get(at..)?)?.len() + 1).next_multiple_of(4);
                open.push(Node::default());
            }
            END => {
                let node = open.pop()?;
                conduit = conduit.or_else(|| node.conduit());
                ids.extend(node.core());
            }
            PROPERTY => {
                let len = number(structure, at)? as usize;
                let name = names.get(number(structure, at + 4)? as usize..)?;
                // A longer one is none of these, wherever it ends.
                let name = text(&name[..name.len().min(LONGEST_NAME)]).unwrap_or_default();
                let value = structure.get(at + 8..)?.get(..len)?;
                at += 8 + len.next_multiple_of(4);
                let node = open.last_mut()?;
                match name {
                    "device_type" => node.kind = value,
                    "compatible" => node.compatible = value,
                    "method" => node.method = value,
                    "enable-method" => node.enable_method = value,
                    "status" => node.status = value,
                    "reg" => node.reg = value,
                    _ => (),
                }
            }
            NOP => (),
            LAST => break,
            _ => return None,
        }
    }
    conduit.map(|conduit| SwitchableCores { conduit, ids })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Maker of trees.
    #[derive(Default)]
    struct Tree {
        structure: Vec<u8>,
        names: Vec<u8>,
    }

    impl Tree {
        fn word(&mut self, word: u32) {
            self.structure.extend(word.to_be_bytes());
        }

        fn pad(&mut self, bytes: &[u8]) {
            self.structure.extend(bytes);
            let len = self.structure.len().next_multiple_of(4);
            self.structure.resize(len, 0);
        }

        fn node(&mut self, name: &str, properties: &[(&str, &[u8])]) {
            self.word(1);
            self.pad(format!("{name}\0").as_bytes());
            for (name, value) in properties {
                self.word(3);
                self.word(value.len() as u32);
                self.word(self.names.len() as u32);
                self.names.extend(format!("{name}\0").as_bytes());
                self.pad(value);
            }
        }

        fn end(&mut self) {
            self.word(2);
        }

        fn bytes(&self) -> Vec<u8> {
            let (first, second) = (40, 40 + self.structure.len() + 4);
            let total = second + self.names.len();
            let mut bytes = Vec::new();
            for word in [
                MAGIC,
                total as u32,
                first,
                second as u32,
                0,
                17,
                16,
                0,
                0,
                0,
            ] {
                bytes.extend(word.to_be_bytes());
            }
            bytes.extend(&self.structure);
            bytes.extend(9u32.to_be_bytes());
            bytes.extend(&self.names);
            bytes
        }
    }

    fn machine(psci: &[u8], method: &[u8]) -> Vec<u8> {
        let mut tree = Tree::default();
        tree.node("", &[("compatible", b"linux,dummy-virt\0")]);
        tree.node("psci", &[("compatible", psci), ("method", method)]);
        tree.end();
        tree.word(4);
        tree.node("cpus", &[("#address-cells", &[0, 0, 0, 1])]);
        let core = |tree: &mut Tree, id: &[u8], method: &[u8], status: &[u8]| {
            let properties: [(&str, &[u8]); 4] = [
                ("device_type", b"cpu\0"),
                ("reg", id),
                ("enable-method", method),
                ("status", status),
            ];
            tree.node("cpu", &properties);
            tree.node("l2-cache", &[("compatible", b"cache\0")]);
            tree.end();
            tree.end();
        };
        core(&mut tree, &[0, 0, 1, 0], b"psci\0", b"okay\0");
        core(&mut tree, &[0, 0, 0, 1, 0, 0, 2, 0], b"psci\0", b"");
        core(&mut tree, &[0, 0, 0, 2], b"psci\0", b"disabled\0");
        core(&mut tree, &[0, 0, 0, 3], b"spin-table\0", b"okay\0");
        tree.end();
        tree.end();
        tree.bytes()
    }

    #[test]
    fn a_tree_has_the_cores_and_how_to_switch_them_on() {
        let tree = machine(b"arm,psci-1.0\0arm,psci-0.2\0arm,psci\0", b"hvc\0");
        assert_eq!(size(tree.first_chunk().unwrap()), Some(tree.len()));
        let found = SwitchableCores {
            conduit: Conduit::Hvc,
            ids: vec![0x100, 0x1_0000_0200],
        };
        assert_eq!(cores(&tree), Some(found));
        let secure = cores(&machine(b"arm,psci-0.2\0", b"smc\0"));
        assert_eq!(secure.map(|found| found.conduit), Some(Conduit::Smc));
        // Its first version has other numbers on each machine.
        assert_eq!(cores(&machine(b"arm,psci\0", b"smc\0")), None);
        assert_eq!(cores(&machine(b"arm,psci-1.0\0", b"none\0")), None);
    }

    #[test]
    fn damaged_trees_are_none() {
        let tree = machine(b"arm,psci-1.0\0", b"smc\0");
        for len in 0..tree.len() - 100 {
            assert_eq!(cores(&tree[..len]), None);
        }
        for at in 0..tree.len() {
            for value in [0, 0xff] {
                let mut damaged = tree.clone();
                damaged[at] = value;
                let _ = cores(&damaged);
            }
        }
        assert_eq!(size(&[0; 40]), None);
    }
}
