//! `logout`: who the user is at a registry, forgotten.

use super::{Command, Context};
use crate::failure::{Failure, chain};
use crate::grammar::{Arity, Grammar};
use crate::settings::credentials::{HUB, hostname};

pub(super) static COMMAND: Command<()> = Command {
    names: &["logout"],
    about: "Log out from a registry",
    usage: "[SERVER]",
    grammar: Grammar {
        flags: &[],
        interspersed: true,
        arity: Arity::AtMost(1),
    },
    run,
};

fn run(context: &Context, (): (), words: Vec<String>) -> Result<u8, Failure> {
    let typed = words.first().map_or("", String::as_str);
    let server = if typed.is_empty() {
        HUB
    } else {
        hostname(typed)
    };
    // Credentials were once kept under addresses of other forms.
    let keys = if typed.is_empty() {
        vec![HUB.to_owned()]
    } else {
        let forms = ["", "http://", "https://"].map(|scheme| format!("{scheme}{server}"));
        let mut keys = vec![typed.to_owned()];
        keys.extend(forms.into_iter().filter(|form| form != typed));
        keys
    };
    context
        .printer
        .line(&format!("Removing login credentials for {server}"))?;
    let credentials = context.credentials();
    let failures: Vec<(&str, String)> = keys
        .iter()
        .filter_map(|key| Some((key.as_str(), chain(&credentials.erase(key).err()?))))
        .collect();
    // Under the other forms there is hardly ever anything, which programs that keep credentials may complain of.
    if failures.iter().any(|(key, _)| *key == server) {
        let told: Vec<String> = failures
            .iter()
            .map(|(key, why)| format!("{key}: {why}"))
            .collect();
        let told = told.join("\n");
        context
            .printer
            .note(&format!("WARNING: could not erase credentials:\n{told}"));
    }
    Ok(0)
}
