-- Whoever may not read drafts asks of every series whether it is one.
create index report_version_series_sr on report_version (series_uid_sr);
create index report_version_series_pdf on report_version (series_uid_pdf);
