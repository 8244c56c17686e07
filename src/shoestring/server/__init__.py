"""The server: HTTP in front of one engine. Endpoints translate to `request.py` and from `service.py`'s items."""
