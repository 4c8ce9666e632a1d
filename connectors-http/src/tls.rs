//! Whom a client trusts, and what it shows of itself.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use connectors_core::transport::InvalidDefinition;
use connectors_core::{NetworkSettings, TransportError};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use secrecy::{ExposeSecret, SecretSlice};

use crate::network::{CA_FILE, CERTIFICATE_FILE, KEY_FILE, files, invalid, refused};

/// No certificate file is larger, bundles of all authorities included.
const MAX_FILE: u64 = 4 << 20;

/// The variable that names further authorities. The verifier itself reads it where the system's are files.
const AUTHORITIES: &str = "SSL_CERT_FILE";

/// One file, as it was when it was looked at: another state is another file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    field: &'static str,
    path: PathBuf,
    modified: Option<SystemTime>,
    bytes: u64,
}

/// The certificates and keys that one connector's settings name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    authorities: Option<Stamp>,
    certificate: Option<Stamp>,
    key: Option<Stamp>,
}

impl Identity {
    /// True where the settings name any file.
    pub(crate) fn is_wanted(network: &NetworkSettings) -> bool {
        files(network).iter().any(|(_, path)| path.is_some())
    }

    /// Looks at the files, without reading them. Blocks.
    pub(crate) fn look(network: &NetworkSettings) -> Result<Self, InvalidDefinition> {
        let [authorities, certificate, key] =
            files(network).map(|(field, path)| path.map(|path| Stamp::take(field, path.into())).transpose());
        Ok(Self { authorities: authorities?, certificate: certificate?, key: key? })
    }

    /// Reads the files and sets TLS up with them. Blocks.
    ///
    /// # Errors
    ///
    /// [`TransportError::Refused`] for a file that is of no use, by field; [`TransportError::Unreachable`] where this machine
    /// has no TLS.
    pub(crate) fn configure(&self) -> Result<ClientConfig, TransportError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.into()))?;
        let mut authorities = match &self.authorities {
            Some(file) => certificates(file, &file.read()?)?,
            None => Vec::new(),
        };
        let entered = !authorities.is_empty();
        authorities.extend(authorities_of_the_environment());
        let builder = match Verifier::new_with_extra_roots(authorities, provider) {
            Ok(verifier) => builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)),
            Err(_) if entered => {
                return Err(refused(invalid(CA_FILE, "one of its certificates cannot be used")));
            }
            Err(error) => {
                // Local servers over plain HTTP work all the same; https fails with an unknown issuer.
                tracing::warn!(%error, "no system certificates: https servers will not be trusted");
                builder.with_root_certificates(RootCertStore::empty())
            }
        };
        let mut config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate, &certificate.read()?)?;
                builder
                    .with_client_auth_cert(chain, private_key(key)?)
                    .map_err(|error| refused(unfit(&error)))?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl Stamp {
    fn take(field: &'static str, path: PathBuf) -> Result<Self, InvalidDefinition> {
        let problem = |what: String| invalid(field, format!("{} {what}", path.display()));
        let metadata = fs::metadata(&path).map_err(|error| problem(unreadable(&error)))?;
        if !metadata.is_file() {
            return Err(problem("is not a file".into()));
        }
        if metadata.len() > MAX_FILE {
            return Err(problem("is too large to hold certificates".into()));
        }
        Ok(Self { field, modified: metadata.modified().ok(), bytes: metadata.len(), path })
    }

    fn read(&self) -> Result<Vec<u8>, TransportError> {
        fs::read(&self.path).map_err(|error| refused(self.problem(&unreadable(&error))))
    }

    fn problem(&self, what: &str) -> InvalidDefinition {
        invalid(self.field, format!("{} {what}", self.path.display()))
    }
}

fn certificates(file: &Stamp, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(refused(file.problem("holds no certificate in PEM form"))),
        Err(_) => Err(refused(file.problem("is damaged: it is not PEM throughout"))),
    }
}

fn private_key(file: &Stamp) -> Result<PrivateKeyDer<'static>, TransportError> {
    let pem = SecretSlice::from(file.read()?);
    PrivateKeyDer::from_pem_slice(pem.expose_secret())
        .map_err(|_| refused(file.problem("holds no private key in PEM form that is not encrypted")))
}

/// Why a certificate and a key cannot be shown to a server.
fn unfit(error: &rustls::Error) -> InvalidDefinition {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            invalid(KEY_FILE, "the private key is not the one of the client certificate")
        }
        rustls::Error::InvalidCertificate(_) => {
            invalid(CERTIFICATE_FILE, "the client certificate cannot be used")
        }
        _ => invalid(KEY_FILE, "the private key is of a kind that cannot be used: RSA, ECDSA or Ed25519 can"),
    }
}

/// What [`AUTHORITIES`] names, on systems whose own verdict leaves it out.
fn authorities_of_the_environment() -> Vec<CertificateDer<'static>> {
    if !cfg!(any(windows, target_vendor = "apple")) {
        return Vec::new();
    }
    let Some(path) = std::env::var_os(AUTHORITIES) else { return Vec::new() };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.unwrap_or_else(|error| {
        tracing::warn!(%error, "the file that {AUTHORITIES} names cannot be used");
        Vec::new()
    })
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist".into(),
        std::io::ErrorKind::PermissionDenied => "may not be read".into(),
        kind => format!("cannot be read ({kind})"),
    }
}

/// TLS, or what stands on it, does not come about on this machine.
pub(crate) fn unusable(source: connectors_core::error::Source) -> TransportError {
    TransportError::Unreachable {
        reason: "TLS cannot be set up on this machine".into(),
        source: Some(source),
    }
}
