-- The same question is answered once: an analysis that asks what another has asked finds its answer.
alter table analysis add column question_sha256 text collate "C"; -- over pictures, words, prompt, settings and model; null where an answer does not follow from them
create index analysis_question on analysis (question_sha256, finished_at) where question_sha256 is not null;
