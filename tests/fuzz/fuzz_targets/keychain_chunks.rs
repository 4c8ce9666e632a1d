//! Whatever is in a keychain, a value that is not in parts is what it is, one that is in parts is made of them, and deleting it
//! leaves the entries of others alone.
#![no_main]

use std::cell::RefCell;
use std::collections::BTreeMap;

use connectors_core::CredentialError;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use secrecy::{ExposeSecret, SecretString};

/// As the file is part of `connectors-store`, where only some platforms have it.
#[allow(dead_code, reason = "only reading and deleting is tried")]
#[path = "../../../connectors-store/src/keychain/chunks.rs"]
mod chunks;

/// What the file calls its store.
const STORE: &str = "keychain";

const ACCOUNT: &str = "connector:a:tokens";
const OTHER: &str = "connector:a:tokens_of_another";

#[derive(Debug, Arbitrary)]
enum Root<'a> {
    Any(&'a str),
    V1 { count: u16 },
    V2 { nonce: &'a str, count: u16 },
    V3 { generation: Generation, revision: &'a str, count: u16 },
}

#[derive(Debug, Arbitrary)]
enum Generation {
    A,
    B,
}

#[derive(Debug, Arbitrary)]
enum Part<'a> {
    V1 { n: u8, text: &'a str },
    V2 { nonce: &'a str, n: u8, text: &'a str },
    V3 { generation: Generation, n: u8, revision: &'a str, text: &'a str },
    Manifest { generation: Generation, text: &'a str },
}

impl Generation {
    fn as_str(&self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

impl Root<'_> {
    fn text(&self) -> String {
        match self {
            Self::Any(text) => (*text).to_owned(),
            Self::V1 { count } => format!("__car_secrets_chunked_v1__:{count}"),
            Self::V2 { nonce, count } => format!("__car_secrets_chunked_v2__:{nonce}:{count}"),
            Self::V3 { generation, revision, count } => {
                format!("__car_secrets_chunked_v3__:{}:{revision}:{count}", generation.as_str())
            }
        }
    }
}

impl Part<'_> {
    fn entry(&self) -> (String, String) {
        match self {
            Self::V1 { n, text } => (format!("{ACCOUNT}#chunk{n}"), (*text).to_owned()),
            Self::V2 { nonce, n, text } => (format!("{ACCOUNT}#chunkv2#{nonce}#{n}"), (*text).to_owned()),
            Self::V3 { generation, n, revision, text } => (
                format!("{ACCOUNT}#chunkv3#{}#{n}", generation.as_str()),
                format!("__car_secrets_chunk_v3__:{revision}:{text}"),
            ),
            Self::Manifest { generation, text } => {
                (format!("{ACCOUNT}#chunkv3#{}#manifest", generation.as_str()), (*text).to_owned())
            }
        }
    }
}

/// A keychain in memory.
struct Entries(RefCell<BTreeMap<String, String>>);

impl chunks::Slots for Entries {
    fn get(&self, account: &str) -> Result<Option<SecretString>, CredentialError> {
        Ok(self.0.borrow().get(account).map(|value| SecretString::from(value.as_str())))
    }

    fn set(&self, account: &str, value: &SecretString) -> Result<(), CredentialError> {
        self.0.borrow_mut().insert(account.to_owned(), value.expose_secret().to_owned());
        Ok(())
    }

    fn remove(&self, account: &str) -> Result<(), CredentialError> {
        self.0.borrow_mut().remove(account);
        Ok(())
    }
}

fuzz_target!(|input: (Root<'_>, Vec<Part<'_>>)| {
    let (root, parts) = input;
    let mut entries: BTreeMap<_, _> = parts.iter().map(Part::entry).collect();
    let contents: usize = entries.values().map(String::len).sum();
    entries.insert(ACCOUNT.to_owned(), root.text());
    entries.insert(OTHER.to_owned(), "another".to_owned());
    let before = entries.clone();
    let keychain = Entries(RefCell::new(entries));

    let read = chunks::read(&keychain, ACCOUNT);
    assert_eq!(*keychain.0.borrow(), before, "reading has changed something");
    match &read {
        Ok(value) => {
            let value = value.as_ref().expect("the value is there").expose_secret();
            let is_whole = value == root.text();
            // Each part counts once, whatever the root says.
            assert!(is_whole || value.len() <= contents, "a value is made of more than its parts");
        }
        Err(error) => assert!(matches!(error, CredentialError::Damaged { .. }), "{error}"),
    }

    chunks::delete(&keychain, ACCOUNT).expect("it can be deleted");
    assert!(chunks::read(&keychain, ACCOUNT).expect("it can be read").is_none(), "it is still there");
    assert_eq!(keychain.0.borrow().get(OTHER).map(String::as_str), Some("another"));
});
