//! Paths of the OCI distribution API. A repository's name may have any number of components.

/// What a path of the API is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// `/v2/`
    Ping,
    /// `/v2/NAME/manifests/REFERENCE`
    Manifest(String),
    /// `/v2/NAME/blobs/DIGEST`
    Blob(String),
    /// `/v2/NAME/tags/list`
    Tags,
    /// `/v2/NAME/blobs/uploads/[ID]`; empty id to begin one
    Upload(String),
    /// Anything else.
    Other,
}

/// A path of the API, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RegistryPath {
    /// The repository's name; empty for [`Subject::Ping`] and [`Subject::Other`].
    pub(super) repository: String,
    /// What it is about.
    pub(super) subject: Subject,
}

impl RegistryPath {
    /// Takes a path (without query) apart.
    pub(super) fn parse(path: &str) -> Self {
        let other = || Self { repository: String::new(), subject: Subject::Other };
        let Some(rest) = path.strip_prefix("/v2/").or((path == "/v2").then_some("")) else { return other() };
        if rest.is_empty() {
            return Self { repository: String::new(), subject: Subject::Ping };
        }
        let parts: Vec<&str> = rest.split('/').collect();
        let (name, subject) = match parts.as_slice() {
            [name @ .., "manifests", reference] => (name, Subject::Manifest((*reference).to_owned())),
            [name @ .., "tags", "list"] => (name, Subject::Tags),
            [name @ .., "blobs", "uploads"] => (name, Subject::Upload(String::new())),
            [name @ .., "blobs", "uploads", id] => (name, Subject::Upload((*id).to_owned())),
            [name @ .., "blobs", digest] => (name, Subject::Blob((*digest).to_owned())),
            _ => return other(),
        };
        Self { repository: name.join("/"), subject }
    }

    /// The subject's name in the timeline.
    pub(super) fn subject_name(&self) -> &'static str {
        match self.subject {
            Subject::Ping => "ping",
            Subject::Manifest(_) => "manifest",
            Subject::Blob(_) => "blob",
            Subject::Tags => "tags",
            Subject::Upload(_) | Subject::Other => "other",
        }
    }

    /// The tag or digest; empty if it has none.
    pub(super) fn reference(&self) -> &str {
        match &self.subject {
            Subject::Manifest(reference) | Subject::Blob(reference) => reference,
            _ => "",
        }
    }
}

/// Whether a name is one that the distribution specification allows. Such a name holds no `..`, no empty
/// component and no `+`.
pub(super) fn is_repository_name(name: &str) -> bool {
    name.len() <= 255 && name.split('/').all(is_name_component)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, as the distribution specification writes it.
fn is_name_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let well_edged = component.starts_with(alphanumeric) && component.ends_with(alphanumeric);
    well_edged
        && component
            .split(alphanumeric)
            .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

/// Whether a text is a tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub(super) fn is_tag(tag: &str) -> bool {
    let mut bytes = tag.bytes();
    tag.len() <= 128
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The 64 hex digits of a `sha256:` digest.
pub(super) fn sha256_hex(digest: &str) -> Option<&str> {
    digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_depth_are_found() {
        let path = RegistryPath::parse("/v2/quay.io/vendor/driver/manifests/6.12.0-1");
        assert_eq!(path.repository, "quay.io/vendor/driver");
        assert_eq!(path.subject, Subject::Manifest("6.12.0-1".into()));
        assert_eq!(RegistryPath::parse("/v2/driver/tags/list").repository, "driver");
        assert_eq!(RegistryPath::parse("/v2/a/manifests/b/blobs/sha256:0").repository, "a/manifests/b");
        assert_eq!(RegistryPath::parse("/v2/a/b/blobs/uploads/").subject, Subject::Upload(String::new()));
        assert_eq!(RegistryPath::parse("/v2/a/b/blobs/uploads/x").subject, Subject::Upload("x".into()));
        assert_eq!(RegistryPath::parse("/v2/").subject, Subject::Ping);
        assert_eq!(RegistryPath::parse("/v2").subject, Subject::Ping);
        assert_eq!(RegistryPath::parse("/v1/x").subject, Subject::Other);
    }

    #[test]
    fn names_and_tags_follow_the_specification() {
        for good in ["a", "quay.io/vendor/driver", "a__b", "a---b", "0/1"] {
            assert!(is_repository_name(good), "{good}");
        }
        for bad in ["", "..", "a/../b", "a//b", "A", "a+b", "a..b", "a._b", "-a", "a/", "a___b"] {
            assert!(!is_repository_name(bad), "{bad}");
        }
        assert!(is_tag("6.12.0_rt") && is_tag("_x") && is_tag(&"a".repeat(128)));
        assert!(!is_tag("") && !is_tag(".x") && !is_tag("a+b") && !is_tag("a/b") && !is_tag(&"a".repeat(129)));
    }

    #[test]
    fn only_whole_digests_are_digests() {
        assert!(sha256_hex(&format!("sha256:{}", "0".repeat(64))).is_some());
        assert!(sha256_hex("sha256:../x").is_none());
        assert!(sha256_hex(&format!("sha512:{}", "0".repeat(64))).is_none());
    }
}
