-- Why the last start of a container went without user ids of its own, where this host could not give them; NULL where it has
-- them, or asked for none.
ALTER TABLE containers ADD COLUMN without_ids TEXT;
