-- The image that an image was made from; it may have been deleted since.
ALTER TABLE images ADD COLUMN parent_id TEXT;
CREATE INDEX images_by_parent ON images (parent_id) WHERE parent_id IS NOT NULL;
-- The provider's own name for the image or its job.
ALTER TABLE images ADD COLUMN provider_id TEXT;
