//! Verification, PS3.4 A and PS3.7 9.1.5.

use super::StoreSink;
use super::association::Association;
use crate::ul::UlError;
use crate::ul::command::{CommandSet, status};
use crate::ul::connection::{Contextual, Transport};

impl<S: Transport, K: StoreSink> Association<'_, S, K> {
    pub(super) async fn on_echo(&mut self, request: Contextual<CommandSet>) -> Result<(), UlError> {
        self.skip_data_set(&request).await?;
        let response = request.message.response(status::SUCCESS)?;
        self.connection.send_command(request.context_id, &response).await
    }
}
