-- Uploads and downloads that any instance can go on with: their bytes lie among the objects that instances share.
create table upload_part (
    upload        text not null,       -- upload.id; bytes may lie there longer than its row
    start_at      bigint not null,                -- of the first byte, in the file of the upload
    length_bytes  bigint not null,
    blob_key      text not null,       -- below uploads/
    primary key (upload, start_at)
);
create index upload_part_blob on upload_part (blob_key);
alter table upload add column server text;      -- which installation receives a form; null for others
alter table download add column blob_key text;  -- below downloads/; null where the file lies in the data folder
create index download_blob on download (blob_key) where blob_key is not null;
