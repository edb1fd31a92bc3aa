-- What containers used over a month. A row is one slot of time of one container, in one tier (`belljar_model::history::Tier`);
-- a slot of a coarser tier is made of one whole block of the finer one. Integers in all columns: they are what makes a row
-- 60 bytes. NULL was not measured, and for a limit: there was none. No reference to containers: a past outlives what it is about.
CREATE TABLE history (
    -- The tier, as the length of its slots.
    step_s               INTEGER NOT NULL CHECK (step_s IN (10, 60, 600, 3600)),
    -- Beginning of the block, in Unix seconds. A block is as long as a slot of the next coarser tier (of the coarsest: a day).
    -- It stands before the container, so that a moment's slots of all containers are in few pages, and the oldest ones too.
    block_s              INTEGER NOT NULL,
    -- The first 8 of the 32 random bytes of the container's id.
    subject              INTEGER NOT NULL,
    -- Number of the slot in its block.
    slot                 INTEGER NOT NULL,
    -- How much of the slot was measured: the weight of its means.
    measured_ms          INTEGER NOT NULL,
    -- Percents are hundredths of one, sizes KiB.
    cpu                  INTEGER,
    -- Largest of the finest slots; NULL in the finest.
    cpu_peak             INTEGER,
    cpu_periods          INTEGER,
    cpu_throttled        INTEGER,
    -- Microseconds per 100 ms.
    cpus_max             INTEGER,
    memory               INTEGER,
    memory_peak          INTEGER,
    memory_max           INTEGER,
    memory_swap          INTEGER,
    pids                 INTEGER,
    pids_max             INTEGER,
    -- Bytes per second.
    io_read              INTEGER,
    io_write             INTEGER,
    network_rx           INTEGER,
    network_tx           INTEGER,
    cpu_pressure         INTEGER,
    memory_pressure      INTEGER,
    io_pressure          INTEGER,
    oom_kills            INTEGER,
    PRIMARY KEY (step_s, block_s, subject, slot)
) STRICT, WITHOUT ROWID;

-- Until when each tier is made of the finer one, in Unix seconds: what is later has to be looked up there.
CREATE TABLE history_rolled (
    step_s  INTEGER PRIMARY KEY NOT NULL,
    until_s INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO history_rolled (step_s, until_s) VALUES (60, 0), (600, 0), (3600, 0);
