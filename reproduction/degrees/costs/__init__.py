"""What each memory costs: how one watches a stream, a session of all of them, the file of it."""
