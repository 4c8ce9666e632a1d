#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::*;

/// Entries that hold no more than Windows lets them, and that fail from some change on.
struct Entries {
    values: RefCell<BTreeMap<String, String>>,
    changes_left: Cell<usize>,
}

impl Entries {
    fn new(values: &[(&str, &str)]) -> Self {
        let values = values.iter().map(|(account, value)| ((*account).into(), (*value).into())).collect();
        Self { values: RefCell::new(values), changes_left: Cell::new(usize::MAX) }
    }

    fn accounts(&self) -> Vec<String> {
        self.values.borrow().keys().cloned().collect()
    }

    fn read(&self) -> Option<String> {
        read(self, "k").unwrap().map(|value| value.expose_secret().to_owned())
    }

    fn write(&self, value: &str) -> Result<(), CredentialError> {
        write(self, "k", &SecretString::from(value), Limits::WINDOWS)
    }

    fn spend(&self) -> Result<(), CredentialError> {
        match self.changes_left.get().checked_sub(1) {
            Some(left) => self.changes_left.set(left),
            None => return Err(CredentialError::Locked { store: STORE }),
        }
        Ok(())
    }
}

impl Slots for Entries {
    fn get(&self, account: &str) -> Result<Option<SecretString>, CredentialError> {
        Ok(self.values.borrow().get(account).map(|value| SecretString::from(value.as_str())))
    }

    fn set(&self, account: &str, value: &SecretString) -> Result<(), CredentialError> {
        self.spend()?;
        let value = value.expose_secret();
        assert!(value.encode_utf16().count() <= 1280, "{account} is too large for its entry");
        self.values.borrow_mut().insert(account.to_owned(), value.to_owned());
        Ok(())
    }

    fn remove(&self, account: &str) -> Result<(), CredentialError> {
        self.spend()?;
        self.values.borrow_mut().remove(account);
        Ok(())
    }
}

#[test]
fn values_of_every_size_come_back_and_leave_nothing_of_each_other() {
    let entries = Entries::new(&[]);
    for (value, count) in [
        ("x".repeat(1280), 1),
        ("x".repeat(1281), 4),
        ("\u{1f980}".repeat(2_000), 6),
        ("é".repeat(1_200), 1),
        (String::new(), 1),
        (format!("{ROOT_V3}a:r:1"), 3),
    ] {
        entries.write(&value).unwrap();
        assert_eq!(entries.read().as_deref(), Some(value.as_str()));
        assert_eq!(entries.accounts().len(), count, "{:?}", entries.accounts());
    }
    delete(&entries, "k").unwrap();
    assert_eq!(entries.accounts(), [""; 0]);
}

#[test]
fn the_layouts_of_car_secrets_are_read_and_replaced_without_a_trace() {
    let v1 = [("k", "__car_secrets_chunked_v1__:2"), ("k#chunk0", "ab"), ("k#chunk1", "cd")];
    let v2 = [("k", "__car_secrets_chunked_v2__:n1:2"), ("k#chunkv2#n1#0", "ab"), ("k#chunkv2#n1#1", "cd")];
    let v3 = [
        ("k", "__car_secrets_chunked_v3__:b:12-ab-0:2"),
        ("k#chunkv3#b#0", "__car_secrets_chunk_v3__:12-ab-0:ab"),
        ("k#chunkv3#b#1", "__car_secrets_chunk_v3__:12-ab-0:cd"),
        ("k#chunkv3#b#manifest", "2"),
    ];
    for layout in [&v1[..], &v2[..], &v3[..]] {
        let entries = Entries::new(layout);
        assert_eq!(entries.read().as_deref(), Some("abcd"));
        entries.write("short").unwrap();
        assert_eq!(entries.accounts(), ["k"]);

        let entries = Entries::new(layout);
        delete(&entries, "k").unwrap();
        assert_eq!(entries.accounts(), [""; 0]);
    }
}

#[test]
fn a_large_value_is_written_in_the_layout_of_car_secrets() {
    let entries = Entries::new(&[]);
    entries.write(&"x".repeat(1_500)).unwrap();
    let values = entries.values.borrow();
    let root = values["k"].strip_prefix(ROOT_V3).unwrap();
    let revision = root.strip_prefix("a:").unwrap().strip_suffix(":2").unwrap();
    assert!(!revision.is_empty() && !revision.contains(':'));
    assert_eq!(values["k#chunkv3#a#0"], format!("{PART_V3}{revision}:{}", "x".repeat(1_100)));
    assert_eq!(values["k#chunkv3#a#1"], format!("{PART_V3}{revision}:{}", "x".repeat(400)));
    assert_eq!(values["k#chunkv3#a#manifest"], "2");
    assert_eq!(values.len(), 4);
}

#[test]
fn a_writer_that_dies_anywhere_leaves_the_old_or_the_new_value_and_the_next_one_cleans_up() {
    let values = ["a".repeat(3_000), "b".repeat(9_000), "short".to_owned()];
    for old in &values {
        for new in &values {
            for changes in 0..40 {
                let entries = Entries::new(&[]);
                entries.write(old).unwrap();
                entries.changes_left.set(changes);
                let done = entries.write(new).is_ok();
                let read = entries.read().unwrap();
                assert!(read == *new || (!done && read == *old), "neither value after {changes} changes");

                entries.changes_left.set(usize::MAX);
                entries.write(&"c".repeat(2_000)).unwrap();
                entries.write("last").unwrap();
                assert_eq!(entries.accounts(), ["k"], "left behind after {changes} changes");
            }
        }
    }
}

#[test]
fn a_root_without_its_parts_is_damaged_and_can_be_replaced_and_deleted() {
    for root in [
        "__car_secrets_chunked_v3__:a:r:2",
        "__car_secrets_chunked_v3__:c:r:2",
        "__car_secrets_chunked_v1__:0",
    ] {
        let entries = Entries::new(&[("k", root), ("k#chunkv3#a#0", "__car_secrets_chunk_v3__:other:ab")]);
        let error = read(&entries, "k").unwrap_err();
        assert!(matches!(error, CredentialError::Damaged { .. }), "{error}");
        entries.write("new").unwrap();
        assert_eq!(entries.read().as_deref(), Some("new"));
        delete(&entries, "k").unwrap();
        assert_eq!(entries.read(), None);
    }
}

#[test]
fn without_limits_only_what_looks_like_a_root_is_in_parts() {
    let entries = Entries::new(&[]);
    for (value, count) in [("x".repeat(1_000), 1), (format!("{ROOT_V1}2"), 3)] {
        write(&entries, "k", &SecretString::from(value.as_str()), Limits::NONE).unwrap();
        assert_eq!(entries.read(), Some(value));
        assert_eq!(entries.accounts().len(), count);
    }
}

#[test]
fn parts_are_told_from_values() {
    for part in ["connector:a:b#chunk0", "connector:a:b#chunkv2#n#1", "connector:a:b#chunkv3#a#manifest"] {
        assert!(is_part(part), "{part}");
    }
    for value in ["connector:a:b", "connector:a:X#chunk", "connector:a:#chunky"] {
        assert!(!is_part(value), "{value}");
    }
}
