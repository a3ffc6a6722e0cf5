-- Where the frames of encapsulated pixel data lie, for objects with more frames than the layout
-- of an instance holds: one frame is found by its key, however many there are.
create table frame_chunk (
    instance  bigint not null references instance (id) on delete cascade,
    ordinal   bigint not null,          -- 0 for the first 512 frames, 1 for the next
    spans     blob not null,            -- 20 bytes per frame, little endian: begin and end in the data set (64 bits each), number of fragments (32 bits)
    primary key (instance, ordinal)
);
