//! What a flag asks of the engine beyond the command it belongs to.

/// What an engine must be for a flag to mean anything to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Any engine will do.
    Nothing,
    /// The API version, 1.x.
    Api(u32),
    /// It runs on Windows.
    Windows,
    /// Its experimental features are enabled.
    Experimental,
}

impl Needs {
    /// Notes that the flag was typed.
    pub(super) fn note(self, flag: &'static str, demands: &mut Vec<Demand>) {
        if self != Self::Nothing {
            demands.push(Demand { flag, needs: self });
        }
    }
}

/// A flag that was typed and what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// The flag, without dashes.
    pub flag: &'static str,
    /// What it needs.
    pub needs: Needs,
}

impl Demand {
    /// What to say when an engine that speaks the API version 1.`minor` cannot meet the demand.
    /// Engines for Windows do not exist for us, and none of ours has experimental features.
    #[must_use]
    pub fn refusal(self, minor: u32) -> Option<String> {
        let flag = self.flag;
        match self.needs {
            Needs::Api(least) if least > minor => Some(format!(
                "\"--{flag}\" requires API version 1.{least}, but the Docker daemon API version is 1.{minor}"
            )),
            Needs::Nothing | Needs::Api(_) => None,
            Needs::Windows => Some(format!(
                "\"--{flag}\" is only supported on a Docker daemon running on windows, but the Docker daemon is running on linux"
            )),
            Needs::Experimental => Some(format!(
                "\"--{flag}\" is only supported on a Docker daemon with experimental features enabled"
            )),
        }
    }
}
