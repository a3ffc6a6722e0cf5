//! C-FIND as SCP: queries of the patient root and the study root, PS3.4 C.4.1 and PS3.7 9.1.2.
//!
//! The matches are found as row numbers, at one moment; then they are read, put into words and sent
//! some at a time. A receiver that is slow holds its own association and no reader of the index.

mod answer;
mod query;
mod refusal;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use dicom_dictionary_std::tags;
use dicom_encoding::transfer_syntax::{TransferSyntax, TransferSyntaxIndex};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use self::answer::Form;
use self::query::{Query, Terms};
use self::refusal::Refusal;
use super::association::Association;
use super::services::{InformationModel, ServiceClass};
use super::{StoreSink, metric};
use crate::causes::chain;
use crate::config;
use crate::dicom::data_set;
use crate::dicom::temporal::Offset;
use crate::query::search;
use crate::ul::UlError;
use crate::ul::command::{CommandError, CommandSet, status};
use crate::ul::connection::{Contextual, Transport};

/// Matches that are read and put into words at once, where the columns of the index tell all …
const PAGE: usize = 128;
/// … and where the stored attributes are needed, which may be as large as a header.
const PAGE_OF_HEADERS: usize = 8;

#[derive(Debug, Clone)]
pub struct FindSettings {
    /// Matches that one query is answered with.
    pub results_max: usize,
    /// Relational queries, whether they were negotiated or not.
    pub always_relational: bool,
    /// Entities that one query may compare attribute by attribute.
    pub scan_max: usize,
    /// Of stored dates and times that do not say theirs.
    pub stored_zone: Offset,
}

impl FindSettings {
    pub fn new(config: &config::Config) -> Self {
        Self {
            results_max: config.dimse.find_results_max,
            always_relational: config.dimse.find_always_relational,
            scan_max: config.http.search_scan_max,
            stored_zone: config.http.search_timezone,
        }
    }
}

/// How a query that was understood ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Every match was sent.
    Complete,
    /// There are more than are sent.
    Limited,
    Cancelled,
}

/// What a query is understood by.
struct Asked {
    model: InformationModel,
    syntax: &'static TransferSyntax,
    terms: Terms,
    ae_title: String,
}

/// Why there is no proper end.
enum Failure {
    Refused(Refusal),
    /// The association ends as well.
    Broken(UlError),
}

impl<E: Into<Refusal>> From<E> for Failure {
    fn from(refusal: E) -> Self {
        Self::Refused(refusal.into())
    }
}

impl From<UlError> for Failure {
    fn from(error: UlError) -> Self {
        Self::Broken(error)
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        Self::Broken(error.into())
    }
}

