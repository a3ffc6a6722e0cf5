use super::*;
use crate::report::document::Draft;
use crate::report::samples;

fn pdf(draft: Draft) -> Vec<u8> {
    let report = samples::report(draft);
    let picture = samples::picture(224, 256);
    let key = KeyImage { picture: &picture, evidence: 0, framing: Framing::Stretched };
    write(&report, Some(key)).expect("the sample can be printed")
}

fn lines(draft: Draft) -> Vec<String> {
    let mut flow = flow::Flow::new(fonts::Fonts::load().expect("the fonts load"));
    compose::report(&mut flow, &samples::report(draft), None);
    flow.finish().iter().flat_map(|page| &page.marks).filter_map(written).collect()
}

fn page_count(draft: Draft) -> usize {
    let mut flow = flow::Flow::new(fonts::Fonts::load().expect("the fonts load"));
    compose::report(&mut flow, &samples::report(draft), None);
    flow.page_count()
}

#[test]
fn a_rerun_prints_the_same_bytes() {
    assert_eq!(pdf(samples::normal_draft()), pdf(samples::normal_draft()));
}

#[test]
fn only_used_glyphs_are_embedded() {
    let size = pdf(samples::normal_draft()).len();
    assert!(size < 300_000, "{size} bytes");
}

#[test]
fn long_text_goes_on_to_more_pages() {
    let mut draft = samples::chest_draft();
    let short = page_count(draft.clone());
    draft.limitations = vec!["A limitation that goes on and on. ".repeat(60); 12];
    assert!(page_count(draft) > short + 2);
}

#[test]
fn nothing_is_drawn_outside_the_page() {
    let mut draft = samples::chest_draft();
    draft.impression = "wordwithoutspaces".repeat(80);
    draft.subject.patient.name = "Verylongname".repeat(20);
    let mut flow = flow::Flow::new(fonts::Fonts::load().expect("the fonts load"));
    compose::report(&mut flow, &samples::report(draft), None);
    let pages = flow.finish();
    for mark in pages.iter().flat_map(|page| &page.marks) {
        if let canvas::Mark::Text { x, y, size, line, .. } = mark {
            let inside = x + line.width * size <= canvas::PAGE_WIDTH - 20.0 && *y < canvas::PAGE_HEIGHT;
            assert!(inside, "{:?}", written(mark));
        }
    }
}

#[test]
fn a_picture_of_the_wrong_size_is_refused() {
    let report = samples::report(samples::chest_draft());
    let picture = RgbImage { width: 4, height: 4, data: vec![0; 47] };
    let key = KeyImage { picture: &picture, evidence: 0, framing: Framing::Stretched };
    assert!(matches!(write(&report, Some(key)), Err(PdfError::PictureSize { expected: 48, actual: 47 })));
}

#[test]
fn a_picture_of_no_image_of_the_report_is_refused() {
    let report = samples::report(samples::chest_draft());
    let picture = samples::picture(8, 8);
    let key = KeyImage { picture: &picture, evidence: 7, framing: Framing::Padded };
    assert!(matches!(write(&report, Some(key)), Err(PdfError::NoSuchEvidence)));
}

#[test]
fn every_page_says_that_it_is_a_draft_and_counts() {
    let mut draft = samples::chest_draft();
    draft.limitations = vec!["A limitation that goes on and on. ".repeat(60); 12];
    let mut flow = flow::Flow::new(fonts::Fonts::load().expect("the fonts load"));
    compose::report(&mut flow, &samples::report(draft), None);
    let pages = flow.finish();
    for (index, page) in pages.iter().enumerate() {
        let lines: Vec<String> = page.marks.iter().filter_map(written).collect();
        assert!(lines.iter().any(|line| line.contains("Not for diagnosis")));
        assert!(lines.contains(&format!("page {} of {}", index + 1, pages.len())));
    }
}

fn written(mark: &canvas::Mark) -> Option<String> {
    match mark {
        canvas::Mark::Text { line, .. } => {
            Some(line.glyphs.iter().map(|glyph| glyph.text.as_str()).collect())
        }
        _ => None,
    }
}

#[test]
fn only_the_demonstration_model_is_called_a_demo() {
    let mut draft = samples::ct_draft();
    assert!(lines(draft.clone()).iter().any(|line| line.starts_with("DEMO. ")));
    draft.provenance.model.notice = None;
    assert!(!lines(draft).iter().any(|line| line.contains("DEMO")));
}
