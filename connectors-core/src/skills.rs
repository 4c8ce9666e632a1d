//! The skills extension (SEP-2640, `io.modelcontextprotocol/skills`): listed without reading, read only when loaded, and
//! used only when what was read is what was listed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::connector::Connector;
use crate::digest::sha256_hex;
use crate::error::ConnectorError;
use crate::feature::ListItem;
use crate::names::Slug;

/// The extension's identifier in capabilities.
pub const EXTENSION: &str = "io.modelcontextprotocol/skills";

/// A skill, as a server lists it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Skill {
    /// Its `SKILL.md`.
    pub uri: String,
    /// The front matter that `SKILL.md` has to have, field by field.
    #[serde(default)]
    pub frontmatter: Map<String, Value>,
    /// Its files, `SKILL.md` among them.
    #[serde(default)]
    pub resources: Vec<SkillResource>,
    /// Everything else, as the server sent it.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl ListItem for Skill {
    const METHOD: &'static str = "skills/list";
    const MEMBER: &'static str = "skills";
}

/// One file of a skill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SkillResource {
    /// Its URI.
    pub uri: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A file of a skill that is what the listing said.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedFile {
    bytes: Vec<u8>,
}

impl VerifiedFile {
    /// The content.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The content as text, if it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }
}

impl fmt::Debug for VerifiedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedFile({} bytes)", self.bytes.len())
    }
}

/// Loads a skill: reads its `SKILL.md` and verifies size, digest and front matter.
///
/// A discrepancy is a [`ConnectorError::Protocol`], and nothing of the content is returned.
pub async fn load(
    connector: &dyn Connector,
    slug: &Slug,
    skill: &Skill,
) -> Result<VerifiedFile, ConnectorError> {
    let file = read_file(connector, slug, skill, &skill.uri).await?;
    let text = file.text().ok_or_else(|| mismatch(slug, "SKILL.md is not text"))?;
    let found = front_matter(text).ok_or_else(|| mismatch(slug, "SKILL.md has no readable front matter"))?;
    if found != skill.frontmatter {
        return Err(mismatch(slug, "the front matter of SKILL.md is not the one that was listed"));
    }
    Ok(file)
}

/// Reads one listed file of a skill and verifies size and digest.
pub async fn read_file(
    connector: &dyn Connector,
    slug: &Slug,
    skill: &Skill,
    uri: &str,
) -> Result<VerifiedFile, ConnectorError> {
    let listed = skill
        .resources
        .iter()
        .find(|resource| resource.uri == uri)
        .ok_or_else(|| mismatch(slug, "the file is not among those that the skill lists"))?;
    let result: ReadResult = connector.read_resource(uri).await?.parse(slug)?;
    let content = result
        .contents
        .into_iter()
        .find(|content| content.uri == uri)
        .ok_or_else(|| mismatch(slug, "the server answered with another file"))?;
    let bytes = match (content.text, content.blob) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(blob)) => {
            STANDARD.decode(blob).map_err(|_| mismatch(slug, "a file is not valid Base64"))?
        }
        _ => return Err(mismatch(slug, "a file is neither text nor binary")),
    };
    if u64::try_from(bytes.len()).ok() != Some(listed.size) {
        return Err(mismatch(slug, "a file does not have the size that was listed"));
    }
    let digest = sha256_hex(&bytes);
    if listed.digest.strip_prefix("sha256:").is_none_or(|listed| !listed.eq_ignore_ascii_case(&digest)) {
        return Err(mismatch(slug, "a file does not have the digest that was listed"));
    }
    Ok(VerifiedFile { bytes })
}

#[derive(Deserialize)]
struct ReadResult {
    contents: Vec<Content>,
}

#[derive(Deserialize)]
struct Content {
    uri: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    blob: Option<String>,
}

fn mismatch(slug: &Slug, problem: &str) -> ConnectorError {
    ConnectorError::Protocol { slug: slug.clone(), problem: format!("a skill was not loaded: {problem}") }
}

/// The YAML between the two `---` lines at the beginning.
fn front_matter(text: &str) -> Option<Map<String, Value>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let rest = text.strip_prefix("---\n").or_else(|| text.strip_prefix("---\r\n"))?;
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end_matches(['\r', '\n']) == "---" {
            return serde_saphyr::from_str(&rest[..end]).ok();
        }
        end += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::connector::MockConnector;
    use crate::feature::ServerResult;

    const SKILL_MD: &str = "---\nname: pdf\ndescription: Fill, and sign\n---\n\nBody\n";
    const URI: &str = "skill://pdf/SKILL.md";

    fn skill() -> Skill {
        let digest = sha256_hex(SKILL_MD);
        serde_json::from_value(json!({
            "uri": URI,
            "frontmatter": {"name": "pdf", "description": "Fill, and sign"},
            "resources": [{"uri": URI, "digest": format!("sha256:{digest}"), "size": SKILL_MD.len()}]
        }))
        .unwrap()
    }

    async fn load_from(skill: &Skill, content: Value) -> Result<VerifiedFile, String> {
        let mut connector = MockConnector::new();
        connector.expect_read_resource().returning(move |_| {
            let result = json!({"contents": [content]});
            Ok(ServerResult::new(serde_json::value::to_raw_value(&result).unwrap()))
        });
        load(&connector, &Slug::verbatim("s"), skill).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_skill_that_is_what_was_listed_is_loaded() {
        for content in
            [json!({"uri": URI, "text": SKILL_MD}), json!({"uri": URI, "blob": STANDARD.encode(SKILL_MD)})]
        {
            assert_eq!(load_from(&skill(), content).await.unwrap().text(), Some(SKILL_MD));
        }
    }

    #[tokio::test]
    async fn each_discrepancy_keeps_the_skill_from_being_loaded() {
        let text = |text: &str| json!({"uri": URI, "text": text});
        let refused = |outcome: Result<VerifiedFile, String>| outcome.unwrap_err();
        assert!(
            refused(load_from(&skill(), text(&SKILL_MD.replace("Body", "Evil"))).await).contains("digest")
        );
        assert!(refused(load_from(&skill(), text(&format!("{SKILL_MD}more"))).await).contains("size"));
        assert!(
            refused(load_from(&skill(), json!({"uri": "skill://other", "text": SKILL_MD})).await)
                .contains("another")
        );
        assert!(refused(load_from(&skill(), json!({"uri": URI, "blob": "%"})).await).contains("Base64"));
        let mut other = skill();
        other.frontmatter.insert("description".to_owned(), "something else".into());
        assert!(refused(load_from(&other, text(SKILL_MD)).await).contains("front matter"));
        let mut unlisted = skill();
        unlisted.resources.clear();
        assert!(refused(load_from(&unlisted, text(SKILL_MD)).await).contains("not among"));
    }

    #[test]
    fn front_matter_is_what_stands_between_the_first_two_rules() {
        let read = |text: &str| front_matter(text).map(Value::Object);
        assert_eq!(read("---\na: 1\nb: [x]\n---\n---\n"), Some(json!({"a": 1, "b": ["x"]})));
        assert_eq!(read("\u{feff}---\r\na: b\r\n---"), Some(json!({"a": "b"})));
        assert_eq!(read("a: 1\n---\n"), None);
        assert_eq!(read("---\na: 1\n"), None);
        assert_eq!(read("---\n- a\n---\n"), None);
    }
}
