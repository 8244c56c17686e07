"""HTTP itself: the application, access, limits, streams, log, metrics, settings, and how it runs."""
