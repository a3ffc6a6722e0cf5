-- What a model wrote beside the answer that its results are made of, verbatim.
alter table analysis add column words text;                 -- its report in words; null where it was not asked for one
alter table analysis add column unused_answers blob;        -- answers in JSON that a second one took the place of, or that did not: JSON list
