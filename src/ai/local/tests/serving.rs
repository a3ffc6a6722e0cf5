//! Several requests at a time: what they share, and what they do not.

use std::sync::mpsc::channel;

use super::*;
use crate::ai::{Stage, StageLimits};

/// An engine whose clock stands still, so that nothing depends on how fast this machine is.
fn serving(options: LocalOptions) -> LocalEngine {
    let clock = Clock::manual(crate::clock::Timestamp(0));
    LocalEngine::start(fixture::files(), LocalOptions { clock, prefill_tokens_max: 24, ..options }).unwrap()
}

fn greedy(picture: usize, words: &str) -> Request {
    let image = Part::Image(Arc::new(fixture::golden().picture(picture)));
    let parts = vec![image, Part::Text(words.to_owned())];
    let turns = vec![Turn::User(parts), Turn::Open(Form::Json(SMALL.into()))];
    Request { system: None, turns, settings: Settings::default(), priority: Priority::default() }
}

/// Keeps the engine busy until it is cancelled or has written two thousand tokens.
fn endless() -> Request {
    request(ENDLESS, Settings { tokens_max: 2000, ..sampled(1) })
}

/// A listener that hands every stage on.
fn heard(cancel: &Cancel) -> (Call, std::sync::mpsc::Receiver<Progress>) {
    let (sender, receiver) = channel();
    let progress = Arc::new(move |stage| {
        let _ = sender.send(stage);
    });
    (Call { progress, ..call(cancel) }, receiver)
}

/// Asks on a thread of its own, as a worker would.
fn ask_aside(
    engine: &Arc<LocalEngine>,
    request: Request,
    call: Call,
) -> std::thread::JoinHandle<Result<Reply, EngineError>> {
    let engine = Arc::clone(engine);
    std::thread::spawn(move || wait(engine.answer(request, call)))
}

#[test]
fn an_answer_in_a_batch_is_the_answer_alone() {
    let requests = || [greedy(0, "One?"), greedy(1, "Two, please?"), greedy(2, "And three?"), endless()];
    let alone: Vec<String> = requests()[..3]
        .iter()
        .map(|request| only_answer(wait(ENGINE.answer(request.clone(), call(&Cancel::default())))))
        .collect();
    let engine = Arc::new(serving(LocalOptions::default()));
    let cancel = Cancel::default();
    let together: Vec<_> =
        requests().into_iter().map(|request| ask_aside(&engine, request, call(&cancel))).collect();
    let mut together = together.into_iter().map(|asked| asked.join().unwrap());
    for alone in alone {
        assert_eq!(only_answer(together.next().unwrap()), alone);
    }
}

#[test]
fn nobody_waits_for_a_listener_that_hangs() {
    let engine = Arc::new(serving(LocalOptions { batch_max: 1, ..LocalOptions::default() }));
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let stuck = Call {
        progress: Arc::new(move |_| {
            let _ = held.lock().unwrap().recv();
        }),
        ..call(&Cancel::default())
    };
    let stuck = ask_aside(&engine, greedy(0, "Hang."), stuck);
    assert!(wait(engine.answer(greedy(1, "Go on."), call(&Cancel::default()))).is_ok());
    drop(release);
    assert!(stuck.join().unwrap().is_ok());
}

#[test]
fn who_waits_hears_his_place_and_a_full_queue_refuses() {
    let engine = Arc::new(serving(LocalOptions { batch_max: 1, queue_max: 1, ..LocalOptions::default() }));
    let (busy, idle) = (Cancel::default(), Cancel::default());
    let (call_one, stages) = heard(&busy);
    let one = ask_aside(&engine, endless(), call_one);
    while !matches!(stages.recv().unwrap(), Progress::Decoded { .. }) {}
    let (call_two, places) = heard(&idle);
    let two = ask_aside(&engine, greedy(0, "Next."), call_two);
    assert_eq!(
        [places.recv().unwrap(), places.recv().unwrap()],
        [Progress::Queued, Progress::Waiting { ahead: 0 }]
    );
    let refused = wait(engine.answer(greedy(1, "Full."), call(&idle)));
    assert!(matches!(refused, Err(EngineError::QueueFull(1))), "{refused:?}");
    busy.cancel();
    assert!(matches!(one.join().unwrap(), Err(EngineError::Cancelled)));
    assert!(two.join().unwrap().is_ok());
}

#[test]
fn one_that_is_stat_has_a_place_of_its_own() {
    let engine = Arc::new(serving(LocalOptions { batch_max: 1, ..LocalOptions::default() }));
    let busy = Cancel::default();
    let (call_one, stages) = heard(&busy);
    let one = ask_aside(&engine, endless(), call_one);
    while !matches!(stages.recv().unwrap(), Progress::Decoded { .. }) {}
    let stat = Request { priority: Priority::Stat, ..greedy(0, "Now.") };
    assert!(wait(engine.answer(stat, call(&Cancel::default()))).is_ok());
    busy.cancel();
    assert!(matches!(one.join().unwrap(), Err(EngineError::Cancelled)));
}

#[test]
fn each_stage_has_a_limit_and_is_named() {
    let second = Duration::from_secs(1);
    for stage in [Stage::Image, Stage::Prefill, Stage::Decode] {
        let limits = match stage {
            Stage::Image => StageLimits { image: Duration::ZERO, ..StageLimits::default() },
            Stage::Prefill => StageLimits { prefill: Duration::ZERO, ..StageLimits::default() },
            _ => StageLimits { decode: Duration::ZERO, ..StageLimits::default() },
        };
        let options = LocalOptions { limits, prefill_tokens_max: 24, ..LocalOptions::default() };
        let engine = LocalEngine::start(fixture::files(), options).unwrap();
        let outcome = wait(
            engine.answer(greedy(0, "Late."), Call { time_limit: 600 * second, ..call(&Cancel::default()) }),
        );
        let Err(error @ EngineError::StageTimedOut { .. }) = outcome else { panic!("{outcome:?}") };
        assert!(
            matches!(error, EngineError::StageTimedOut { stage: found, .. } if found == stage),
            "{error}"
        );
    }
}

