"""Pictures for others: links that expire, and collections as one file."""
