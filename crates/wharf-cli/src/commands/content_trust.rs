//! Docker's content trust: signatures that notary, a service of its own, keeps. There is none here.

use crate::environment;
use crate::grammar::parse_bool;

/// Signatures were asked for.
#[derive(Debug, thiserror::Error)]
#[error(
    "content trust asks for signatures kept by notary, which is not served: let the engine's trust policy ask for signatures instead, and leave DOCKER_CONTENT_TRUST unset and --disable-content-trust as it is"
)]
pub(super) struct ContentTrust;

/// Refuses what asks for signatures: the flag, else the environment. Unlike there, the flag says no when it is true.
pub(super) fn refuse(disabled: Option<bool>) -> Result<(), ContentTrust> {
    let asked = match disabled {
        Some(disabled) => !disabled,
        None => asked_for(environment::read(environment::DOCKER_CONTENT_TRUST).as_deref()),
    };
    if asked { Err(ContentTrust) } else { Ok(()) }
}

/// What is no truth value asks for them, too.
fn asked_for(variable: Option<&str>) -> bool {
    variable.is_some_and(|text| parse_bool(text).unwrap_or(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_comes_before_the_environment() {
        assert!(refuse(Some(true)).is_ok());
        assert!(refuse(Some(false)).is_err());
        assert!(!asked_for(None) && !asked_for(Some("0")) && !asked_for(Some("false")));
        assert!(asked_for(Some("1")) && asked_for(Some("yes")));
    }
}