#[test]
fn who_waits_too_long_is_sent_away_and_the_one_before_him_goes_on() {
    let clock = Clock::manual(crate::clock::Timestamp(0));
    let limits = StageLimits { queue: Duration::from_secs(60), ..StageLimits::default() };
    let options = LocalOptions {
        batch_max: 1,
        limits,
        clock: clock.clone(),
        prefill_tokens_max: 24,
        ..LocalOptions::default()
    };
    let engine = Arc::new(LocalEngine::start(fixture::files(), options).unwrap());
    let busy = Cancel::default();
    let (call_one, stages) = heard(&busy);
    let one = ask_aside(&engine, endless(), call_one);
    while !matches!(stages.recv().unwrap(), Progress::Decoded { .. }) {}
    let (call_two, places) = heard(&Cancel::default());
    let two = ask_aside(&engine, greedy(0, "Next."), call_two);
    while !matches!(places.recv().unwrap(), Progress::Waiting { .. }) {}
    clock.advance(Duration::from_secs(61));
    let late = two.join().unwrap();
    assert!(matches!(late, Err(EngineError::StageTimedOut { stage: Stage::Queue, .. })), "{late:?}");
    assert!(!one.is_finished());
    busy.cancel();
    assert!(matches!(one.join().unwrap(), Err(EngineError::Cancelled)));
}

#[test]
fn a_prompt_that_no_memory_is_given_for_is_refused() {
    let engine = serving(LocalOptions { cache_bytes_max: 1 << 10, ..LocalOptions::default() });
    let outcome = wait(engine.answer(greedy(0, "Much."), call(&Cancel::default())));
    assert!(matches!(outcome, Err(EngineError::CacheTooSmall { limit: 1024, .. })), "{outcome:?}");
}

/// An engine that keeps features in a folder, as after each start of the server.
fn keeping(folder: &std::path::Path) -> LocalEngine {
    let features = FeatureOptions { folder: folder.to_owned(), bytes_max: 1 << 20 };
    serving(LocalOptions { features: Some(features), ..LocalOptions::default() })
}

/// Two pictures, so that there is a way between them.
fn pair(words: &str) -> Request {
    let mut request = greedy(0, words);
    let Turn::User(parts) = &mut request.turns[0] else { panic!("the user begins") };
    parts.insert(1, Part::Image(Arc::new(fixture::golden().picture(1))));
    request
}

#[test]
fn a_rerun_after_a_restart_encodes_nothing_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let answers: Vec<Reply> = (0..2)
        .map(|_| wait(keeping(folder.path()).answer(pair("Twice."), call(&Cancel::default()))).unwrap())
        .collect();
    assert_eq!(answers[0].answers, answers[1].answers);
    let kept: Vec<_> =
        answers.iter().map(|reply| (reply.usage.kept_images, reply.usage.kept_tokens)).collect();
    assert_eq!(kept, [(0, 0), (2, 0)]);
    assert_eq!(answers[1].usage.image_ms, 0);
}

#[test]
fn what_was_broken_off_goes_on_behind_the_last_image() {
    let folder = tempfile::tempdir().unwrap();
    let cancel = Cancel::default();
    let trigger = cancel.clone();
    let at_first = move |stage| {
        if matches!(stage, Progress::EncodedImages { done: 1, .. }) {
            trigger.cancel()
        }
    };
    let broken_off = Call { progress: Arc::new(at_first), ..call(&cancel) };
    // it is heard of at once, and acted on before the second image is done or at the next step
    let outcome = wait(keeping(folder.path()).answer(pair("Stop."), broken_off));
    assert!(matches!(outcome, Err(EngineError::Cancelled)), "{outcome:?}");
    let kept = std::fs::read_dir(folder.path()).unwrap().count();
    let again = wait(keeping(folder.path()).answer(pair("Stop."), call(&Cancel::default()))).unwrap();
    assert!(kept >= 1 && again.usage.kept_images == kept, "{kept} kept, {:?}", again.usage);
}

#[test]
fn a_second_question_about_the_same_images_reads_only_what_is_new() {
    let engine = serving(LocalOptions::default());
    let ask = |engine: &LocalEngine, words: &str| {
        wait(engine.answer(pair(words), call(&Cancel::default()))).unwrap()
    };
    let first = ask(&engine, "Is there a nodule?");
    assert_eq!(first.usage.kept_tokens, 0);
    let second = ask(&engine, "What about the heart?");
    assert_eq!(second.usage.kept_images, 2);
    assert!(second.usage.kept_tokens > second.usage.image_tokens);
    let fresh = ask(&serving(LocalOptions::default()), "What about the heart?");
    assert_eq!(second.answers, fresh.answers);
    assert_eq!(second.usage.prompt_tokens, fresh.usage.prompt_tokens);
}

#[test]
fn other_images_share_the_words_before_them_alone() {
    let engine = serving(LocalOptions::default());
    let kept = |picture: usize| {
        let reply = wait(engine.answer(greedy(picture, "Look."), call(&Cancel::default()))).unwrap();
        (reply.usage.kept_images, reply.usage.kept_tokens > 0)
    };
    assert_eq!([kept(0), kept(1), kept(0)], [(0, false), (0, true), (1, true)]);
}
