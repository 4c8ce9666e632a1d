//! x
/// x
pub struct McpClient;
