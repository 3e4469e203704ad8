-- SQLite alone gives an event its position as it is written. Here transactions overlap, and positions are given after the
-- commit, as before: nothing changes.
SELECT 1;
