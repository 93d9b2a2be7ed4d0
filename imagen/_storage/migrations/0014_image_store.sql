-- When a process began to delete the object of a file: until it is gone, or that process must be dead, no other one
-- puts the same bytes there.
ALTER TABLE removals ADD COLUMN claimed_at REAL;

-- Folder of this library in the object store of its images.
CREATE TABLE image_store (
    number INTEGER PRIMARY KEY CHECK (number = 1),
    folder TEXT NOT NULL
) STRICT;
