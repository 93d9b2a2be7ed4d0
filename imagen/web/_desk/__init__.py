"""What lives as long as the server: batches, events, changes, archives to download."""
