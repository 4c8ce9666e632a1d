//! What a user entered about the network of a connector, checked before anything is read or connected.

use std::path::Path;

use connectors_core::transport::InvalidDefinition;
use connectors_core::{NetworkSettings, TransportError};
use url::Url;

pub(crate) const CA_FILE: &str = "network.ca_file";
pub(crate) const CERTIFICATE_FILE: &str = "network.client_certificate_file";
pub(crate) const KEY_FILE: &str = "network.client_key_file";
const PROXY: &str = "network.proxy";

/// A field that cannot be used.
pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> InvalidDefinition {
    InvalidDefinition { field, problem: problem.into() }
}

/// The same for who wants to connect.
pub(crate) fn refused(problem: InvalidDefinition) -> TransportError {
    TransportError::Refused(problem.to_string())
}

/// Checks what can be known without looking at the files.
pub(crate) fn check(network: &NetworkSettings) -> Result<(), InvalidDefinition> {
    for (field, path) in files(network) {
        if path.is_some_and(|path| !Path::new(path).is_absolute()) {
            return Err(invalid(field, "enter the whole path of the file, from the root on"));
        }
    }
    match (&network.client_certificate_file, &network.client_key_file) {
        (Some(_), None) => Err(invalid(KEY_FILE, "a client certificate is of use only with its private key")),
        (None, Some(_)) => {
            Err(invalid(CERTIFICATE_FILE, "a private key is of use only with its certificate"))
        }
        _ => proxy(network).map(drop),
    }
}

/// The files that the settings name, by field.
pub(crate) fn files(network: &NetworkSettings) -> [(&'static str, Option<&str>); 3] {
    [
        (CA_FILE, network.ca_file.as_deref()),
        (CERTIFICATE_FILE, network.client_certificate_file.as_deref()),
        (KEY_FILE, network.client_key_file.as_deref()),
    ]
}

/// The proxy that the settings name.
pub(crate) fn proxy(network: &NetworkSettings) -> Result<Option<Url>, InvalidDefinition> {
    let Some(text) = &network.proxy else { return Ok(None) };
    let url = Url::parse(text)
        .map_err(|_| invalid(PROXY, "enter the URL of the proxy, such as http://proxy.example:3128"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid(PROXY, "the URL of a proxy has to begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(
            PROXY,
            "leave the credentials out: they would be stored unprotected. A proxy that wants some is entered in the \
             environment (HTTPS_PROXY)",
        ));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(invalid(PROXY, "enter nothing but scheme, host and port"));
    }
    Ok(Some(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(enter: impl FnOnce(&mut NetworkSettings)) -> Option<String> {
        let mut network = NetworkSettings::default();
        enter(&mut network);
        check(&network).err().map(|invalid| invalid.to_string())
    }

    fn absolute(name: &str) -> Option<String> {
        Some(std::env::temp_dir().join(name).to_string_lossy().into_owned())
    }

    #[test]
    fn files_are_named_by_their_whole_path() {
        assert_eq!(problem(|network| network.ca_file = absolute("ca.pem")), None);
        for relative in ["", "ca.pem", "./ca.pem", "~/ca.pem"] {
            assert_eq!(
                problem(|network| network.ca_file = Some(relative.into())),
                Some("`network.ca_file`: enter the whole path of the file, from the root on".into())
            );
        }
    }

    #[test]
    fn certificate_and_key_belong_together() {
        assert_eq!(
            problem(|network| network.client_certificate_file = absolute("c.pem")),
            Some(
                "`network.client_key_file`: a client certificate is of use only with its private key".into()
            )
        );
        assert_eq!(
            problem(|network| network.client_key_file = absolute("k.pem")),
            Some(
                "`network.client_certificate_file`: a private key is of use only with its certificate".into()
            )
        );
    }

    #[test]
    fn a_proxy_is_an_http_url_without_credentials() {
        let entered = |text: &str| problem(|network| network.proxy = Some(text.into()));
        for url in ["http://proxy:3128", "https://proxy.example/", "http://[::1]:9"] {
            assert_eq!(entered(url), None, "{url}");
        }
        for (url, expected) in [
            ("", "enter the URL of the proxy, such as http://proxy.example:3128"),
            ("proxy.example", "enter the URL of the proxy, such as http://proxy.example:3128"),
            ("proxy:3128", "the URL of a proxy has to begin with http:// or https://"),
            ("socks5://proxy:1080", "the URL of a proxy has to begin with http:// or https://"),
            ("http://proxy:3128/path", "enter nothing but scheme, host and port"),
        ] {
            assert_eq!(entered(url), Some(format!("`network.proxy`: {expected}")), "{url}");
        }
        let with_credentials = entered("http://user:hidden@proxy:3128").unwrap();
        assert!(with_credentials.starts_with("`network.proxy`: leave the credentials out"));
        assert!(!with_credentials.contains("hidden"));
    }
}
