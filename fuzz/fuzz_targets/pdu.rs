//! PDUs, presentation data values and command sets as a peer may send them (PS3.8 9.3, PS3.7 6.3).
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use radiant::ul::command::CommandAssembler;
use radiant::ul::connection::Connection;
use radiant::ul::{Incoming, MessagePart};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));

fuzz_target!(|input: &[u8]| RUNTIME.block_on(listen(input)));

async fn listen(input: &[u8]) {
    let transport = tokio::io::join(input, tokio::io::sink());
    let mut connection = Connection::new(transport, 1 << 16, Duration::from_secs(60));
    connection.establish(1 << 14, Duration::from_secs(60));
    let mut commands = CommandAssembler::default();
    while let Ok(incoming) = connection.next().await {
        let Incoming::Fragment(fragment) = incoming else { continue };
        if fragment.part == MessagePart::Command && commands.push(&fragment).is_err() {
            return;
        }
    }
}
