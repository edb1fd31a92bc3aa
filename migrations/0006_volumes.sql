-- Folders that Belljar keeps for containers. What is in one is on the disk, and the disk is what is believed: a folder without a
-- row gets one, a row without a folder is told.
CREATE TABLE volumes (
    name          TEXT    PRIMARY KEY NOT NULL,
    -- Made for one container alone, and goes with it.
    anonymous     INTEGER NOT NULL CHECK (anonymous IN (0, 1)),
    labels        TEXT    NOT NULL CHECK (json_valid(labels)),
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
