"""What is made of pictures without asking a provider: thumbnails, other sizes and formats, sheets, hashes of how they look."""
