"""What wires orchestrator, worker, broker and store together in one process, and what commands do with them."""
