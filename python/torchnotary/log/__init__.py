"""The transparency log: C2SP checkpoints and proofs over a tree of records, kept in SQLite."""
