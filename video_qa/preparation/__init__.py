"""From a data set's official files to annotations and videos that the runner can use."""
