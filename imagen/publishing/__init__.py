"""Pictures in an object store, behind a CDN perhaps."""
