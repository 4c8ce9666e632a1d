//! What the MCP server's side of a sign-in is told to be.

use super::fault::Fault;

/// Everything that a [`TokenGuard`](super::TokenGuard) is told; it can be changed while it runs. The default is a correct
/// one: path-aware metadata, named in every challenge, that publishes the endpoint's URL and the servers that it trusts.
#[derive(Debug, Clone)]
pub struct GuardSetup {
    /// Where its protected resource metadata is.
    pub metadata: MetadataLocation,
    /// The resource that it says it is, and that tokens have to be for.
    pub resource: PublishedResource,
    /// The authorization servers that it lists.
    pub servers: ListedServers,
    /// The scopes that its metadata lists; none listed if `None`.
    pub scopes_supported: Option<Vec<String>>,
    /// What its challenges look like.
    pub challenge: ChallengeForm,
    /// The `scope` of the challenge to a request without a good token.
    pub challenge_scope: Option<String>,
    /// The status of that challenge.
    pub challenge_status: u16,
    /// JSON-RPC methods (or `GET`, `DELETE`) that need no token.
    pub open_methods: Vec<&'static str>,
    /// Scopes that a token needs for anything at all.
    pub scope: Option<String>,
    /// Scopes that a token needs to call a tool: the tool, and the scope. Otherwise 403 `insufficient_scope`.
    pub tool_scopes: Vec<(String, String)>,
    /// Demands a nonce of its own in DPoP proofs.
    pub dpop_nonces: bool,
    /// Gives another nonce with every answer; the one before is then no good.
    pub renews_nonce: bool,
    /// Its origin is that of the first authorization server too, as servers of 2025-03-26 have it.
    pub hosts_authorization_server: bool,
    /// What goes wrong with its metadata. The first fault that applies wins.
    pub faults: Vec<Fault>,
}

impl Default for GuardSetup {
    fn default() -> Self {
        Self {
            metadata: MetadataLocation::Path,
            resource: PublishedResource::Endpoint,
            servers: ListedServers::Trusted,
            scopes_supported: None,
            challenge: ChallengeForm::WithMetadata,
            challenge_scope: None,
            challenge_status: 401,
            open_methods: Vec::new(),
            scope: None,
            tool_scopes: Vec::new(),
            dpop_nonces: false,
            renews_nonce: false,
            hosts_authorization_server: false,
            faults: Vec::new(),
        }
    }
}

impl GuardSetup {
    /// The same with something that goes wrong, after what goes wrong already.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }
}

/// Where protected resource metadata is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataLocation {
    /// `/.well-known/oauth-protected-resource/mcp`.
    Path,
    /// `/.well-known/oauth-protected-resource`.
    Root,
    /// This path, which only the challenge tells.
    Custom(String),
    /// Nowhere, as on servers of 2025-03-26.
    Nowhere,
}

/// The resource that metadata names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishedResource {
    /// The URL of the MCP endpoint.
    Endpoint,
    /// Its origin, without a slash.
    Origin,
    /// The URL of the MCP endpoint, with a slash that it does not have.
    EndpointWithSlash,
    /// Something else.
    Other(String),
    /// None.
    Absent,
}

/// The authorization servers that metadata lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListedServers {
    /// Those that it trusts, in their order.
    Trusted,
    /// These.
    Others(Vec<String>),
    /// The member is missing.
    Absent,
}

/// What challenges look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChallengeForm {
    /// With `resource_metadata`, where there is metadata.
    WithMetadata,
    /// Without it.
    WithoutMetadata,
    /// These fields, in which `{metadata}` stands for the URL of the metadata; they have no `scope` and `error` but their own.
    Custom(Vec<String>),
    /// There is no such field.
    Absent,
}
