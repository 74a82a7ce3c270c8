//! A map from a few names to numbers, asked with names that stand inside of a record.
//!
//! For the members that `trie` knows and the literals that `flags` knows. Invariants: of equal names the first one
//! counts; asking costs one look into a table, and one comparison more where a name is longer than eight bytes.

/// Bytes of a name that fit into a word.
const HEAD: usize = 8;

/// A name to ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    /// The first bytes, zeros where there is none.
    head: u64,
    /// The whole name.
    pub text: &'a [u8],
}

impl<'a> Name<'a> {
    /// The name that is `bytes[start..end]`; nothing if that is not inside.
    #[inline(always)] // measured: with the record at hand a short name needs no copy
    pub fn within(bytes: &'a [u8], start: usize, end: usize) -> Option<Self> {
        let text = bytes.get(start..end)?;
        let head = match bytes.get(start..).and_then(<[u8]>::first_chunk::<HEAD>) {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => padded(text),
        };
        let beyond = if text.len() < HEAD { u64::MAX << (text.len() * 8) } else { 0 };
        Some(Self { head: head & !beyond, text })
    }
}

impl<'a> From<&'a [u8]> for Name<'a> {
    fn from(text: &'a [u8]) -> Self {
        Self { head: padded(text), text }
    }
}

/// The first bytes of a text, or all of them and zeros.
fn padded(text: &[u8]) -> u64 {
    let mut head = [0; HEAD];
    let length = text.len().min(HEAD);
    head[..length].copy_from_slice(&text[..length]);
    u64::from_le_bytes(head)
}

/// Names and the number of each.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<(Box<[u8]>, u32)>,
    /// A power of two, at most a quarter used, so that nearly every look is the only one.
    table: Vec<Place>,
    ignore_case: bool,
}

/// A place of the table.
#[derive(Debug, Clone, Copy)]
struct Place {
    head: u64,
    length: usize,
    /// Where in `names`, or [`FREE`].
    index: usize,
}

const FREE: usize = usize::MAX;

impl Names {
    /// No name yet; `ignore_case` for ASCII letters.
    pub fn new(ignore_case: bool) -> Self {
        Self { ignore_case, ..Self::default() }
    }

    /// Adds a name, if it is not there.
    pub fn add(&mut self, name: &[u8], number: u32) {
        if self.get(name.into()).is_some() {
            return;
        }
        self.names.push((name.into(), number));
        let size = (self.names.len() * 4).next_power_of_two();
        self.table = vec![Place { head: 0, length: 0, index: FREE }; size];
        for (index, (name, _)) in self.names.iter().enumerate() {
            let head = self.fold(padded(name));
            let mut at = self.first(head, name.len());
            while self.table[at].index != FREE {
                at = (at + 1) % size;
            }
            self.table[at] = Place { head, length: name.len(), index };
        }
    }

    /// A name's number.
    #[inline(always)]
    pub fn get(&self, name: Name<'_>) -> Option<u32> {
        let head = self.fold(name.head);
        let mut at = self.first(head, name.text.len());
        loop {
            let place = self.table.get(at)?;
            if place.head == head && place.length == name.text.len() {
                let (known, number) = self.names.get(place.index)?;
                if name.text.len() <= HEAD || self.same(known, name.text) {
                    return Some(*number);
                }
            } else if place.index == FREE {
                return None;
            }
            at = (at + 1) & (self.table.len() - 1);
        }
    }

    /// The name that has this number.
    pub fn name(&self, number: u32) -> Option<&[u8]> {
        self.names.iter().find(|(_, known)| *known == number).map(|(name, _)| &**name)
    }

    fn same(&self, known: &[u8], text: &[u8]) -> bool {
        if self.ignore_case { known.eq_ignore_ascii_case(text) } else { known == text }
    }

    /// Where to look first.
    #[inline(always)]
    fn first(&self, head: u64, length: usize) -> usize {
        let mixed = (head ^ length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize & self.table.len().wrapping_sub(1)
    }

    /// The head in lower case, where case is ignored.
    #[inline(always)]
    fn fold(&self, head: u64) -> u64 {
        if self.ignore_case { u64::from_le_bytes(head.to_le_bytes().map(|b| b.to_ascii_lowercase())) } else { head }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_of_equal_names_counts() {
        let mut names = Names::new(true);
        assert_eq!(names.get(b"a"[..].into()), None);
        for (number, name) in ["", "GET", "get", "a longer name", "A Longer Name", "eightlet", "é"].iter().enumerate()
        {
            names.add(name.as_bytes(), number as u32);
        }
        for (text, expected) in [
            ("", Some(0)),
            ("GeT", Some(1)),
            ("GETS", None),
            ("a LONGER name", Some(3)),
            ("a LONGER nume", None),
            ("EIGHTlet", Some(5)),
            ("eightlets", None),
            ("\0", None),
            ("é", Some(6)),
            ("É", None),
        ] {
            assert_eq!(names.get(text.as_bytes().into()), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_found_wherever_it_stands(
            known in prop::collection::vec("[ab\0]{0,10}", 0..30),
            asked in "[ab\0]{0,10}",
            around in ("[a\0]{0,3}", "[a\0]{0,12}"),
        ) {
            let mut names = Names::new(false);
            for (number, name) in known.iter().enumerate() {
                names.add(name.as_bytes(), number as u32);
            }
            for name in known.iter().chain([&asked]) {
                let expected = known.iter().position(|k| k == name).map(|n| n as u32);
                let text = format!("{}{name}{}", around.0, around.1);
                let start = around.0.len();
                let found = Name::within(text.as_bytes(), start, start + name.len()).unwrap();
                prop_assert_eq!(names.get(found), expected);
                prop_assert_eq!(names.get(name.as_bytes().into()), expected);
            }
        }
    }
}
