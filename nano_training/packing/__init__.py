"""What the miniature is asked: questions about symbolic streams, packed into batches."""
