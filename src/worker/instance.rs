//! Who this process is among its siblings: the part of the transactional id that a restart should keep.
//!
//! From the configuration; else a numbered slot of the data directory, held by a file lock for as long as the process
//! lives; else random. With the same name, a restarted process fences its predecessor's open transaction at once
//! instead of waiting for its timeout.

use std::fs::{File, OpenOptions};
use std::path::Path;

/// Slots that are tried.
const SLOTS: u32 = 64;

/// This process's name; keeps its slot locked while it lives.
pub struct Instance {
    name: String,
    _lock: Option<File>,
}

impl Instance {
    /// The configured name, or a free slot of the data directory, or a random name.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn claim(configured: &str, data_dir: &Path) -> anyhow::Result<Self> {
        if !configured.is_empty() {
            return Ok(Self { name: configured.to_owned(), _lock: None });
        }
        if let Some((slot, lock)) = free_slot(data_dir) {
            // Another machine has slots of the same numbers: the directory's own identity tells them apart.
            if let Some(identity) = identity(data_dir) {
                return Ok(Self { name: format!("{identity}-{slot}"), _lock: Some(lock) });
            }
        }
        Ok(Self { name: random_name(), _lock: None })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn free_slot(data_dir: &Path) -> Option<(u32, File)> {
    std::fs::create_dir_all(data_dir).ok()?;
    (0..SLOTS).find_map(|slot| {
        let path = data_dir.join(format!("slot-{slot}.lock"));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).ok()?;
        file.try_lock().ok().map(|()| (slot, file))
    })
}

/// A random name that the data directory keeps.
fn identity(data_dir: &Path) -> Option<String> {
    let path = data_dir.join("identity");
    let read = || std::fs::read_to_string(&path).ok().filter(|text| !text.is_empty() && text.len() <= 64);
    read().or_else(|| {
        // Whoever creates the file first names the directory.
        let staged = data_dir.join(format!("identity.{}", random_name()));
        std::fs::write(&staged, random_name()).ok()?;
        let _ = std::fs::hard_link(&staged, &path);
        let _ = std::fs::remove_file(&staged);
        read()
    })
}

fn random_name() -> String {
    format!("{:016x}", rand::random::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_kept_and_never_shared() {
        let dir = std::env::temp_dir().join(format!("outlier-slots-{}", random_name()));
        let claim = || Instance::claim("", &dir).unwrap();
        let (first, second) = (claim(), claim());
        assert_ne!(first.name(), second.name());
        let name = first.name().to_owned();
        drop(first);
        assert_eq!(claim().name(), name, "a restart gets the name back");
        assert_eq!(Instance::claim("a", &dir).unwrap().name(), "a");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
