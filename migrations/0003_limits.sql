-- The limits that have no column of their own, as JSON: `cpu_weight`, `cpuset`, `io`, ….
ALTER TABLE limits ADD COLUMN further TEXT CHECK (further IS NULL OR json_valid(further));
