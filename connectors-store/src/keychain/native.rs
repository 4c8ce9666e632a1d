//! Keychains that are reached through `keyring-core`: those of Windows and macOS.

use std::collections::HashMap;
use std::sync::Arc;

use connectors_core::CredentialError;
use keyring_core::api::CredentialStore;
use keyring_core::{Entry, Error};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroize;

use super::STORE;
use super::backend::{Backend, Condition, Deadline};
use super::chunks::{self, Limits, Slots};

/// A [`Backend`] on a `keyring-core` store. Values that its platform limits are in chunks.
pub(super) struct NativeBackend {
    store: Arc<CredentialStore>,
    name: &'static str,
    service: String,
    limits: Limits,
}

#[cfg(windows)]
pub(super) fn platform_backend(service: &str) -> Result<Arc<dyn Backend>, CredentialError> {
    let store = windows_native_keyring_store::Store::new().map_err(|error| failure(error, service))?;
    Ok(Arc::new(NativeBackend::new(store, "Windows Credential Manager", service, Limits::WINDOWS)))
}

#[cfg(target_os = "macos")]
pub(super) fn platform_backend(service: &str) -> Result<Arc<dyn Backend>, CredentialError> {
    let store =
        apple_native_keyring_store::keychain::Store::new().map_err(|error| failure(error, service))?;
    Ok(Arc::new(NativeBackend::new(store, "macOS Keychain", service, Limits::NONE)))
}

impl NativeBackend {
    pub(super) fn new(
        store: Arc<CredentialStore>,
        name: &'static str,
        service: &str,
        limits: Limits,
    ) -> Self {
        Self { store, name, service: service.to_owned(), limits }
    }

    fn entry(&self, account: &str) -> Result<Entry, CredentialError> {
        self.store.build(&self.service, account, None).map_err(|error| failure(error, account))
    }
}

impl Backend for NativeBackend {
    fn name(&self) -> &'static str {
        self.name
    }

    fn condition(&self, _: Deadline) -> Result<Condition, CredentialError> {
        Ok(Condition::Persistent)
    }

    fn read(&self, account: &str, _: Deadline) -> Result<Option<SecretString>, CredentialError> {
        chunks::read(self, account)
    }

    fn write(&self, account: &str, value: &SecretString, _: Deadline) -> Result<(), CredentialError> {
        chunks::write(self, account, value, self.limits)
    }

    fn delete(&self, account: &str, _: Deadline) -> Result<(), CredentialError> {
        chunks::delete(self, account)
    }

    fn accounts(&self, _: Deadline) -> Result<Vec<String>, CredentialError> {
        // Windows searches by the name of the credential alone, which is `ACCOUNT.SERVICE`; no text of ours in it has a
        // meaning in a pattern, and whatever else is found is sorted out below.
        let pattern = format!(r"\.{}$", self.service);
        let query = if cfg!(windows) { ("pattern", pattern.as_str()) } else { ("service", &*self.service) };
        let found =
            self.store.search(&HashMap::from([query])).map_err(|error| failure(error, &self.service))?;
        let mine =
            found.iter().filter_map(Entry::get_specifiers).filter(|(service, _)| *service == self.service);
        Ok(mine.map(|(_, account)| account).filter(|account| !chunks::is_part(account)).collect())
    }
}

impl Slots for NativeBackend {
    fn get(&self, account: &str) -> Result<Option<SecretString>, CredentialError> {
        match self.entry(account)?.get_password() {
            Ok(value) => Ok(Some(SecretString::from(value))),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(failure(error, account)),
        }
    }

    fn set(&self, account: &str, value: &SecretString) -> Result<(), CredentialError> {
        self.entry(account)?.set_password(value.expose_secret()).map_err(|error| failure(error, account))
    }

    fn remove(&self, account: &str) -> Result<(), CredentialError> {
        match self.entry(account)?.delete_credential() {
            Ok(()) | Err(Error::NoEntry) => Ok(()),
            Err(error) => Err(failure(error, account)),
        }
    }
}

fn failure(error: Error, account: &str) -> CredentialError {
    match error {
        Error::BadEncoding(mut bytes) | Error::BadDataFormat(mut bytes, _) => {
            bytes.zeroize();
            CredentialError::Damaged {
                store: STORE,
                account: account.to_owned(),
                problem: "it is not text".to_owned(),
            }
        }
        Error::NoStorageAccess(cause) | Error::PlatformFailure(cause) if is_locked(&cause.to_string()) => {
            CredentialError::Locked { store: STORE }
        }
        Error::NoStorageAccess(cause) => {
            CredentialError::Unavailable { store: STORE, reason: cause.to_string() }
        }
        error => CredentialError::Failed { store: STORE, source: error.to_string().into() },
    }
}

/// macOS says that it may not ask the user where the keychain is locked and there is no desktop.
fn is_locked(message: &str) -> bool {
    message.to_ascii_lowercase().contains("interaction is not allowed")
}
