"""TLS: the certificate and key of --ssl-certfile and --ssl-keyfile, checked before the model is loaded."""

from __future__ import annotations

import ssl
from pathlib import Path

from shoestring.errors import RequestError
from shoestring.files import named_path, read_bytes
from shoestring.server.http.settings import LARGEST_FILE, Settings


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """What the server's connections need for TLS 1.2 or 1.3; None without a certificate.

    Raises RequestError for files that are missing, unreadable, no PEM, encrypted, or of different keys.
    """
    if settings.ssl_certfile is None:
        if settings.ssl_keyfile is not None:
            raise RequestError("--ssl-keyfile needs --ssl-certfile: give both")
        return None
    certificate = named_path(settings.ssl_certfile)
    # Both may stand in one file.
    key = certificate if settings.ssl_keyfile is None else named_path(settings.ssl_keyfile)
    _pem("--ssl-certfile", certificate, b"-----BEGIN CERTIFICATE-----", "certificate")
    option = "--ssl-certfile" if settings.ssl_keyfile is None else "--ssl-keyfile"
    hint = ": give its file as --ssl-keyfile" if settings.ssl_keyfile is None else ""
    text = _pem(option, key, b" PRIVATE KEY-----", f"private key{hint}")
    if b"ENCRYPTED" in text:
        raise RequestError(
            f"{option} {key} is encrypted: decrypt it with `openssl pkey`, the server asks for no password"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:  # OSError: ssl.SSLError, too
        reason = str(getattr(error, "reason", None) or error)
        if reason == "KEY_VALUES_MISMATCH":
            raise RequestError(f"{option} {key} is not the key of --ssl-certfile {certificate}") from None
        raise RequestError(f"--ssl-certfile {certificate} with its key cannot be used ({reason})") from None
    return context


def _pem(option: str, path: Path, mark: bytes, what: str) -> bytes:
    """The bytes of a file that has this mark of PEM. Raises RequestError."""
    try:
        data = read_bytes(path, LARGEST_FILE)
    except FileNotFoundError:
        raise RequestError(f"{option}: {path} does not exist") from None
    except RequestError as error:
        raise RequestError(f"{option}: {error}") from None
    if mark not in data:
        raise RequestError(f"{option} {path} has no PEM {what}")
    return data
