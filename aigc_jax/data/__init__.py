"""Data sources with random access, and the pipeline that turns them into batches."""
