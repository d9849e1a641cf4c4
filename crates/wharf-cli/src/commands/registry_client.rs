//! Registries asked by the client itself, for the few things the engine is not needed for.

use std::time::Duration;

use wharf_distribution::{Client, Credentials, Proxies, Settings, SettingsError};
use wharf_wire::AuthConfig;

use crate::environment;

/// A client of registries, with the proxies of the environment. Nothing is read or connected before it is used.
pub(super) fn client(insecure: Option<&str>) -> Result<Client, SettingsError> {
    let read = |name: &str| {
        environment::read(name)
            .or_else(|| environment::read(&name.to_lowercase()))
            .unwrap_or_default()
    };
    let mut settings = Settings {
        insecure_registries: insecure.into_iter().map(str::to_owned).collect(),
        proxies: Proxies {
            http: read(environment::HTTP_PROXY),
            https: read(environment::HTTPS_PROXY),
            no_proxy: read(environment::NO_PROXY),
        },
        ..Settings::default()
    };
    // Somebody waits for the answer, and can ask again.
    settings.limits.tries = 2;
    settings.limits.connect = Duration::from_secs(15);
    Client::new(settings)
}

/// Who the user is, as that client takes it.
pub(super) fn credentials(auth: AuthConfig) -> Credentials {
    if !auth.registry_token.is_empty() {
        Credentials::RegistryToken(auth.registry_token)
    } else if !auth.identity_token.is_empty() {
        Credentials::IdentityToken(auth.identity_token)
    } else {
        Credentials::basic(auth.username, auth.password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_before_a_password() {
        let mut auth = AuthConfig::default();
        assert_eq!(credentials(auth.clone()), Credentials::None);
        auth.username = "me".to_owned();
        auth.password = "secret".to_owned();
        assert_eq!(
            credentials(auth.clone()),
            Credentials::basic("me", "secret")
        );
        auth.identity_token = "i".to_owned();
        assert_eq!(
            credentials(auth.clone()),
            Credentials::IdentityToken("i".to_owned())
        );
        auth.registry_token = "r".to_owned();
        assert_eq!(
            credentials(auth),
            Credentials::RegistryToken("r".to_owned())
        );
    }
}
