-- Each index is a page or two more that every instance writes and syncs. A key names its instance,
-- so that the row that refers to an object is found by that.
drop index instance_blob;