impl<S: Transport, K: StoreSink> Association<'_, S, K> {
    pub(super) async fn on_find(&mut self, request: Contextual<CommandSet>) -> Result<(), UlError> {
        let mut sent = 0;
        let ended = match self.find(&request, &mut sent).await {
            Ok(ended) => Ok(ended),
            Err(Failure::Refused(refusal)) => Err(refusal),
            Err(Failure::Broken(error)) => return Err(error),
        };
        let response = self.last_response(&request.message, &ended)?;
        self.record_outcome(response.status()?, &format!("{sent} matches"));
        let status = format!("{:04X}", response.status()?);
        match &ended {
            Ok(_) => tracing::info!(status, matches = sent, "query answered"),
            Err(refusal) => tracing::warn!(status, matches = sent, "query refused: {}", chain(refusal)),
        }
        metrics::counter!(metric::FINDS, "status" => status).increment(1);
        self.connection.send_command(request.context_id, &response).await
    }

    fn last_response(
        &self,
        request: &CommandSet,
        ended: &Result<Ended, Refusal>,
    ) -> Result<CommandSet, CommandError> {
        match ended {
            Ok(Ended::Complete) => request.response(status::SUCCESS),
            Ok(Ended::Cancelled) => request.response(status::CANCEL),
            Ok(Ended::Limited) => refusal::limited(request, self.shared.server.settings.find.results_max),
            Err(refusal) => refusal.response(request),
        }
    }

    async fn find(&mut self, request: &Contextual<CommandSet>, sent: &mut u64) -> Result<Ended, Failure> {
        let form = Arc::new(self.form(request).await?);
        self.record_keys(form.query.search.level, &form.query.search.keys);
        self.record_stands().await?;
        let message_id = request.message.message_id()?;
        let FindSettings { results_max, scan_max, .. } = self.shared.server.settings.find;
        let db = self.shared.server.db.clone();
        let searching = search::rows(&db, &form.query.search, scan_max, results_max.saturating_add(1));
        let rows = tokio::select! {
            found = searching => found?,
            given_up = self.given_up(message_id) => {
                given_up?;
                return Ok(Ended::Cancelled);
            }
        };
        let together = if form.query.search.include.needs_json() { PAGE_OF_HEADERS } else { PAGE };
        for page in rows[..rows.len().min(results_max)].chunks(together) {
            for identifier in self.identifiers(&form, page).await? {
                if self.cancelled(message_id).await? {
                    return Ok(Ended::Cancelled);
                }
                self.send_match(request, &form.query, &identifier).await?;
                *sent += 1;
            }
        }
        Ok(if rows.len() > results_max { Ended::Limited } else { Ended::Complete })
    }

    async fn send_match(
        &mut self,
        request: &Contextual<CommandSet>,
        query: &Query,
        identifier: &[u8],
    ) -> Result<(), UlError> {
        let status = if query.is_partly_unsupported { status::PENDING_WARNING } else { status::PENDING };
        let response = request.message.response(status)?;
        self.connection.send_message(request.context_id, response, identifier).await
    }

    /// What is asked for. An identifier with thousands of UIDs takes its time, elsewhere.
    async fn form(&mut self, request: &Contextual<CommandSet>) -> Result<Form, Failure> {
        if !request.message.has_data_set()? {
            return Err(Refusal::NoIdentifier.into());
        }
        let limit = self.shared.server.settings.identifier_bytes_max;
        let bytes = self.small_data_set(request).await?.ok_or(Refusal::TooLong { limit })?;
        let asked = self.asked(request)?;
        let form = tokio::task::spawn_blocking(move || understand(&bytes, asked)).await;
        let mut form = form.unwrap_or(Err(Refusal::Unreadable))?;
        form.query.search.reach = self.caller.reach.clone();
        Ok(form)
    }

    fn asked(&self, request: &Contextual<CommandSet>) -> Result<Asked, Failure> {
        let settings = &self.shared.server.settings;
        let context = self.contexts.get(request.context_id)?;
        let sop_class = request.message.text(tags::AFFECTED_SOP_CLASS_UID);
        let is_of_context = sop_class.is_none_or(|sop_class| sop_class == context.abstract_syntax);
        let (ServiceClass::Find(model), true) = (context.service, is_of_context) else {
            return Err(Refusal::SopClass.into());
        };
        let terms = Terms {
            agreed: context.extended,
            is_lenient: settings.find.always_relational,
            stored_zone: settings.find.stored_zone,
        };
        let syntax = TransferSyntaxRegistry.get(context.transfer_syntax.as_str());
        let syntax = syntax.ok_or(Refusal::Unreadable)?;
        Ok(Asked { model, syntax, terms, ae_title: settings.ae_title.clone() })
    }

    async fn identifiers(&self, form: &Arc<Form>, page: &[i64]) -> Result<Vec<Vec<u8>>, Refusal> {
        let found = search::named(&self.shared.server.db, &form.query.search, page).await?;
        let form = Arc::clone(form);
        let written = tokio::task::spawn_blocking(move || form.identifiers(&found)).await;
        written.unwrap_or(Err(Refusal::Answer))
    }
}

fn understand(bytes: &[u8], asked: Asked) -> Result<Form, Refusal> {
    // The words of the parser may quote values.
    let identifier = data_set::read(bytes, asked.syntax).map_err(|_| Refusal::Unreadable)?;
    let query = query::parse(&identifier, asked.model, asked.terms)?;
    Ok(Form::new(query, asked.ae_title, asked.syntax))
}
