"""What is asked for again and again: templates, styles, grids, and the prompts that somebody keeps."""
