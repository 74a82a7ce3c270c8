//! The texts of a record's fields, in one buffer that is kept from record to record.

/// Texts by position; some are missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    bytes: Vec<u8>,
    /// Where each text ends, and whether there is one.
    ends: Vec<(u32, bool)>,
}

impl Texts {
    /// Forgets all texts.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Appends a text, or a missing one.
    pub fn push(&mut self, text: Option<&[u8]>) {
        self.bytes.extend_from_slice(text.unwrap_or_default());
        // A record is far below four gigabytes.
        self.ends.push((self.bytes.len() as u32, text.is_some()));
    }

    /// The text at a position, if there is one.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let (end, there) = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].0);
        there.then(|| &self.bytes[start as usize..end as usize])
    }

    /// Appends what tells these texts from any others of as many positions.
    pub(crate) fn write_to(&self, key: &mut Vec<u8>) {
        for (end, there) in &self.ends {
            key.extend_from_slice(&(end << 1 | u32::from(*there)).to_le_bytes());
        }
        key.extend_from_slice(&self.bytes);
    }

    /// How many positions there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True without a position.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_where_they_were_put() {
        let mut texts = Texts::default();
        for text in [Some("one"), None, Some(""), Some("three")] {
            texts.push(text.map(str::as_bytes));
        }
        let read: Vec<_> = (0..5).map(|i| texts.get(i)).collect();
        assert_eq!(read, [Some(&b"one"[..]), None, Some(b""), Some(b"three"), None]);
        texts.clear();
        assert!(texts.is_empty() && texts.get(0).is_none());
    }
}
