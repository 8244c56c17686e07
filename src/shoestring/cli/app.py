"""Define the command line: its commands, and how it reports errors.

Exit codes: 0; 2 for errors that a user can cause; 130 for Ctrl-C; 1 for bugs. An error is one line on stderr, whatever
the terminal's width; only --debug prints a traceback. Commands import their dependencies when they run, so that --help
is fast.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from shoestring import __version__
from shoestring.cli import version
from shoestring.cli.advise import bench, plan, tokens
from shoestring.cli.models import chat, demo, files, inspect, perplexity, run_command
from shoestring.cli.options import Debug
from shoestring.cli.program import as_typed
from shoestring.cli.say import say
from shoestring.cli.serve import batch, doctor, serve
from shoestring.cli.spellings import Command
from shoestring.errors import ShoestringError
from shoestring.printable import printable
from shoestring.spelling import command_line

#: The exception for a wrong command line; typer has its own copy of click's classes, or uses click's.
_UsageError: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="shoestring",
    help="Run Qwen 3.5 and Llama 4 on the CPU: bit-identical results for any thread count, batch and instruction set.",
    epilog="MODEL is a .gguf file, a Hugging Face folder, a Hub name, demo-llama4, demo-qwen3.5 or demo-scripted.",
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback(invoke_without_command=True)
def _shoestring(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Debug = False,
) -> None:
    if version:
        say(f"shoestring {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        say(context.get_help())


app.command("run", cls=Command, help=run_command.HELP, short_help="Complete or answer one prompt.")(run_command.run)
app.command("chat", cls=Command, help=chat.HELP, short_help="Chat with a model.")(chat.chat)
app.command("serve", cls=Command, help=serve.HELP, short_help="Serve a model over HTTP.")(serve.serve)
app.command("batch", cls=Command, help=batch.HELP, short_help="Answer a file of requests.")(batch.batch)
app.command("doctor", cls=Command, help=doctor.HELP, short_help="Check whether this machine can serve.")(doctor.doctor)
app.command("plan", help=plan.PLAN_HELP, short_help="Recommend a model to run.")(plan.plan)
app.command("compare", help=plan.COMPARE_HELP, short_help="Compare two models for your use case.")(plan.compare)
app.command("tokens", help=tokens.HELP, short_help="Count a text's tokens in both families.")(tokens.tokens)
app.command("inspect", cls=Command, help=inspect.HELP, short_help="Describe a checkpoint.")(inspect.inspect)
app.command("bench", cls=Command, help=bench.HELP, short_help="Measure speed and memory.")(bench.bench)
app.command("perplexity", cls=Command, help=perplexity.HELP, short_help="Compute the perplexity of a text.")(
    perplexity.perplexity
)
app.command("pull", help=files.PULL_HELP, short_help="Download a checkpoint from the Hub.")(files.pull)
app.command("list", help=files.LIST_HELP, short_help="List the checkpoints on this machine.")(files.list_checkpoints)
embedded = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]}, rich_markup_mode=None)
embedded.callback(invoke_without_command=True)(demo.demo)
embedded.command("export", help=demo.EXPORT_HELP, short_help="Export demo-qwen3.5 as a folder.")(demo.export)
app.add_typer(embedded, name="demo", help=demo.HELP, short_help="Try the embedded test models.")
app.command("version", help=version.HELP, short_help="Print the version and instruction sets.")(version.version)


def run(arguments: list[str], program: typer.Typer = app) -> int:
    """Run a command line of `program`; returns the exit code."""
    _open_standard_streams()
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in own
    try:
        with command_line():
            code = program(args=arguments, prog_name=program.info.name, standalone_mode=False)
        sys.stdout.flush()
        if code == 130:  # typer caught a KeyboardInterrupt
            return _failed("interrupted", KeyboardInterrupt(), 130, debug)
    except BrokenPipeError:
        # The reader of our output is gone. Python would fail again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (KeyboardInterrupt, typer.Abort) as error:
        return _failed("interrupted", error, 130, debug)
    except typer.Exit as error:
        return error.exit_code
    except _UsageError as error:
        return _failed(error.format_message(), error, 2, debug)  # type: ignore[attr-defined]
    except ShoestringError as error:
        return _failed(str(error), error, 2, debug)
    except MemoryError as error:
        return _failed("out of memory: choose a smaller --context or a smaller model", error, 2, debug)
    except OSError as error:
        what = error.strerror or str(error)
        return _failed(f"{error.filename}: {what}" if error.filename else what, error, 2, debug)
    except ModuleNotFoundError as error:
        if error.name == "shoestring._kernels":
            what = "the compiled extension is missing: reinstall shoestring, or use `shoestring run --reference`"
            return _failed(what, error, 2, debug)
        return _failed(f"a package is missing ({error}): reinstall shoestring", error, 2, debug)
    except ImportError as error:  # raised by the extension for a wrong SHOESTRING_ISA
        return _failed(str(error), error, 2, debug)
    except Exception as error:
        what = f"this is a bug in shoestring ({type(error).__name__}: {error}): run again with --debug and report it"
        return _failed(what, error, 1, debug)
    return code if isinstance(code, int) else 0


def _open_standard_streams() -> None:
    """Put /dev/null where the caller closed stdin, stdout or stderr.

    Python sets such a stream to None, and the next file that is opened would get its number and the output.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is not None:
            continue
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)
        setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="backslashreplace"))


def _failed(message: str, error: BaseException, code: int, debug: bool) -> int:
    if debug:
        print(printable("".join(traceback.format_exception(error)), lines=True), end="", file=sys.stderr)
    print("error: " + printable(" ".join(as_typed(message).split())), file=sys.stderr)
    return code
