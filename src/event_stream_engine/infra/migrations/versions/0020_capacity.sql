-- The disk that PostgreSQL lives on, as whoever of the engine's processes runs on the same host last saw it.
CREATE TABLE database_disk (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    measured_at timestamptz NOT NULL,
    host        text        NOT NULL,
    total_bytes bigint      NOT NULL,
    free_bytes  bigint      NOT NULL -- for PostgreSQL: without what the file system keeps for root
) WITH (fillfactor = 50);
