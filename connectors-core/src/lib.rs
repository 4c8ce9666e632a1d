#![doc = include_str!("../README.md")]
// The futures of the engine are deep.
#![cfg_attr(feature = "car-engine", recursion_limit = "256")]

pub mod authorizer;
#[cfg(feature = "car-engine")]
pub mod car;
pub mod client;
pub mod connector;
#[cfg(feature = "contract")]
pub mod contract;
pub mod definition;
pub mod digest;
pub mod elicitation;
pub mod error;
pub mod events;
pub mod feature;
pub mod gate;
pub mod header_params;
pub mod host;
pub mod http;
pub mod import;
pub mod limits;
pub mod manager;
pub mod memory;
pub mod multiplex;
pub mod names;
pub mod observer;
pub mod proposal;
pub mod protocol;
pub mod queues;
pub mod schema;
pub mod secret_like;
pub mod sign_in;
pub mod skills;
pub mod store;
pub mod text;
pub mod tool;
pub mod trace;
pub mod transport;
pub mod view;

pub use authorizer::{Authorizer, StaticHeaders};
pub use client::McpClient;
pub use connector::{Connector, Progress, ToolCall, ToolOutcome};
pub use definition::{
    AcceptedProposal, ConnectorDefinition, GrantKind, NetworkSettings, OAuthException, OAuthSettings,
    OutputCheck, SecretVariable, StdioCommand,
};
pub use error::{ConnectorError, CredentialError, StorageError, TransportError};
pub use events::{ConnectorEvent, EventBus, EventKind};
pub use gate::{Admission, EnablementGate};
pub use host::InputHandler;
pub use http::HttpClient;
pub use import::ImportSource;
pub use limits::Limits;
pub use manager::ConnectorManager;
pub use memory::{MemoryConfigStore, MemoryCredentialStore};
pub use names::Slug;
pub use observer::RouteObserver;
pub use proposal::{Proposal, ProposalSource};
pub use secret_like::looks_secret;
pub use sign_in::{SignIn, SignInProvider};
pub use store::{ConfigStore, CredentialKey, CredentialStore};
pub use tool::{ToolCatalog, ToolDefinition};
pub use trace::{Trace, TraceStep};
pub use transport::{Dialer, Transport};
pub use view::{ConnectorStatus, StateName, ToolView};
