//! Protocol versions and the two eras that they fall into.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a version carries its metadata (2026-07-28, versioning, terminology).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Era {
    /// `2026-07-28` and later: stateless, metadata in every request.
    Modern,
    /// `2025-11-25` and earlier: a session opened by `initialize`.
    Legacy,
}

/// A revision of the specification that this client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ProtocolVersion {
    /// 2024-11-05, over HTTP+SSE or stdio.
    V2024_11_05,
    /// 2025-03-26, which brought Streamable HTTP.
    V2025_03_26,
    /// 2025-06-18, which brought the protocol-version header.
    V2025_06_18,
    /// 2025-11-25, the last revision with a session.
    V2025_11_25,
    /// 2026-07-28, the first without.
    V2026_07_28,
}

impl ProtocolVersion {
    /// Every version spoken, newest first.
    pub const ALL: [Self; 5] =
        [Self::V2026_07_28, Self::V2025_11_25, Self::V2025_06_18, Self::V2025_03_26, Self::V2024_11_05];

    /// The newest modern version.
    pub const LATEST: Self = Self::V2026_07_28;

    /// The version that an `initialize` request asks for.
    pub const LATEST_LEGACY: Self = Self::V2025_11_25;

    /// The era of this version.
    pub fn era(self) -> Era {
        if self >= Self::V2026_07_28 { Era::Modern } else { Era::Legacy }
    }

    /// As it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Reads a version; `None` for one that this client does not speak.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
