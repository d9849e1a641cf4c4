//! `system dial-stdio`: the standard streams are a connection to the engine. It is what another machine's client
//! runs here through the shell.

use tokio::io::{AsyncReadExt, AsyncWriteExt, split};

use super::{Command, Context};
use crate::client::connect;
use crate::failure::Failure;
use crate::grammar::{Arity, Grammar};
use crate::streams::stdio::{Input, Output};

/// Bytes moved at once.
const PIECE: usize = 32 << 10;

pub(super) static COMMAND: Command<()> = Command {
    names: &["system dial-stdio"],
    about: "Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
    usage: "",
    grammar: Grammar {
        flags: &[],
        interspersed: true,
        arity: Arity::None,
    },
    run,
};

fn run(context: &Context, (): (), _: Vec<String>) -> Result<u8, Failure> {
    let host = context.host()?;
    context.block_on(async {
        let connection = connect::dial(&host, context.program).await?;
        let (mut reader, mut writer) = split(connection);
        let forth = async {
            let mut input = Input::new()?;
            let mut buffer = vec![0; PIECE];
            loop {
                let length = input.read(&mut buffer).await?;
                if length == 0 {
                    // The engine may have more to say.
                    writer.shutdown().await?;
                    return std::future::pending::<Result<(), std::io::Error>>().await;
                }
                writer.write_all(&buffer[..length]).await?;
            }
        };
        let back = async {
            let mut output = Output::stdout();
            let mut buffer = vec![0; PIECE];
            loop {
                let length = reader.read(&mut buffer).await?;
                if length == 0 {
                    return Ok::<(), std::io::Error>(());
                }
                output.write(&buffer[..length]).await?;
            }
        };
        tokio::select! {
            outcome = forth => outcome?,
            outcome = back => outcome?,
        }
        Ok(0)
    })
}
