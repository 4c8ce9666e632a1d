//! The vault's file format: a header in the clear, which the encryption authenticates, and the secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::flaw::Flaw;
use super::key::{Key, KeyRing, KeySource, fill_random};
use super::records::{self, Records};

const FORMAT: &str = "connectors-vault";
const VERSION: u64 = 1;
const CIPHER: &str = "xchacha20poly1305";

/// The header has a few hundred bytes.
const MAX_HEADER: usize = 4096;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// The first line. Every byte of it, its line break included, is authenticated.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Header {
    format: String,
    version: u64,
    cipher: String,
    key: KeySource,
    /// Tells a wrong key from a damaged file.
    key_check: String,
    nonce: String,
    /// Bytes that follow the header, to tell a file that is cut short from one that was changed.
    length: u64,
}

/// What every version of the format begins with.
#[derive(Deserialize)]
struct Preamble {
    format: String,
    version: u64,
}

/// Encrypts `records` under a fresh nonce.
pub(super) fn seal(records: &Records, source: KeySource, key: &Key) -> Result<Vec<u8>, Flaw> {
    let mut nonce = [0; NONCE_BYTES];
    fill_random(&mut nonce).map_err(|source| Flaw::Io { action: "write", source })?;
    let mut secrets = records::encode(records, TAG_BYTES)?;
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        cipher: CIPHER.to_owned(),
        key: source,
        key_check: key.check(),
        nonce: BASE64.encode(nonce),
        length: (secrets.len() + TAG_BYTES) as u64,
    };
    let mut file = header_line(&header)?;
    XChaCha20Poly1305::new(key.bytes().into())
        .encrypt_in_place(&XNonce::from(nonce), &file, &mut *secrets)
        .map_err(|_| Flaw::TooLarge)?;
    file.extend_from_slice(&secrets);
    Ok(file)
}

fn header_line(header: &Header) -> Result<Vec<u8>, Flaw> {
    let mut line = serde_json::to_vec(header).map_err(|_| Flaw::TooLarge)?;
    line.push(b'\n');
    Ok(line)
}

/// A vault that is decrypted.
pub(super) struct Opened {
    pub(super) records: Records,
    pub(super) source: KeySource,
    /// What it was decrypted with, and is to be encrypted with again.
    pub(super) key: Key,
}

/// A vault that is whole and of this version, and not decrypted yet.
#[derive(PartialEq)]
pub(super) struct Sealed {
    file: Vec<u8>,
    /// Bytes of the header with its line break.
    line: usize,
    header: Header,
    nonce: [u8; NONCE_BYTES],
}

impl Sealed {
    /// Reads the header.
    pub(super) fn parse(file: Vec<u8>) -> Result<Self, Flaw> {
        let line_end = file.iter().take(MAX_HEADER).position(|&byte| byte == b'\n');
        let Some(line_end) = line_end else { return Err(headless(&file)) };
        let (line, sealed) = file.split_at(line_end + 1);
        let header = read_header(line)?;
        let found = sealed.len() as u64;
        if found < header.length {
            return Err(Flaw::Truncated { found, expected: header.length });
        }
        let nonce = BASE64.decode(&header.nonce).ok();
        let nonce = nonce.and_then(|nonce| <[u8; NONCE_BYTES]>::try_from(nonce).ok());
        let (Some(nonce), CIPHER) = (nonce, header.cipher.as_str()) else { return Err(Flaw::Tampered) };
        Ok(Self { line: line_end + 1, file, header, nonce })
    }

    /// How the key is found.
    pub(super) fn source(&self) -> &KeySource {
        &self.header.key
    }

    /// True if there is no secret in it. Its key is not needed to know that.
    pub(super) fn is_empty(&self) -> bool {
        self.file.len() == self.line + TAG_BYTES
    }

    /// Decrypts the vault with the key that is known for it, or with that of the key file as it is now.
    pub(super) fn open(&self, keys: &KeyRing) -> Result<Opened, Flaw> {
        match self.open_with_known(keys) {
            // Another process may have put another one there.
            Err(Flaw::Key(_)) => self.open_with_known(keys),
            result => result,
        }
    }

    fn open_with_known(&self, keys: &KeyRing) -> Result<Opened, Flaw> {
        let source = self.source();
        let key = keys.find(source)?;
        let records = self.decrypt(&key).inspect_err(|flaw| {
            if matches!(flaw, Flaw::Key(_) | Flaw::WrongPassphrase) {
                keys.forget(source);
            }
        })?;
        Ok(Opened { records, source: source.clone(), key })
    }

    /// Decrypts the vault. A key that is not its own is told from a file that was changed.
    pub(super) fn decrypt(&self, key: &Key) -> Result<Records, Flaw> {
        if key.check() == self.header.key_check {
            return self.decrypt_under(key, &self.file[..self.line]);
        }
        // With the right key and nothing else changed it decrypts under the header as it was: then that was changed.
        let was = header_line(&Header { key_check: key.check(), ..self.header.clone() })?;
        match self.decrypt_under(key, &was) {
            Ok(_) => Err(Flaw::Tampered),
            Err(_) => Err(wrong_key(&self.header.key)),
        }
    }

    fn decrypt_under(&self, key: &Key, line: &[u8]) -> Result<Records, Flaw> {
        let mut secrets = Zeroizing::new(self.file[self.line..].to_vec());
        XChaCha20Poly1305::new(key.bytes().into())
            .decrypt_in_place(&XNonce::from(self.nonce), line, &mut *secrets)
            .map_err(|_| Flaw::Tampered)?;
        records::decode(&secrets).ok_or(Flaw::Tampered)
    }
}

fn read_header(line: &[u8]) -> Result<Header, Flaw> {
    let preamble: Preamble = serde_json::from_slice(line).map_err(|_| Flaw::Foreign)?;
    if preamble.format != FORMAT {
        return Err(Flaw::Foreign);
    }
    if preamble.version != VERSION {
        return Err(Flaw::Newer(preamble.version));
    }
    serde_json::from_slice(line).map_err(|_| Flaw::Tampered)
}

/// What a file without a whole header is.
fn headless(file: &[u8]) -> Flaw {
    let beginning = b"{\"format\":\"connectors-vault\"";
    let common = file.len().min(beginning.len());
    if file.len() < MAX_HEADER && file[..common] == beginning[..common] {
        Flaw::Truncated { found: file.len() as u64, expected: MAX_HEADER as u64 }
    } else {
        Flaw::Foreign
    }
}

fn wrong_key(source: &KeySource) -> Flaw {
    match source {
        KeySource::File => {
            Flaw::Key("its key file is not the one that it was made with; restore the right one".to_owned())
        }
        KeySource::Passphrase { .. } => Flaw::WrongPassphrase,
    }
}
