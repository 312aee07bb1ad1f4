//! Pull credentials, from where podman and docker keep them (containers-auth.json(5)).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Error;
use crate::input;

/// User and password.
pub(super) type Login = (String, String);

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Auth {
    #[serde(default)]
    auth: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Login(Login),
    /// `docker-credential-NAME` knows it.
    Helper(String),
}

impl AuthFile {
    /// What the file has for `path` (such as `vendor/driver`) of a registry: the longest of its keys that fits.
    fn find(&self, registry: &str, path: &str) -> Result<Option<Found>, String> {
        let mut wanted = format!("{registry}/{path}");
        loop {
            let mut entries = self.auths.iter();
            if let Some((key, entry)) = entries.find(|(key, _)| plain(key) == wanted) {
                // Docker notes with an empty entry that a helper has the words.
                if let Some(auth) = entry.auth.as_deref().filter(|auth| !auth.is_empty()) {
                    return login(auth)
                        .map(|login| Some(Found::Login(login)))
                        .ok_or_else(|| format!("its auths entry {key:?} is not USER:PASSWORD in base64"));
                }
            }
            match wanted.rsplit_once('/') {
                Some((shorter, _)) => wanted = shorter.to_owned(),
                None => break,
            }
        }
        let helper = self.cred_helpers.get(registry).or(self.creds_store.as_ref());
        Ok(helper.map(|name| Found::Helper(name.clone())))
    }
}

/// A key without the scheme and the version of an API, which `docker login` writes for Docker Hub.
fn plain(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest).trim_end_matches('/');
    key.strip_suffix("/v1").or(key.strip_suffix("/v2")).unwrap_or(key)
}

fn login(auth: &str) -> Option<Login> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// The files that may have credentials, in the order of their looking up. One that the environment names is the only one.
fn files(variable: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let at = |name: &str, rest: &str| {
        variable(name).filter(|value| !value.is_empty()).map(|value| PathBuf::from(value).join(rest))
    };
    if let Some(file) = variable("REGISTRY_AUTH_FILE").filter(|value| !value.is_empty()) {
        return vec![PathBuf::from(file)];
    }
    [
        at("XDG_RUNTIME_DIR", "containers/auth.json"),
        at("XDG_CONFIG_HOME", "containers/auth.json").or_else(|| at("HOME", ".config/containers/auth.json")),
        at("DOCKER_CONFIG", "config.json").or_else(|| at("HOME", ".docker/config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The credentials for `path` of a registry; none where no file has any.
pub(super) fn look_up(registry: &str, path: &str) -> Result<Option<Login>, Error> {
    for file in files(&|name| std::env::var_os(name)) {
        let bad = |reason: String| Error::Credentials { path: file.clone(), reason };
        let text = match input::read(&file, input::TEXT) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(bad(error.to_string())),
        };
        let parsed: AuthFile = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        match parsed.find(registry, path).map_err(bad)? {
            Some(Found::Login(login)) => return Ok(Some(login)),
            Some(Found::Helper(name)) => {
                if let Some(login) = ask(&name, registry).map_err(bad)? {
                    return Ok(Some(login));
                }
            }
            None => {}
        }
    }
    Ok(None)
}

/// Asks a credential helper; none where it knows nothing of the registry.
fn ask(name: &str, registry: &str) -> Result<Option<Login>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    if name.is_empty() || name.contains('/') {
        return Err(format!("{name:?} is no name of a credential helper"));
    }
    let program = format!("docker-credential-{name}");
    let failed = |error: io::Error| format!("cannot run {program}, which it names: {error}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that answers without reading closes its input.
        let _ = input.write_all(registry.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Ok(None);
    }
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("the answer of {program} is odd: {error}"))?;
    Ok(Some((answer.username, answer.secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(json: &str, registry: &str, path: &str) -> Result<Option<Found>, String> {
        serde_json::from_str::<AuthFile>(json).expect("JSON").find(registry, path)
    }

    fn basic(text: &str) -> String {
        STANDARD.encode(text)
    }

    #[test]
    fn the_longest_key_that_fits_counts() {
        let json = format!(
            r#"{{"auths": {{"quay.io": {{"auth": "{}"}}, "quay.io/vendor": {{"auth": "{}"}}, "https://index.docker.io/v1/": {{"auth": "{}"}}}}}}"#,
            basic("all:1"),
            basic("vendor:2:3"),
            basic("hub:4")
        );
        let login = |user: &str, password: &str| Ok(Some(Found::Login((user.into(), password.into()))));
        assert_eq!(find(&json, "quay.io", "vendor/driver"), login("vendor", "2:3"));
        assert_eq!(find(&json, "quay.io", "other/driver"), login("all", "1"));
        assert_eq!(find(&json, "index.docker.io", "a/b"), login("hub", "4"));
        assert_eq!(find(&json, "quay.io.evil.example", "vendor/driver"), Ok(None));
    }

    #[test]
    fn helpers_are_named_by_registry_or_for_all() {
        let json = r#"{"auths": {"quay.io": {}}, "credHelpers": {"quay.io": "one"}, "credsStore": "all"}"#;
        assert_eq!(find(json, "quay.io", "a/b"), Ok(Some(Found::Helper("one".into()))));
        assert_eq!(find(json, "ghcr.io", "a/b"), Ok(Some(Found::Helper("all".into()))));
        assert!(ask("../x", "quay.io").is_err());
        assert!(ask("day1-that-is-not-there", "quay.io").expect_err("absent").contains("docker-credential-day1"));
    }

    #[test]
    fn what_is_no_login_is_refused() {
        let told = find(r#"{"auths": {"quay.io": {"auth": "!"}}}"#, "quay.io", "a").expect_err("refused");
        assert!(told.contains("USER:PASSWORD"), "{told}");
    }

    #[test]
    fn the_environment_says_where_to_look() {
        let paths = |set: &[(&str, &str)]| {
            let of = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
            files(&of).iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(paths(&[("REGISTRY_AUTH_FILE", "/a.json"), ("HOME", "/h")]), ["/a.json"]);
        let all = paths(&[("XDG_RUNTIME_DIR", "/run/user/0"), ("HOME", "/h")]);
        assert_eq!(
            all,
            ["/run/user/0/containers/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json"]
        );
        assert_eq!(paths(&[("DOCKER_CONFIG", "/d")]), ["/d/config.json"]);
    }
}
