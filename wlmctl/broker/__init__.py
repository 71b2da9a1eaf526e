"""Work queues between orchestrators and workers: dispatch, never truth."""
