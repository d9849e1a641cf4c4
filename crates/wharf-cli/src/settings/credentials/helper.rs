//! Programs that keep credentials: `docker-credential-NAME`, by Docker's protocol.
//!
//! Such a program is run once for each thing asked of it, which is its argument: `get` and `erase` read an address on
//! standard input, `store` a document; `get` answers with a document. It complains on standard output, and ends with
//! another code than 0. It may ask the user for a pass phrase in a window of its own, so that no time is set for it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use wharf_wire::AuthConfig;

/// What the programs' names begin with.
pub(super) const PREFIX: &str = "docker-credential-";

/// What a program says that has nothing for an address.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// The name under which an identity token is kept in place of a password.
const TOKEN: &str = "<token>";

/// Most bytes read of an answer.
const LIMIT: u64 = 1 << 20;

/// A program that does not help.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelperError {
    /// The configuration names what is no name of a program: a path would run anything that lies there.
    #[error("invalid name of a credential helper: {0:?}")]
    Name(String),
    /// The program cannot be run, or failed.
    #[error("error {doing} credentials - err: {cause}, out: `{said}`")]
    Failed {
        /// What was asked for.
        doing: &'static str,
        /// How it ended.
        cause: String,
        /// What it said.
        said: String,
    },
    /// The answer is not what it should be.
    #[error("{program}: cannot understand the answer")]
    Answer {
        /// The program.
        program: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// A document of the protocol.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Document {
    #[serde(rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: String,
}

/// One such program.
#[derive(Debug)]
pub(super) struct Helper {
    program: String,
}

impl Helper {
    /// The program of that name.
    pub(super) fn named(name: &str) -> Result<Self, HelperError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(HelperError::Name(name.to_owned()));
        }
        Ok(Self {
            program: format!("{PREFIX}{name}"),
        })
    }

    /// Asks for what is kept for an address.
    pub(super) fn get(&self, server: &str) -> Result<Option<AuthConfig>, HelperError> {
        let (ended, answer) = self.run("get", "getting", server.as_bytes())?;
        let said = String::from_utf8_lossy(&answer);
        if let Some(cause) = ended {
            if said.trim() == NOT_FOUND {
                return Ok(None);
            }
            return Err(failed("getting", cause, &said));
        }
        let document: Document =
            serde_json::from_slice(&answer).map_err(|source| HelperError::Answer {
                program: self.program.clone(),
                source,
            })?;
        let mut auth = AuthConfig {
            server_address: server.to_owned(),
            ..AuthConfig::default()
        };
        if document.username == TOKEN {
            auth.identity_token = document.secret;
        } else {
            (auth.username, auth.password) = (document.username, document.secret);
        }
        Ok(Some(auth))
    }

    /// Has credentials kept.
    pub(super) fn store(&self, auth: &AuthConfig) -> Result<(), HelperError> {
        let mut document = Document {
            server_url: auth.server_address.clone(),
            username: auth.username.clone(),
            secret: auth.password.clone(),
        };
        if !auth.identity_token.is_empty() {
            TOKEN.clone_into(&mut document.username);
            document.secret.clone_from(&auth.identity_token);
        }
        let mut bytes = serde_json::to_vec(&document).expect("text is written as JSON");
        bytes.push(b'\n');
        let (ended, answer) = self.run("store", "storing", &bytes)?;
        ended.map_or(Ok(()), |cause| {
            Err(failed("storing", cause, &String::from_utf8_lossy(&answer)))
        })
    }

    /// Has what is kept for an address forgotten.
    pub(super) fn erase(&self, server: &str) -> Result<(), HelperError> {
        let (ended, answer) = self.run("erase", "erasing", server.as_bytes())?;
        let said = String::from_utf8_lossy(&answer);
        match ended {
            Some(cause) if said.trim() != NOT_FOUND => Err(failed("erasing", cause, &said)),
            _ => Ok(()),
        }
    }

    /// Asks for the addresses that something is kept for.
    pub(super) fn list(&self) -> Result<Vec<String>, HelperError> {
        let (ended, answer) = self.run("list", "listing", b"unused")?;
        if let Some(cause) = ended {
            return Err(failed("listing", cause, &String::from_utf8_lossy(&answer)));
        }
        let names: Option<BTreeMap<String, String>> =
            serde_json::from_slice(&answer).map_err(|source| HelperError::Answer {
                program: self.program.clone(),
                source,
            })?;
        Ok(names.unwrap_or_default().into_keys().collect())
    }

    /// Runs the program; returns how it failed, if it did, and what it said.
    fn run(
        &self,
        action: &str,
        doing: &'static str,
        input: &[u8],
    ) -> Result<(Option<String>, Vec<u8>), HelperError> {
        let outcome = || -> io::Result<_> {
            let mut child = Command::new(&self.program)
                .arg(action)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let mut answer = Vec::new();
            let (input_pipe, output_pipe) = (child.stdin.take(), child.stdout.take());
            std::thread::scope(|scope| {
                if let Some(mut pipe) = input_pipe {
                    // One that does not read what it is told says so, if it matters, by how it ends.
                    scope.spawn(move || pipe.write_all(input).ok());
                }
                match output_pipe {
                    Some(pipe) => pipe.take(LIMIT).read_to_end(&mut answer).map(drop),
                    None => Ok(()),
                }
            })?;
            Ok((child.wait()?, answer))
        };
        match outcome() {
            Ok((status, answer)) if status.success() => Ok((None, answer)),
            Ok((status, answer)) => {
                // `exit status: 1`, which others write without the colon.
                Ok((Some(status.to_string().replacen(": ", " ", 1)), answer))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(failed(
                doing,
                format!(
                    "exec: {:?}: executable file not found in $PATH",
                    self.program
                ),
                "",
            )),
            Err(error) => {
                let cause = format!(
                    "exec: {:?}: {}",
                    self.program,
                    crate::failure::errno_text(&error)
                );
                Err(failed(doing, cause, ""))
            }
        }
    }
}

