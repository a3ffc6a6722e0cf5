//! The schema of an answer, as it is sent, told in words, and held here in any case. Pure.

use jsonschema::Validator;
use serde_json::Value;

use crate::ai::EngineError;
use crate::report::parse::json_object;

/// Of one fault.
const FAULT_CHARS_MAX: usize = 300;
const FAULTS_MAX: usize = 5;

pub(super) struct Contract {
    schema: String,
    validator: Validator,
}

impl Contract {
    pub(super) fn new(schema: &str) -> Result<Self, EngineError> {
        let bad = |error: String| EngineError::Constraint(format!("the schema is none: {error}"));
        let value: Value = serde_json::from_str(schema).map_err(|error| bad(error.to_string()))?;
        let validator = jsonschema::validator_for(&value).map_err(|error| bad(error.to_string()))?;
        Ok(Self { schema: schema.to_owned(), validator })
    }

    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    pub(super) fn in_words(&self) -> String {
        format!(
            "Answer with one JSON object that is valid by this JSON Schema, and with nothing else:\n{}",
            self.schema
        )
    }

    /// The object of an answer, without what chat models put around it; or what is wrong with it.
    pub(super) fn held(&self, answer: &str) -> Result<String, String> {
        let object = json_object(answer).ok_or("it holds no JSON object")?;
        let value: Value = serde_json::from_str(object).map_err(|error| format!("it is no JSON: {error}"))?;
        let faults = self.validator.iter_errors(&value).take(FAULTS_MAX).map(|fault| {
            let text = format!("at {:?}: {fault}", fault.instance_path().to_string());
            text.chars().take(FAULT_CHARS_MAX).collect::<String>()
        });
        let faults: Vec<String> = faults.collect();
        if faults.is_empty() { Ok(object.to_owned()) } else { Err(faults.join("; ")) }
    }
}

/// What a model is told of an answer that broke the schema.
pub(super) fn complaint(fault: &str) -> String {
    format!("That answer cannot be used: {fault}. Give the corrected JSON object, and nothing else.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::findings::SCHEMA;

    const GOOD: &str = r#"{"findings":[],"impression":"Normal."}"#;

    #[test]
    fn what_chat_models_put_around_an_answer_falls_away() {
        let contract = Contract::new(SCHEMA).unwrap();
        for around in [
            "{}",
            "```json\n{}\n```",
            "I see {nothing}.\nFinal Answer: {}",
            "Here:\n```\n{}\n```\nBye {you}.",
        ] {
            assert_eq!(contract.held(&around.replace("{}", GOOD)).as_deref(), Ok(GOOD), "{around}");
        }
    }

    #[test]
    fn a_fault_is_told_with_its_place() {
        let contract = Contract::new(SCHEMA).unwrap();
        let fault = contract.held(r#"{"findings":[{"finding":"x"}],"impression":""}"#).unwrap_err();
        assert!(fault.contains("/findings/0") && fault.contains("/impression"), "{fault}");
        assert!(contract.held("I cannot.").is_err() && contract.held("{\"a\":").is_err());
        assert!(
            contract.held(&format!("{{\"impression\":\"{}\"}}", "x".repeat(9000))).unwrap_err().len() < 2000
        );
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        assert!(Contract::new("{\"type\": 7}").is_err() && Contract::new("{").is_err());
    }
}
