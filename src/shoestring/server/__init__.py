"""The server: HTTP in front of one engine. Endpoints translate to `requests.py` and from `service.py`'s items."""
