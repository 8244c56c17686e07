"""The errors of Shoestring, one tree.

    ShoestringError            everything a user can cause or meet; the CLI prints it on one line, exit code 2
    ├── CheckpointError        a file is malformed, incomplete, of an unknown family or type
    ├── TokenizerError         the tokenizer or chat template of a checkpoint cannot be used
    ├── ReadError              a region of a file cannot be read, or of our own file written, while it is in use
    ├── CapacityError          it does not fit: memory, disk, context
    ├── RequestError           the caller asks for what cannot be honoured: options, roles, lengths
    ├── BusyError              this machine is busy: the same request may succeed later
    ├── StoppedError           the client has gone, or the server shuts down: the work ends half-way
    └── NumericsError          a forward pass produced a logit that is not finite

A message says what is wrong, where (file, tensor, field), and what to do.
"""


class ShoestringError(Exception):
    """Base of all errors that are raised on purpose."""


class CheckpointError(ShoestringError):
    """A checkpoint is malformed, incomplete, or not of a supported family or type."""


class TokenizerError(ShoestringError):
    """The tokenizer or chat template of a checkpoint cannot be used."""


class ReadError(ShoestringError):
    """A region of an open file cannot be read, or of a file of ours written.

    file: its path; offset: the byte where it failed; why: what the operating system says; ticket: that of the reader
    (`ops/reading.py`).
    """

    def __init__(self, file: str, offset: int, why: str, ticket: int = 0) -> None:
        super().__init__(file, offset, why, ticket)
        self.file, self.offset, self.why, self.ticket = file, offset, why, ticket

    def __str__(self) -> str:
        return f"{self.file}, byte {self.offset}: {self.why}"


class CapacityError(ShoestringError):
    """What was asked for does not fit into memory, disk or context."""


class RequestError(ShoestringError):
    """The caller asks for something that cannot be honoured."""


class BusyError(ShoestringError):
    """This machine is busy with other requests; the same one may succeed later."""


class StoppedError(ShoestringError):
    """Work was stopped half-way: nobody waits for it any more."""


class NumericsError(ShoestringError):
    """A forward pass produced a logit that is not finite."""
