//! Taking the JSON out of what chat models put around it.

/// The answer proper: no thinking passage, no fence, no prose. `None` without a `{`.
pub(super) fn json_object(text: &str) -> Option<&str> {
    let text = without_thought(text);
    let start = text.find('{')?;
    let end = text.rfind('}')?;
    text.get(start..=end)
}

/// Gemma's thinking passage runs from `<unused94>` to `<unused95>`.
fn without_thought(text: &str) -> &str {
    text.rsplit_once("<unused95>").map_or(text, |(_, answer)| answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(json_object(text), expected);
    }

    #[test]
    fn thought_fence_and_prose_fall_away() {
        check("<unused94>thought {no} <unused95>{\"a\":1}", Some("{\"a\":1}"));
        check("```json\n{\"a\":{}}\n```", Some("{\"a\":{}}"));
        check("Final Answer: {\"a\":1} I hope this helps.", Some("{\"a\":1}"));
    }

    #[test]
    fn what_has_no_object_gives_nothing() {
        check("I cannot help with that.", None);
        check("} {", None);
    }
}
