//! The environment variables of the CNCF registry, read as flags.
//!
//! Each variable that is served stands for a flag, so that there is one way to read a value and one
//! place where it ends up; a flag on the command line comes later and wins. A variable that is not
//! served, or of no known name, is an error: whoever set it meant something by it.

use std::ffi::OsString;

/// What a variable means.
enum Meaning {
    /// The value of a flag.
    Flag(&'static str),
    /// A flag that is given when the value is true.
    WhenTrue(&'static str),
    /// A flag that is given when the value is false.
    WhenFalse(&'static str),
    /// Only these values are what this server does anyway.
    Only(&'static [&'static str], &'static str),
    /// Not served, and why.
    Refused(&'static str),
    /// Nothing here needs it, and nothing is lost.
    NotNeeded(&'static str),
}

use Meaning::{Flag, NotNeeded, Only, Refused, WhenFalse, WhenTrue};

const NO_FILE: &str = "settings are flags and variables, not a file";
const NO_S3: &str = "only the file system is served as storage";

/// The variables, without `REGISTRY_`. A name that ends in `*` is all that begin so.
const VARIABLES: &[(&str, Meaning)] = &[
    (
        "VERSION",
        Only(&["0.1"], "it is the version of a file's form"),
    ),
    ("CONFIGURATION_PATH", Refused(NO_FILE)),
    ("LOG_LEVEL", Flag("--log-level")),
    ("LOG_FORMATTER", Flag("--log-format")),
    ("LOG_ACCESSLOG_DISABLED", WhenFalse("--access-log")),
    ("HTTP_ADDR", Flag("--listen")),
    ("HTTP_NET", Only(&["tcp"], "only TCP is listened on")),
    ("HTTP_HOST", Flag("--url")),
    (
        "HTTP_RELATIVEURLS",
        Only(&["true"], "the Location of an answer is a path always"),
    ),
    ("HTTP_DRAINTIMEOUT", Flag("--drain")),
    (
        "HTTP_SECRET",
        NotNeeded("uploads are known by their directory, also after a restart"),
    ),
    ("HTTP_TLS_CERTIFICATE", Flag("--tls-certificate")),
    ("HTTP_TLS_KEY", Flag("--tls-key")),
    ("HTTP_TLS_CLIENTCAS", Flag("--tls-client-ca")),
    ("HTTP_TLS_MINIMUMTLS", Flag("--tls-minimum")),
    (
        "HTTP_TLS_LETSENCRYPT_*",
        Refused("certificates are files; another program may renew them"),
    ),
    (
        "HTTP_HTTP2_DISABLED",
        Only(&["true"], "HTTP/2 is not served"),
    ),
    ("HTTP_H2C_ENABLED", Only(&["false"], "HTTP/2 is not served")),
    ("HTTP_DEBUG_ADDR", Flag("--metrics-listen")),
    (
        "HTTP_DEBUG_PROMETHEUS_ENABLED",
        Only(&["true"], "metrics are served at the debug address always"),
    ),
    (
        "HTTP_DEBUG_PROMETHEUS_PATH",
        Only(&["/metrics"], "metrics have this path"),
    ),
    ("AUTH", Flag("--auth")),
    ("AUTH_HTPASSWD_PATH", Flag("--htpasswd")),
    ("AUTH_HTPASSWD_REALM", Flag("--realm")),
    ("AUTH_TOKEN_REALM", Flag("--token-realm")),
    ("AUTH_TOKEN_SERVICE", Flag("--token-service")),
    ("AUTH_TOKEN_ISSUER", Flag("--token-issuer")),
    ("AUTH_TOKEN_ROOTCERTBUNDLE", Flag("--token-trust")),
    (
        "AUTH_TOKEN_AUTOREDIRECT",
        Only(
            &["false"],
            "without a realm, clients are sent to /token of this server",
        ),
    ),
    (
        "AUTH_SILLY_*",
        Refused("it lets everybody in who says anything"),
    ),
    ("STORAGE", Only(&["filesystem"], NO_S3)),
    ("STORAGE_FILESYSTEM_ROOTDIRECTORY", Flag("--root")),
    ("STORAGE_DELETE_ENABLED", WhenFalse("--no-delete")),
    (
        "STORAGE_REDIRECT_DISABLE",
        Only(&["true"], "clients are redirected nowhere"),
    ),
    (
        "STORAGE_CACHE_BLOBDESCRIPTOR",
        Only(&["inmemory"], "descriptors are kept in memory"),
    ),
    (
        "STORAGE_CACHE_LAYERINFO",
        Only(&["inmemory"], "descriptors are kept in memory"),
    ),
    (
        "STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED",
        Only(
            &["true"],
            "uploads that nobody goes on with go; --keep-uploads says when",
        ),
    ),
    (
        "STORAGE_MAINTENANCE_UPLOADPURGING_AGE",
        Flag("--keep-uploads"),
    ),
    (
        "STORAGE_MAINTENANCE_UPLOADPURGING_INTERVAL",
        Flag("--collect-every"),
    ),
    (
        "STORAGE_MAINTENANCE_UPLOADPURGING_DRYRUN",
        Only(&["false"], "there is no trial run"),
    ),
    (
        "STORAGE_MAINTENANCE_READONLY_ENABLED",
        WhenTrue("--read-only"),
    ),
    ("STORAGE_S3_*", Refused(NO_S3)),
    ("STORAGE_AZURE_*", Refused(NO_S3)),
    ("STORAGE_GCS_*", Refused(NO_S3)),
    ("STORAGE_SWIFT_*", Refused(NO_S3)),
    ("STORAGE_OSS_*", Refused(NO_S3)),
    ("STORAGE_INMEMORY_*", Refused(NO_S3)),
    ("PROXY_REMOTEURL", Flag("--proxy-all")),
    ("PROXY_USERNAME", Flag("--proxy-username")),
    ("PROXY_PASSWORD", Flag("--proxy-password")),
    ("PROXY_TTL", Flag("--proxy-keep")),
    (
        "HEALTH_STORAGEDRIVER_ENABLED",
        Only(&["true"], "/readyz looks at the storage always"),
    ),
    ("REDIS_*", Refused("descriptors are kept in memory")),
    (
        "NOTIFICATIONS_*",
        Refused("writes are told of in the log only (audit)"),
    ),
    ("MIDDLEWARE_*", Refused("there is no middleware")),
    (
        "COMPATIBILITY_SCHEMA1_*",
        Refused("manifests of schema 1 are not accepted"),
    ),
];

/// Why the environment is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {why}")]
pub(super) struct EnvironmentError {
    variable: String,
    why: String,
}

/// What the environment says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    /// Each variable with the arguments it stands for.
    pub(super) arguments: Vec<(String, Vec<OsString>)>,
    /// Variables that nothing here needs, each with the reason.
    pub(super) not_needed: Vec<(String, &'static str)>,
}

impl Environment {
    /// Reads the variables.
    pub(super) fn read(
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, EnvironmentError> {
        let mut environment = Self::default();
        let mut ours: Vec<(String, OsString)> = variables
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with("REGISTRY_") && !is_link(name))
            .collect();
        ours.sort();
        for (variable, value) in ours {
            environment.add(variable, value)?;
        }
        Ok(environment)
    }

    fn add(&mut self, variable: String, value: OsString) -> Result<(), EnvironmentError> {
        let failed = |why: String| EnvironmentError {
            variable: variable.clone(),
            why,
        };
        let meaning =
            meaning(&variable).ok_or_else(|| failed("there is no such setting here".to_owned()))?;
        let text = value.to_string_lossy().into_owned();
        let arguments = match meaning {
            Flag(flag) => {
                let mut argument = OsString::from(flag);
                argument.push("=");
                argument.push(&value);
                vec![argument]
            }
            WhenTrue(flag) | WhenFalse(flag) => {
                let given = boolean(&text)
                    .ok_or_else(|| failed(format!("{text:?} is neither true nor false")))?;
                let wanted = matches!(meaning, WhenTrue(_));
                if given != wanted {
                    return Ok(());
                }
                vec![flag.into()]
            }
            Only(values, why) => {
                if !values.contains(&text.as_str()) {
                    return Err(failed(format!("{text:?} is not served: {why}")));
                }
                return Ok(());
            }
            Refused(why) => return Err(failed(format!("not served: {why}"))),
            NotNeeded(why) => {
                self.not_needed.push((variable, why));
                return Ok(());
            }
        };
        self.arguments.push((variable, arguments));
        Ok(())
    }
}

fn meaning(variable: &str) -> Option<&'static Meaning> {
    let name = variable.strip_prefix("REGISTRY_")?;
    let found = VARIABLES
        .iter()
        .find(|(known, _)| match known.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == *known,
        });
    found.map(|(_, meaning)| meaning)
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "t" | "yes" | "on" => Some(true),
        "false" | "0" | "f" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Returns whether a variable is one that Kubernetes and container links set for a service called
/// "registry": `REGISTRY_SERVICE_HOST`, `REGISTRY_PORT_5000_TCP_ADDR`. These are nobody's settings.
fn is_link(variable: &str) -> bool {
    let Some(name) = variable.strip_prefix("REGISTRY_") else {
        return false;
    };
    name == "PORT"
        || name == "NAME"
        || name.starts_with("ENV_")
        || name.starts_with("SERVICE_HOST")
        || name.starts_with("SERVICE_PORT")
        || name
            .strip_prefix("PORT_")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Environment, String> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Environment::read(pairs).map_err(|error| error.to_string())
    }

    fn arguments(pairs: &[(&str, &str)]) -> Vec<String> {
        let environment = read(pairs).expect("accepted");
        let arguments = environment.arguments.into_iter().flat_map(|(_, list)| list);
        arguments
            .map(|one| one.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn variables_stand_for_flags() {
        assert_eq!(
            arguments(&[
                ("REGISTRY_HTTP_ADDR", ":5000"),
                ("REGISTRY_STORAGE_DELETE_ENABLED", "false"),
                ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "false"),
                ("REGISTRY_STORAGE", "filesystem"),
                ("REGISTRY_PROXY_REMOTEURL", "https://quay.io"),
                ("PATH", "/bin"),
                ("REGISTRY_PORT", "tcp://10.0.0.1:5000"),
                ("REGISTRY_PORT_5000_TCP_ADDR", "10.0.0.1"),
                ("REGISTRY_SERVICE_HOST", "10.0.0.1"),
            ]),
            [
                "--listen=:5000",
                "--proxy-all=https://quay.io",
                "--no-delete"
            ]
        );
        assert_eq!(
            arguments(&[("REGISTRY_STORAGE_DELETE_ENABLED", "true")]),
            Vec::<String>::new()
        );
        let secret = read(&[("REGISTRY_HTTP_SECRET", "x")]).expect("accepted");
        assert_eq!(secret.not_needed.len(), 1);
    }

    #[test]
    fn what_is_not_served_is_refused_by_name() {
        for (name, value) in [
            ("REGISTRY_HTTP_PREFIX", "/x"),
            ("REGISTRY_STORAGE", "gcs"),
            ("REGISTRY_STORAGE_S3_BUCKET", "b"),
            ("REGISTRY_NOTIFICATIONS_ENDPOINTS", "[]"),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "maybe"),
            ("REGISTRY_HTTP_ADR", ":5000"),
            ("REGISTRY_HTTP_HTTP2_DISABLED", "false"),
        ] {
            let error = read(&[(name, value)]).expect_err(name);
            assert!(error.starts_with(&format!("{name}: ")), "{error}");
        }
    }
}
