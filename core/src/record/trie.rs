//! The configured members as a tree of names, so that one pass over a record finds them all.
//!
//! Compiled once from the pipeline, read by `scan`. Invariant: the fields are numbered in the order of the
//! tree, so that the fields at and below a node are one range; replacing a duplicate member forgets a range.

use super::names::{Name, Names};
use crate::field::FieldPath;
use std::ops::Range;

/// A node's index; [`ROOT`] is the record itself.
pub(super) type NodeId = u32;

/// The record itself.
pub(super) const ROOT: NodeId = 0;

/// A member that nothing is configured for, nor for anything inside it.
pub(super) const UNKNOWN: NodeId = u32::MAX;

/// The configured members.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// In the order of their numbers.
    fields: Vec<FieldPath>,
}

/// One configured member, or an object on the way to one.
#[derive(Debug, Default)]
struct Node {
    /// The members inside this one, each with its node.
    children: Names,
    /// The field whose value this member is.
    field: Option<usize>,
    /// The fields at or below this member.
    fields: Range<usize>,
    /// A member that a record must not have, as it is about to be added.
    reserved: bool,
}

impl Trie {
    /// The tree of `fields` (in any order, repeated or not) and of the top-level names in `reserved`.
    pub fn new<'a>(
        fields: impl IntoIterator<Item = &'a FieldPath>,
        reserved: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut sorted: Vec<FieldPath> = fields.into_iter().cloned().collect();
        sorted.sort();
        sorted.dedup();
        let mut trie = Self { nodes: vec![Node::default()], fields: Vec::new() };
        trie.nodes[0].fields = 0..sorted.len();
        for (number, path) in sorted.iter().enumerate() {
            let mut node = ROOT;
            for name in path.segments() {
                node = trie.child_or_new(node, name, number);
                trie.nodes[node as usize].fields.end = number + 1;
            }
            trie.nodes[node as usize].field = Some(number);
        }
        for name in reserved {
            let node = trie.child_or_new(ROOT, name, 0);
            trie.nodes[node as usize].reserved = true;
        }
        trie.fields = sorted;
        trie
    }

    /// The child of this name, added when there is none: empty, its fields to begin at `field`.
    fn child_or_new(&mut self, node: NodeId, name: &str, field: usize) -> NodeId {
        let known = self.child(node, name.as_bytes().into());
        if known != UNKNOWN {
            return known;
        }
        let new = self.nodes.len() as NodeId;
        self.nodes.push(Node { fields: field..field, ..Node::default() });
        self.nodes[node as usize].children.add(name.as_bytes(), new);
        new
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// A configured field's number.
    pub fn number(&self, field: &FieldPath) -> Option<usize> {
        self.fields.binary_search(field).ok()
    }

    /// The member `name` of the object at `node`, or [`UNKNOWN`].
    #[inline(always)]
    pub fn child(&self, node: NodeId, name: Name<'_>) -> NodeId {
        self.nodes.get(node as usize).and_then(|node| node.children.get(name)).unwrap_or(UNKNOWN)
    }

    /// The number of the field whose value this member is.
    #[inline]
    pub fn field(&self, node: NodeId) -> Option<usize> {
        self.nodes.get(node as usize).and_then(|n| n.field)
    }

    /// The numbers of the fields at and below this member.
    #[inline]
    pub fn fields(&self, node: NodeId) -> Range<usize> {
        self.nodes.get(node as usize).map_or(0..0, |n| n.fields.clone())
    }

    /// A record must not have this member.
    #[inline]
    pub fn reserved(&self, node: NodeId) -> bool {
        self.nodes.get(node as usize).is_some_and(|n| n.reserved)
    }

    /// The name of a top-level member; empty for any other node.
    pub fn name(&self, node: NodeId) -> String {
        let name = self.nodes[ROOT as usize].children.name(node);
        name.map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(trie: &Trie, names: &[&str]) -> NodeId {
        names.iter().fold(ROOT, |node, name| trie.child(node, name.as_bytes().into()))
    }

    #[test]
    fn fields_below_a_member_are_one_range() {
        let paths: Vec<FieldPath> =
            ["b", "a.y", "c.d.e", "a", "a.x.z", "a.x", "b"].map(|p| p.parse().unwrap()).to_vec();
        let trie = Trie::new(&paths, ["flag", "b"]);
        // In order: a, a.x, a.x.z, a.y, b, c.d.e
        assert_eq!(trie.len(), 6);
        for (names, field, fields, reserved) in [
            (&["a"][..], Some(0), 0..4, false),
            (&["a", "x"], Some(1), 1..3, false),
            (&["a", "x", "z"], Some(2), 2..3, false),
            (&["a", "y"], Some(3), 3..4, false),
            (&["b"], Some(4), 4..5, true),
            (&["c"], None, 5..6, false),
            (&["c", "d"], None, 5..6, false),
            (&["c", "d", "e"], Some(5), 5..6, false),
            (&["flag"], None, 0..0, true),
            (&["x"], None, 0..0, false),
            (&["a", "flag"], None, 0..0, false),
        ] {
            let node = walk(&trie, names);
            let got = (trie.field(node), trie.fields(node), trie.reserved(node));
            assert_eq!(got, (field, fields, reserved), "{names:?}");
        }
        assert_eq!(trie.number(&"a.y".parse().unwrap()), Some(3));
        assert_eq!(trie.number(&"a.q".parse().unwrap()), None);
        assert_eq!(walk(&trie, &["a", ""]), UNKNOWN);
    }
}
