//! What asking took: for the results of one conversation, and for metrics.

use std::time::Duration;

use super::answer::Answer;
use super::service::Purpose;
use crate::ai::{Cost, Cut, ServiceUsage, Usage};
use crate::config::RemoteModel;
use crate::telemetry::metrics::remote_model as metric;

#[derive(Debug, Default)]
pub(super) struct Account {
    usage: Usage,
    service: ServiceUsage,
    /// The service has not counted the tokens of some answer.
    is_uncounted: bool,
}

impl Account {
    pub(super) fn drew(&mut self, took: Duration) {
        self.usage.image_ms = millis(took);
    }

    /// Results count what was sent for them.
    pub(super) fn sent(&mut self, purpose: Purpose) {
        let Purpose::Answer { length, .. } = purpose else { return };
        self.service.requests += 1;
        self.service.bytes_sent += length as u64;
        metrics::counter!(metric::BYTES_SENT).increment(length as u64);
    }

    pub(super) fn retried(&mut self, why: &'static str) {
        self.service.retries += 1;
        metrics::counter!(metric::RETRIES, "why" => why).increment(1);
    }

    pub(super) fn repaired(&mut self) {
        self.service.repairs += 1;
        metrics::counter!(metric::REPAIRS).increment(1);
    }

    pub(super) fn cut(&mut self) {
        self.usage.cut = Some(Cut::Tokens);
    }

    /// Tokens that were written before the answer that is being written.
    pub(super) fn written(&self) -> usize {
        self.usage.answer_tokens
    }

    /// A service that does not count has its pieces counted.
    pub(super) fn answered(&mut self, answer: &Answer, took: Duration, prices: &RemoteModel) {
        let (prompt, written) = match answer.tokens {
            Some(tokens) => (tokens.prompt_tokens, tokens.completion_tokens),
            None => (0, answer.pieces),
        };
        self.is_uncounted |= answer.tokens.is_none();
        self.usage.prompt_tokens += prompt;
        self.usage.answer_tokens += written;
        self.usage.decode_ms += millis(took);
        metrics::counter!(metric::TOKENS, "kind" => "prompt").increment(prompt as u64);
        metrics::counter!(metric::TOKENS, "kind" => "answer").increment(written as u64);
        if answer.tokens.is_some() {
            count_cost(price(prompt, written, prices), &prices.currency);
        }
    }

    /// Without a price, or without a count, there is no cost to tell.
    pub(super) fn close(mut self, prices: &RemoteModel) -> Usage {
        let Usage { prompt_tokens, answer_tokens, .. } = self.usage;
        let amount = price(prompt_tokens, answer_tokens, prices);
        if !self.is_uncounted && amount > 0.0 {
            self.service.cost = Some(Cost { amount, currency: prices.currency.clone() });
        }
        Usage { service: Some(self.service), ..self.usage }
    }
}

fn price(prompt: usize, answer: usize, prices: &RemoteModel) -> f64 {
    (prompt as f64 * prices.price_prompt + answer as f64 * prices.price_answer) / 1e6
}

/// A counter has whole numbers: of millionths. What is not priced is not counted as free.
fn count_cost(amount: f64, currency: &str) {
    let millionths = (amount * 1e6).round() as u64;
    if millionths > 0 {
        metrics::counter!(metric::COST, "currency" => currency.to_owned()).increment(millionths);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
