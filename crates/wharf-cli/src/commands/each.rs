//! The same for each of several objects.

use futures_util::future::join_all;

use super::Context;
use crate::client::{Client, ClientError};
use crate::failure::{Failure, chain};

/// Requests made at the same time.
const AT_ONCE: usize = 50;

/// Does something to each name, several at a time, and prints the names it worked for. The failures are
/// told at the end, and the command fails when there is one.
pub(super) fn print_names(
    context: &Context,
    names: &[String],
    act: impl AsyncFn(&Client, &str) -> Result<(), ClientError>,
) -> Result<u8, Failure> {
    print_lines(context, names, async |client, name| {
        act(client, name).await?;
        Ok(Some(name.to_owned()))
    })
}

/// The same, printing what is returned, if anything is.
pub(super) fn print_lines(
    context: &Context,
    names: &[String],
    act: impl AsyncFn(&Client, &str) -> Result<Option<String>, ClientError>,
) -> Result<u8, Failure> {
    let client = context.client()?;
    let failures = context.block_on(async {
        let mut failures = Vec::new();
        for names in names.chunks(AT_ONCE) {
            for outcome in join_all(names.iter().map(|name| act(&client, name))).await {
                match outcome {
                    Ok(Some(line)) => context.printer.line(&line)?,
                    Ok(None) => {}
                    Err(error @ ClientError::Engine { .. }) => failures.push(chain(&error)),
                    // Without an engine there is no use in more of the same.
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(failures)
    })?;
    if failures.is_empty() {
        Ok(0)
    } else {
        Err(Failure::message(failures.join("\n")))
    }
}
