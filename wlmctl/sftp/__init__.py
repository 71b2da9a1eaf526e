"""SFTP version 3 over any line for bytes: a session with many requests in flight, and the transport on top of it."""
