"""What a picture's file says of itself: our record, those of other programs, and who signed it."""
