"""Tell what a file is from its first bytes, never from its name; refuse documents and foreign pictures by kind."""

from __future__ import annotations

import re
from typing import Literal, get_args

from shoestring.errors import RequestError

PictureFormat = Literal["JPEG", "PNG", "GIF", "WebP", "AVIF"]
VideoFormat = Literal["MP4", "Matroska", "AVI"]
Format = Literal[PictureFormat, VideoFormat]
PICTURE_FORMATS: tuple[PictureFormat, ...] = get_args(PictureFormat)

#: Bytes that decide.
HEAD = 1024
READ = "JPEG, PNG, WebP, GIF and AVIF pictures and MP4, MOV, WebM, MKV and AVI videos are read"

_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_AUDIO_BRANDS = {b"M4A ", b"M4B ", b"F4A "}
#: first bytes → what it is
_REFUSED = (
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an office document"),
    (b"{\\rtf", "a text document"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"II+\0", "a TIFF picture"),
    (b"8BPS", "a Photoshop picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\1\0", "an icon"),
    (b"BM", "a BMP picture"),
    (b"ID3", "a sound file"),
    (b"OggS", "a sound file or an Ogg video"),
    (b"fLaC", "a sound file"),
    (b"\x1f\x8b", "a compressed file"),
    (b"FLV\1", "a Flash video"),
    (b"#EXTM3U", "a playlist"),
    (b"\0\0\1\xba", "an MPEG program stream"),
)
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|!doctype|!--|svg|html|head|body)", re.IGNORECASE)
_SVG = re.compile(rb"<(?:\w+:)?svg[\s>]", re.IGNORECASE)


def format_of(data: bytes, name: str) -> Format:
    """The format of a file. Raises RequestError for a file that is none of them, or two things at once."""
    found = _format(data, name)
    _refuse_polyglot(data, name, found)
    return found


def _format(data: bytes, name: str) -> Format:
    head = bytes(data[:HEAD])
    if head[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if head[:4] == b"RIFF":
        if head[8:12] == b"WEBP":
            return "WebP"
        if head[8:12] == b"AVI ":
            return "AVI"
        raise _refused(name, "a sound file" if head[8:12] == b"WAVE" else "an unknown RIFF file")
    if head[:4] == b"\x1aE\xdf\xa3":
        return "Matroska"
    if head[4:8] == b"ftyp":
        return _iso_format(head, name)
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip"):  # QuickTime before ftyp existed
        return "MP4"
    for beginning, what in _REFUSED:
        if head.startswith(beginning):
            raise _refused(name, what)
    if _MARKUP.match(head) or _SVG.search(head):
        raise _refused(name, "an SVG drawing" if _SVG.search(head) else "an HTML or XML text")
    raise _refused(name, "no picture or video that Shoestring knows")


def _iso_format(head: bytes, name: str) -> Format:
    """By the brands of an ISO base media file: the first decides, except that many writers put mif1 first."""
    size = max(16, min(int.from_bytes(head[:4], "big"), HEAD))
    major = head[8:12]
    brands = {major, *(head[at : at + 4] for at in range(16, size, 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    if major in _HEIC_BRANDS or brands & {b"heic", b"heix"}:
        raise _refused(name, "an HEIC picture")
    if major in _AUDIO_BRANDS:
        raise _refused(name, "a sound file")
    if major == b"crx ":
        raise _refused(name, "a raw photo")
    return "MP4"


def _refuse_polyglot(data: bytes, name: str, found: Format) -> None:
    """Refuse a file that other programs would read as a document or an archive."""
    other = ""
    if b"%PDF-" in data[:HEAD]:
        other = "a PDF document"
    elif found in PICTURE_FORMATS and _is_zip(data[-(22 + 0xFFFF) :]):
        other = "a ZIP archive"
    if other:
        raise RequestError(f"{name} is a {found} file and {other} at once: save the picture again, alone")


def _is_zip(tail: bytes) -> bool:
    """Whether a file that ends so has the end record of a ZIP archive: signature, and a comment to the last byte."""
    at = tail.rfind(b"PK\5\6")
    while at >= 0:
        if at + 22 <= len(tail) and at + 22 + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail):
            return True
        at = tail.rfind(b"PK\5\6", 0, at)
    return False


def _refused(name: str, what: str) -> RequestError:
    return RequestError(f"{name} is {what}: {READ}: convert it to one of them first")
