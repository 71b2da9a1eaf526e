"""The orchestrator keeps the graph's state: it releases, schedules, dispatches, asks, retries and finishes."""
