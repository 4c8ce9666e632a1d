//! How a client proves itself: what to ask for, and what was granted (RFC 7591, section 2; RFC 8414, section 2).

use super::RegistrationError;
use crate::client_auth::AuthMethod;
use crate::metadata::ServerMetadata;
use crate::quoted::quoted;

/// The methods that the server lists, if it lists any.
fn listed(server: &ServerMetadata) -> Option<&[String]> {
    server.token_endpoint_auth_methods_supported.as_deref().filter(|methods| !methods.is_empty())
}

fn first_listed(server: &ServerMetadata, wanted: &[AuthMethod]) -> Result<AuthMethod, RegistrationError> {
    let listed = listed(server).unwrap_or_default();
    let is_listed = |method: &&AuthMethod| listed.iter().any(|name| name == method.as_str());
    wanted.iter().find(is_listed).copied().ok_or_else(|| RegistrationError::NoCommonMethod {
        issuer: quoted(&server.issuer),
        methods: quoted(&listed.join(" ")),
    })
}

/// What to ask for in a registration: this client cannot keep a secret better than a token, so none, if that is allowed.
pub(super) fn to_ask_for(server: &ServerMetadata) -> Result<AuthMethod, RegistrationError> {
    if listed(server).is_none() {
        return Ok(AuthMethod::None);
    }
    first_listed(server, &[AuthMethod::None, AuthMethod::Basic, AuthMethod::Post])
}

/// The method of a client whose registration says nothing about it.
pub(super) fn of_known(server: &ServerMetadata, has_secret: bool) -> Result<AuthMethod, RegistrationError> {
    if !has_secret {
        return Ok(AuthMethod::None);
    }
    if listed(server).is_none() {
        return Ok(AuthMethod::Basic);
    }
    first_listed(server, &[AuthMethod::Basic, AuthMethod::Post, AuthMethod::None])
}

/// The method of a client that was just registered: what the server answered, else what was asked for, as far as that fits
/// the secret.
pub(super) fn granted(
    server: &ServerMetadata,
    answered: Option<&str>,
    asked: AuthMethod,
    has_secret: bool,
) -> Result<AuthMethod, RegistrationError> {
    let method = match answered {
        Some(name) => AuthMethod::parse(name).ok_or_else(|| RegistrationError::NoCommonMethod {
            issuer: quoted(&server.issuer),
            methods: quoted(name),
        })?,
        None if has_secret && asked == AuthMethod::None => of_known(server, true)?,
        None => asked,
    };
    match method {
        AuthMethod::Basic | AuthMethod::Post if !has_secret => {
            Err(RegistrationError::NoSecret { issuer: quoted(&server.issuer), method: method.as_str() })
        }
        // Such a client has a key, and none was asked for.
        AuthMethod::PrivateKeyJwt { .. } => Err(RegistrationError::NoCommonMethod {
            issuer: quoted(&server.issuer),
            methods: method.as_str().to_owned(),
        }),
        method => Ok(method),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::server_metadata;

    fn server(methods: Option<&[&str]>) -> ServerMetadata {
        let methods = methods.map(|methods| methods.iter().map(|method| (*method).to_owned()).collect());
        ServerMetadata { token_endpoint_auth_methods_supported: methods, ..server_metadata() }
    }

    fn word(method: Result<AuthMethod, RegistrationError>) -> &'static str {
        method.map_or_else(|error| error.detail(), AuthMethod::as_str)
    }

    #[test]
    fn a_registration_asks_for_no_secret_where_it_can() {
        let asked = |methods| word(to_ask_for(&server(methods)));
        assert_eq!(asked(None), "none");
        assert_eq!(asked(Some(&[])), "none");
        assert_eq!(asked(Some(&["client_secret_post", "client_secret_basic", "none"])), "none");
        assert_eq!(asked(Some(&["client_secret_post", "client_secret_basic"])), "client_secret_basic");
        assert_eq!(asked(Some(&["client_secret_post"])), "client_secret_post");
        assert_eq!(asked(Some(&["tls_client_auth", "private_key_jwt"])), "client_authentication_unsupported");
    }

    #[test]
    fn a_client_with_a_secret_uses_it_as_the_server_allows() {
        let of = |methods, has_secret| word(of_known(&server(methods), has_secret));
        assert_eq!(of(None, true), "client_secret_basic");
        assert_eq!(of(Some(&["none", "client_secret_post"]), true), "client_secret_post");
        assert_eq!(of(Some(&["none"]), true), "none");
        assert_eq!(of(Some(&["private_key_jwt"]), true), "client_authentication_unsupported");
        assert_eq!(of(Some(&["client_secret_post"]), false), "none");
    }

    #[test]
    fn what_the_server_answers_counts() {
        let of = |answered, asked, has_secret| word(granted(&server(None), answered, asked, has_secret));
        assert_eq!(of(Some("client_secret_post"), AuthMethod::None, true), "client_secret_post");
        assert_eq!(of(Some("none"), AuthMethod::Basic, true), "none");
        assert_eq!(of(None, AuthMethod::None, false), "none");
        assert_eq!(of(None, AuthMethod::Post, true), "client_secret_post");
        assert_eq!(of(None, AuthMethod::None, true), "client_secret_basic");
        assert_eq!(of(None, AuthMethod::Basic, false), "registration_without_secret");
        assert_eq!(of(Some("client_secret_basic"), AuthMethod::None, false), "registration_without_secret");
        assert_eq!(of(Some("private_key_jwt"), AuthMethod::None, false), "client_authentication_unsupported");
        assert_eq!(of(Some("magic"), AuthMethod::None, true), "client_authentication_unsupported");
    }

    #[test]
    fn a_secret_that_nobody_wants_is_not_shown_to_a_server_of_public_clients() {
        let server = server(Some(&["none"]));
        assert_eq!(word(granted(&server, None, AuthMethod::None, true)), "none");
    }
}
