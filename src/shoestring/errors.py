"""The errors of Shoestring, one tree.

    ShoestringError            everything a user can cause or meet; the CLI prints it on one line, exit code 2
    ├── CheckpointError        a file is malformed, incomplete, of an unknown family or type
    ├── TokenizerError         the tokenizer or chat template of a checkpoint cannot be used
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
