//! The secrets of a vault as bytes: a list of account and value, each with its length in front.
//!
//! Not JSON, because its reader and writer leave copies of what they unescape and grow.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::flaw::Flaw;

/// Values by account.
pub(super) type Records = BTreeMap<String, SecretString>;

/// The bytes of `records`, with room for `spare` more.
pub(super) fn encode(records: &Records, spare: usize) -> Result<Zeroizing<Vec<u8>>, Flaw> {
    let length: usize =
        records.iter().map(|(account, value)| 8 + account.len() + value.expose_secret().len()).sum();
    // Reserved as a whole, so that no half-written copy is left behind in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + spare));
    for (account, value) in records {
        for part in [account.as_str(), value.expose_secret()] {
            let length = u32::try_from(part.len()).map_err(|_| Flaw::TooLarge)?;
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    Ok(bytes)
}

/// Reads what [`encode`] has written; `None` if it is anything else.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Records> {
    let mut records = Records::new();
    while !bytes.is_empty() {
        let account = take(&mut bytes)?;
        let value = take(&mut bytes)?;
        records.insert(account.to_owned(), SecretString::from(value));
    }
    Some(records)
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    *bytes = rest;
    std::str::from_utf8(part).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_are_read_back(plain in prop::collection::btree_map(".{0,20}", ".{0,40}", 0..5)) {
            let records: Records =
                plain.iter().map(|(account, value)| (account.clone(), value.clone().into())).collect();
            let bytes = encode(&records, 16).unwrap();
            let read = decode(&bytes).unwrap();
            let read: BTreeMap<_, _> =
                read.into_iter().map(|(account, value)| (account, value.expose_secret().to_owned())).collect();
            prop_assert_eq!(read, plain);
            prop_assert!(bytes.is_empty() || decode(&bytes[..bytes.len() - 1]).is_none());
        }

        #[test]
        fn no_input_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            decode(&bytes);
        }
    }
}
