-- What a number that was taken on a region rests on: the attribute that says how large a pixel is, where it
-- is a length or an area. The method says whether a model gave it (model-estimate) or the server took it on
-- the edges of the region (region-size) or on the values in it (region-values).

alter table measurement add column spacing text;
