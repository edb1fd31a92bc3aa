-- Images by what they are, and their names beside them: an image may have several names, or have lost its last one to another
-- image while containers still stand on it. Names are references now (`nginx:latest`), as everywhere in the field.

-- Until now any `a-z A-Z 0-9 _ . -` was a name. A reference is in lower case and takes fewer signs in a row, and none at its end.
CREATE TABLE renamed (
    before TEXT PRIMARY KEY NOT NULL,
    after  TEXT
) STRICT, WITHOUT ROWID;

INSERT INTO renamed (before)
SELECT name FROM images UNION SELECT image FROM containers WHERE image <> 'host';

UPDATE renamed SET after = lower(before);
UPDATE renamed SET after = rtrim(replace(replace(after, '.', '-'), '_', '-'), '-')
WHERE after GLOB '*[._-]' OR after GLOB '*..*' OR after GLOB '*._*' OR after GLOB '*.-*' OR after GLOB '*_.*' OR after GLOB '*_-*'
   OR after GLOB '*-.*' OR after GLOB '*-_*' OR after GLOB '*___*';

-- Two that are one now: all but the first by name have a tag that says which they are.
UPDATE renamed SET after = numbered.after || ':latest' || CASE numbered.number WHEN 1 THEN '' ELSE '-' || numbered.number END
FROM (SELECT before, after, row_number() OVER (PARTITION BY after ORDER BY before <> after, before) AS number FROM renamed) AS numbered
WHERE numbered.before = renamed.before;

ALTER TABLE images RENAME TO images_by_name;

-- `digest` is the image's id: of its configuration for an image with a manifest, of the archive for a rootfs. `manifest` and
-- `config` are the documents, byte for byte: their digests are what registries know. `contents` is what they say, parsed, as JSON.
CREATE TABLE images (
    digest          TEXT    PRIMARY KEY NOT NULL CHECK (digest GLOB 'sha256:*' AND length(digest) = 71),
    kind            TEXT    NOT NULL CHECK (kind IN ('rootfs', 'oci')),
    manifest_digest TEXT,
    manifest        BLOB,
    config          BLOB,
    contents        TEXT    NOT NULL CHECK (json_valid(contents)),
    size_bytes      INTEGER NOT NULL,
    entries         INTEGER NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    CHECK ((kind = 'oci') = (manifest IS NOT NULL)),
    CHECK ((manifest IS NULL) = (config IS NULL)),
    CHECK ((manifest IS NULL) = (manifest_digest IS NULL))
) STRICT;

INSERT INTO images (digest, kind, contents, size_bytes, entries, created_at_ms)
SELECT digest, 'rootfs',
       json_object('config', json_object(), 'history', json_array(), 'layers', json_array(json_object(
           'diff_id', digest, 'size_bytes', max(size_bytes), 'entries', max(entries)))),
       max(size_bytes), max(entries), min(created_at_ms)
FROM images_by_name GROUP BY digest;

CREATE TABLE image_names (
    name   TEXT PRIMARY KEY NOT NULL,
    digest TEXT NOT NULL REFERENCES images (digest)
) STRICT, WITHOUT ROWID;

CREATE INDEX image_names_digest ON image_names (digest);

INSERT INTO image_names (name, digest)
SELECT renamed.after, images_by_name.digest FROM images_by_name JOIN renamed ON renamed.before = images_by_name.name;

-- A container stands on the image that it was made of, whatever its name means later. NULL for `host`, which is always as the host is.
ALTER TABLE containers ADD COLUMN image_digest TEXT REFERENCES images (digest);

UPDATE containers SET image_digest = (SELECT digest FROM images_by_name WHERE name = containers.image);
UPDATE containers SET image = (SELECT after FROM renamed WHERE before = containers.image) WHERE image <> 'host';

DROP TABLE images_by_name;
DROP TABLE renamed;

-- Who may pull from where. The secret is sealed with a key that is not in the database; or it is somebody else's file, read at each pull.
CREATE TABLE registries (
    host          TEXT    PRIMARY KEY NOT NULL,
    username      TEXT,
    sealed        BLOB,
    docker_config TEXT,
    saved_at_ms   INTEGER NOT NULL,
    CHECK ((sealed IS NULL) = (username IS NULL)),
    CHECK ((sealed IS NULL) <> (docker_config IS NULL))
) STRICT, WITHOUT ROWID;
