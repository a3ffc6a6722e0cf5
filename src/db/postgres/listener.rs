//! What other instances commit: each tells all others, so that who watches here is woken.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::poll_fn;
use futures::{Stream, StreamExt};
use tokio::sync::Notify;
use tokio_postgres::AsyncMessage;

use super::Fault;
use super::connect::Servers;

/// A channel for each schema: several archives may share a database.
const LISTEN: &str = "do $$ begin execute format('listen %I', 'radiant.' || current_schema()); end $$";

/// Heard when the transaction is committed.
pub(super) const TELL: &str = "select pg_notify('radiant.' || current_schema(), '')";

const PAUSE: Duration = Duration::from_secs(1);

/// Ends with the runtime. What was told while there was no connection is not heard any more, so that
/// who watches is woken after each that was lost.
pub(super) async fn listen(servers: Servers, told: Arc<Notify>) {
    loop {
        if let Err(fault) = hear(&servers, &told).await {
            tracing::warn!(%fault, "what other instances tell is not heard");
        }
        tokio::time::sleep(PAUSE).await;
        told.notify_waiters();
    }
}

async fn hear(servers: &Servers, told: &Notify) -> Result<(), Fault> {
    let (client, mut connection) = servers.config.connect(servers.tls.clone()).await?;
    let messages = poll_fn(move |context| connection.poll_message(context));
    let (heard, begun) = futures::join!(heard(messages, told), client.batch_execute(LISTEN));
    begun?;
    heard
}

async fn heard(
    messages: impl Stream<Item = Result<AsyncMessage, tokio_postgres::Error>>,
    told: &Notify,
) -> Result<(), Fault> {
    futures::pin_mut!(messages);
    while let Some(message) = messages.next().await {
        if let AsyncMessage::Notification(_) = message? {
            told.notify_waiters();
        }
    }
    Ok(())
}