fn failed(doing: &'static str, cause: String, said: &str) -> HelperError {
    HelperError::Failed {
        doing,
        cause,
        said: said.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Keeps what it is told in a file beside it, and complains as such programs do.
    const KEEPER: &str = r#"#!/bin/sh
kept="$0.kept"
case "$1" in
get) read -r server; grep -q "\"$server\"" "$kept" 2>/dev/null && cat "$kept" && exit 0
     echo "credentials not found in native keychain"; exit 1;;
store) cat > "$kept";;
list) echo '{"r:5000":"me","other":"me"}';;
erase) read -r server; rm "$kept" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; };;
esac
"#;

    /// Writes a script by another process: one that we still had open for writing could not be run.
    fn script(directory: &Path, text: &str) -> Helper {
        let path = directory.join("helper");
        let mut writer = Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod 700 \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut pipe = writer.stdin.take().expect("a pipe");
        pipe.write_all(text.as_bytes()).expect("a reader");
        drop(pipe);
        assert!(writer.wait().expect("our child").success());
        Helper {
            program: path.display().to_string(),
        }
    }

    #[test]
    fn a_program_keeps_finds_and_forgets() {
        let directory = tempfile::tempdir().expect("a directory");
        let helper = script(directory.path(), KEEPER);
        assert_eq!(helper.get("r:5000").expect("an answer"), None);
        let mut auth = AuthConfig {
            username: "me".to_owned(),
            password: "secret \"\u{e9}".to_owned(),
            server_address: "r:5000".to_owned(),
            ..AuthConfig::default()
        };
        helper.store(&auth).expect("kept");
        assert_eq!(helper.get("r:5000").expect("an answer"), Some(auth.clone()));
        assert_eq!(helper.get("other").expect("an answer"), None);
        auth.identity_token = "token".to_owned();
        helper.store(&auth).expect("kept");
        let kept = helper.get("r:5000").expect("an answer").expect("kept");
        assert_eq!(
            (
                kept.username.as_str(),
                kept.password.as_str(),
                kept.identity_token.as_str()
            ),
            ("", "", "token")
        );
        assert_eq!(helper.list().expect("a list"), ["other", "r:5000"]);
        helper.erase("r:5000").expect("forgotten");
        helper.erase("r:5000").expect("nothing to forget");
        assert_eq!(helper.get("r:5000").expect("an answer"), None);
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let directory = tempfile::tempdir().expect("a directory");
        let helper = script(directory.path(), "#!/bin/sh\necho locked; exit 3\n");
        let error = helper.get("r").expect_err("locked").to_string();
        assert_eq!(
            error,
            "error getting credentials - err: exit status 3, out: `locked`"
        );
        let error = helper.store(&AuthConfig::default()).expect_err("locked");
        assert!(
            error
                .to_string()
                .starts_with("error storing credentials - err: exit status 3")
        );
        let error = helper.erase("r").expect_err("locked");
        assert!(
            error
                .to_string()
                .starts_with("error erasing credentials - err: exit status 3")
        );
        let helper = script(directory.path(), "#!/bin/sh\necho '{'\n");
        assert!(matches!(helper.get("r"), Err(HelperError::Answer { .. })));
        // Says more than is read, and reads nothing of what it is told.
        let helper = script(directory.path(), "#!/bin/sh\nexec cat /dev/zero\n");
        assert!(helper.get(&"r".repeat(1 << 20)).is_err());
    }
}
