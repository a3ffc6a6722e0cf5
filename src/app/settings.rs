//! The configuration as each part wants it.

use crate::blobs::Marks;
use crate::config::Config;
use crate::db::PostgresSettings;
use crate::dicom::header;
use crate::ingest;

pub(super) fn ingest(config: &Config) -> ingest::Policy {
    let limits = &config.ingest;
    ingest::Policy {
        instance_bytes_max: limits.instance_bytes_max,
        header: header::Limits {
            inline_bytes_max: limits.inline_bytes_max,
            header_bytes_max: limits.header_bytes_max,
            depth_max: limits.sequence_depth_max,
            elements_max: limits.elements_max,
            fragments_max: limits.fragments_max,
        },
        sop_classes_extra: config.dimse.sop_classes_extra.clone(),
        on_duplicate: limits.on_duplicate,
        preamble: limits.preamble,
        picture_bytes_max: limits.picture_bytes_max,
        concurrency: limits.concurrency,
        quiet_time: config.analysis.quiet_time(),
    }
}

pub(super) fn marks(config: &Config) -> Marks {
    Marks {
        warn_below: config.disk.warn_below_bytes(),
        refuse_below: config.disk.refuse_below_bytes(),
        accept_above: config.disk.accept_above_bytes(),
    }
}

/// Decoding is computing: more at a time than there are cores would only hold more memory.
pub(super) fn decodes() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

pub(super) fn postgres(config: &Config) -> PostgresSettings {
    let section = &config.database;
    let replica = section.replica_url.reveal();
    PostgresSettings {
        primary: section.url.reveal().to_owned(),
        replica: (!replica.is_empty()).then(|| replica.to_owned()),
        password_file: section.password_file.clone(),
        ca_file: section.ca_file.clone(),
        connections: section.connections,
        group_max: config.index.group_max,
        patience: section.patience(),
        statement_timeout: section.statement_timeout(),
        replica_timeout: section.replica_timeout(),
        replica_pause: section.replica_pause(),
        create_schema: None,
    }
}
