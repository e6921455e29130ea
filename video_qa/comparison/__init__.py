"""Several memories watch the same videos: shared watching, its workers, the table, the report."""
