-- The life of a report. A report may be begun by a person, without any analysis.
create table report_of_any_origin (
    id               text primary key,
    study_uid        text not null,
    analysis         text unique references analysis (id), -- null: begun by a person
    status           text not null,                 -- draft, edited, signed, addending, addended, correcting, corrected, superseded
    version          bigint not null,               -- the version in force, of report_version
    versions         bigint not null,               -- the highest number given; beyond `version` once a change was discarded
    revision         bigint not null,               -- counts every change: the entity tag
    narrative        blob not null,                 -- of the version in force, JSON
    basis            blob,                          -- patient, study and model as the documents name them, JSON; null in rows of earlier servers
    series_uid_sr    text not null,                 -- of the newest SR; '' while there is none
    sr_instance_uid  text not null,
    series_uid_pdf   text not null,
    pdf_instance_uid text not null,
    newer_draft      text,                          -- report of a later analysis, of more of the study, that left this one alone
    superseded_by    text,                          -- report that took the place of this untouched draft
    created_at       bigint not null,
    updated_at       bigint not null
);
insert into report_of_any_origin (id, study_uid, analysis, status, version, versions, revision, narrative,
    series_uid_sr, sr_instance_uid, series_uid_pdf, pdf_instance_uid, created_at, updated_at)
select id, study_uid, analysis, status, version, version, 1, narrative,
    series_uid_sr, sr_instance_uid, series_uid_pdf, pdf_instance_uid, created_at, updated_at from report;
drop table report;
alter table report_of_any_origin rename to report;
create index report_study on report (study_uid, created_at);
create index report_created on report (created_at, id);

-- What a report said, each time somebody changed it. Rows are added and never rewritten, but for
-- the columns that tell what became of them.
create table report_version (
    report           text not null references report (id),
    version          bigint not null,               -- from 1
    status           text not null,                 -- of the report with this version
    act              text not null,                 -- draft, begin, edit, accept-finding, reject-finding, sign, addend, correct, …
    content          blob not null,                 -- JSON
    author           text not null,                 -- id of the user; 'system' for drafts of a model
    author_name      text not null,                 -- for people
    at               bigint not null,
    reason           text,                          -- why, in the author's words
    follows          bigint,                        -- the signed version that this one adds to or corrects
    signer_name      text,                          -- as documents name the signer; null: not signed
    organization     text,                          -- Verifying Organization (0040,A027)
    proof            text,                          -- password, recent-authentication, configured
    series_uid_sr    text,                          -- the documents of a draft or signed version
    sr_instance_uid  text,
    series_uid_pdf   text,
    pdf_instance_uid text,
    published_at     bigint,                        -- when both documents were in the study
    publish_error    text,                          -- why they are not yet
    superseded_by    bigint,                        -- the signed version that replaced this one
    primary key (report, version)
);
create index report_version_unpublished on report_version (published_at, signer_name);
