//! `token`: what a script shows instead of a password.

use belljar_api::token::{CreateToken, CreatedToken, Token};
use hyper::Method;

use super::{DONE, Outcome, Session};
use crate::arguments::TokenCommand;
use crate::client::escape;
use crate::output::{Table, age};

/// `token create|list|delete`. The token alone goes to standard output, so that a script can catch it.
pub(crate) async fn token(session: &mut Session, command: TokenCommand) -> Outcome {
    match command {
        TokenCommand::Create { name } => {
            let created: CreatedToken = session.client.send("/tokens", &CreateToken { name }).await?;
            session.paper.line(&created.token)?;
        }
        TokenCommand::List(format) => return session.show("/tokens", format, table).await,
        TokenCommand::Delete { names } => {
            for name in names {
                session.client.act(Method::DELETE, &format!("/tokens/{}", escape(&name))).await?;
                session.paper.line(&name)?;
            }
        }
    }
    Ok(DONE)
}

fn table(tokens: &Vec<Token>, now_ms: i64) -> Table {
    let mut table = Table::new(&["NAME", "CREATED", "LAST USED"]);
    for token in tokens {
        let used = token.last_used_at_ms.map_or("never".to_owned(), |at_ms| age::ago(at_ms, now_ms));
        table.row(vec![(&token.name).into(), age::ago(token.created_at_ms, now_ms).into(), used.into()]);
    }
    table
}
