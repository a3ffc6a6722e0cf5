//! What is known of the bytes of one instance, to compare them with what is stored.

use super::{Db, DbError, Row, Statement};
use crate::blobs::BlobKey;
use crate::dicom::uid::SopInstanceUid;
use crate::query::integrity::Recorded;

/// What the index says of an instance, wherever in the archive it is.
pub async fn recorded(db: &Db, instance: &SopInstanceUid) -> Result<Option<Recorded>, DbError> {
    let statement = Statement::named(
        "recorded_object",
        "select study.study_uid, instance.sop_class_uid, instance.blob_key, instance.sha256, instance.layout
         from instance join study on study.id = instance.study where instance.sop_instance_uid = $1",
    );
    let row = db.look_up_one(statement.bind(instance)).await?;
    row.map(|row| read(&row)).transpose()
}

fn read(row: &Row) -> Result<Recorded, DbError> {
    Ok(Recorded {
        study: row.parse(0, "a Study Instance UID")?,
        sop_class: row.parse(1, "a SOP Class UID")?,
        blob_key: BlobKey::from_index(row.text(2)?),
        sha256: row.bytes(3)?.to_vec(),
        layout: row.bytes(4)?.to_vec(),
    })
}
