"""Calls of the API, a subject each, and how they are served and described."""
