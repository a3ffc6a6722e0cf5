//! Taking the JSON out of what chat models put around it.

/// The answer proper: no thinking passage, no fence, no prose. `None` without a `{`.
pub fn json_object(text: &str) -> Option<&str> {
    let text = without_thought(text).trim();
    let text = if text.starts_with('{') { text } else { fenced(announced(text)) };
    let start = text.find('{')?;
    let end = text.rfind('}')?;
    text.get(start..=end)
}

/// Gemma's thinking passage runs from `<unused94>` to `<unused95>`; nothing follows one without end.
pub(in crate::report) fn without_thought(text: &str) -> &str {
    let answer = text.rsplit_once("<unused95>").map_or(text, |(_, answer)| answer);
    answer.split_once("<unused94>").map_or(answer, |(before, _)| before)
}

/// Behind the last "Final Answer:", if an object follows there.
fn announced(text: &str) -> &str {
    let behind = text.rsplit_once("Final Answer:").map(|(_, answer)| answer);
    behind.filter(|answer| answer.contains('{')).unwrap_or(text)
}

/// Within the last fence that holds an object.
fn fenced(text: &str) -> &str {
    let inside = text.split("```").skip(1).step_by(2);
    inside.filter(|block| block.contains('{')).last().unwrap_or(text)
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
        check("{\"a\":1}<unused94>thought {no}", Some("{\"a\":1}"));
        check("```json\n{\"a\":{}}\n```", Some("{\"a\":{}}"));
        check("Final Answer: {\"a\":1} I hope this helps.", Some("{\"a\":1}"));
        check("On {one} hand …\nFinal Answer: {\"a\":1}", Some("{\"a\":1}"));
        check("The form is {…}.\n```json\n{\"a\":1}\n```\n{Bye}", Some("{\"a\":1}"));
    }

    #[test]
    fn fences_within_an_object_are_text() {
        check("{\"a\":\"```{```\"}", Some("{\"a\":\"```{```\"}"));
    }

    #[test]
    fn what_has_no_object_gives_nothing() {
        check("I cannot help with that.", None);
        check("} {", None);
    }
}
