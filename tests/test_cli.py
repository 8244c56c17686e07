"""The command line over a scripted model: what it prints where, exit codes, errors of one line."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "engine"))
from cli_help import FROZEN, help_text
from scripted_text import END_THINK, scripted

import shoestring
from shoestring.cli import chat, perplexity, run_command
from shoestring.cli.app import run
from shoestring.cli.progress import Progress, human
from shoestring.errors import CapacityError, CheckpointError, NumericsError
from shoestring.model.model import Model

PYTHON = [sys.executable, "-m", "shoestring"]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Model], None]:
    """Let every command load this model."""

    def install(model: Model) -> None:
        for module in (run_command, chat, perplexity):
            monkeypatch.setattr(module, "load_model", lambda name, **options: model)

    return install


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], None]:
    """What stdin holds; it is no terminal."""

    def install(text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))

    return install


def failed(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


# --- help ------------------------------------------------------------------------------------------------------


def test_help_is_what_was_agreed() -> None:
    assert help_text() == FROZEN.read_text(encoding="utf-8"), (
        "run tests/cli_help.py if you mean it, and look at the diff"
    )


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    seconds = []
    for _ in range(5):
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = subprocess.run([*PYTHON, "--help"], capture_output=True, text=True, check=True)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Time of the processor, so that a busy machine does not matter; nothing is waited for.
        seconds.append(ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime)
    assert "perplexity" in result.stdout
    assert min(seconds) < 0.3
    code = """if True:
        import sys
        from shoestring.cli.app import run
        assert run(["--help"]) == 0
        print([m for m in ("numpy", "rich", "tokenizers", "jinja2", "shoestring._kernels") if m in sys.modules])
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["run", "--help"], ["chat", "-h"]])
def test_help_ends_well(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    assert "Usage: shoestring" in out
    assert err == ""


def test_inspect_never_loads_the_extension(tmp_path: Path) -> None:
    import random_models

    from shoestring.synthetic import write_synthetic

    path = tmp_path / "model.gguf"
    write_synthetic(random_models.qwen3_5(), path, "Q4_K_M")
    code = """if True:
        import sys
        from shoestring.cli.app import run
        assert run(["inspect", sys.argv[1], "--json"]) == 0
        assert "shoestring._kernels" not in sys.modules
        assert run(["inspect", sys.argv[1]]) == 0
        assert "shoestring._kernels" not in sys.modules
    """
    result = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    facts = json.loads(result.stdout.splitlines()[0])
    assert facts["architecture"] == "qwen3_5"
    assert facts["experts"] == 8
    assert facts["experts_per_token"] == 2
    assert facts["parameters_active"] < facts["parameters_total"]
    assert facts["tensor_bytes"] == sum(size for types in facts["bytes"].values() for size in types.values())
    assert facts["layer_kinds"] == {"delta-net": 3, "full attention": 1}
    assert facts["chunk_bytes_per_token_f16"] == facts["chunk_size"] == 0


def test_inspect_tells_what_chunked_layers_keep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import random_models

    from shoestring.synthetic import write_synthetic

    path = tmp_path / "model.gguf"
    write_synthetic(random_models.llama4(), path, "Q4_0")
    assert run(["inspect", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    # Keys and values of two heads of 64 in float16: one layer sees the whole past, three their chunk.
    assert facts["kv_bytes_per_token_f16"] == 2 * 2 * 64 * 2
    assert facts["chunk_bytes_per_token_f16"] == 3 * facts["kv_bytes_per_token_f16"]
    assert run(["inspect", str(path)]) == 0
    assert "1.50 KiB a token in layers that see their chunk of 8,192 tokens" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["qwen3.5:35b", "org_m_m-Q4_K_M.gguf", "org/name"])
def test_a_stores_own_name_is_a_model(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from shoestring import stores
    from shoestring.cli.models import find

    monkeypatch.setattr(stores, "find_checkpoint", lambda wanted: tmp_path if wanted == name else None)
    assert find(name) == tmp_path
    with pytest.raises(CheckpointError, match="does not exist"):
        find(f"./{name}")


# --- run -------------------------------------------------------------------------------------------------------


def test_run_prints_the_answer_and_nothing_else_on_stdout(
    use: Callable[[Model], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use(scripted({"hi": "grüß dich".encode()}))
    assert run(["run", "m", "hi"]) == 0
    out, err = capsys.readouterr()
    assert out == "grüß dich\n"
    assert "2 prompt tokens" in err


def test_run_reads_stdin(
    use: Callable[[Model], None], typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use(scripted({"hi": b"hello"}))
    for arguments in (["run", "m"], ["run", "m", "-"]):
        typed("hi")
        assert run(arguments) == 0
        assert capsys.readouterr().out == "hello\n"


def test_run_as_json(use: Callable[[Model], None], capsys: pytest.CaptureFixture[str]) -> None:
    use(scripted({"hi": [*b"hm", END_THINK, *b"yes"]}))
    assert run(["run", "m", "hi", "--chat", "--thinking", "--json", "--logprobs", "1"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["thinking"] == "hm"
    assert facts["text"] == "yes"
    assert facts["finish_reason"] == "stop"
    assert len(facts["logprobs"]) == len(facts["tokens"]) == 7


def test_options_reach_the_model(use: Callable[[Model], None], capsys: pytest.CaptureFixture[str]) -> None:
    model = scripted({"hi": b"one two three", "sys\x01hi": b"x"})
    asked: dict[str, Any] = {}
    real = model.generate

    def generate(*args: Any, **options: Any) -> Any:
        asked.update(options)
        return real(*args, **options)

    model.generate = generate  # type: ignore[method-assign]
    use(model)
    line = (
        "run m hi --system be --temperature 0.5 --top-k 3 --top-p 0.9 --min-p 0.1 --presence-penalty 1 "
        "--frequency-penalty 2 --repetition-penalty 1.1 --logit-bias 5=-2 --logit-bias 6=1 --seed 9 --stop two "
        "--stop three --stop-id 7 --max-tokens 11 --no-thinking"
    )
    assert run(line.split()) == 0
    assert asked == {
        "messages": [{"role": "system", "content": "be"}, {"role": "user", "content": "hi"}],
        "temperature": 0.5,
        "top_k": 3,
        "top_p": 0.9,
        "min_p": 0.1,
        "presence_penalty": 1.0,
        "frequency_penalty": 2.0,
        "repetition_penalty": 1.1,
        "logit_bias": {5: -2.0, 6: 1.0},
        "seed": 9,
        "stop": ("two", "three"),
        "stop_ids": (7,),
        "max_tokens": 11,
        "thinking": False,
    }
    assert capsys.readouterr().out == "one \n"


# --- wrong input -----------------------------------------------------------------------------------------------

WRONG = [
    ("run", "Missing argument"),
    ("frobnicate", "No such command"),
    ("run m hi --nonsense", "No such option"),
    ("run m hi --top-k many", "--top-k"),
    ("run m hi --kv-type f8", "--kv-type"),
    ("run m hi --top-k -1", "top_k"),
    ("run m hi --temperature -1", "temperature is -1.0"),
    ("run m hi --temperature nan", "temperature is nan"),
    ("run m hi --top-p 1.5", "top_p is 1.5"),
    ("run m hi --min-p -0.5", "min_p"),
    ("run m hi --repetition-penalty 0", "repetition_penalty is 0"),
    ("run m hi --seed -1", "seed is -1"),
    ("run m hi --logit-bias five=1", "--logit-bias is 'five=1'"),
    ("run m hi --logit-bias 5", "--logit-bias"),
    ("run m hi --max-tokens 0", "--max-tokens is 0"),
    ("run m hi --stop-id -5", "--stop-id is -5"),
    ("run m hi --stop=", "--stop is empty"),
    ("run m hi --logprobs 3", "--json"),
    ("run m.gguf hi --threads 0", "--threads is 0"),
    ("run m.gguf hi --threads 5000", "--threads is 5000"),
    ("run m.gguf hi --threads two", "--threads"),
    ("run m.gguf hi", "m.gguf does not exist"),
    ("chat m.gguf --threads -3", "--threads is -3"),
    ("inspect m.gguf", "m.gguf does not exist"),
    ("bench", "give either MODEL or --synthetic"),
    ("bench m --synthetic c", "give either MODEL or --synthetic"),
    ("bench m --layers 3", "--synthetic"),
    ("bench m --repetitions 0", "--repetitions is 0"),
    ("bench --synthetic nowhere.json", "nowhere.json cannot be read"),
    ("perplexity m", "--file"),
    ("perplexity m --file nowhere.txt", "nowhere.txt: No such file"),
    ("pull not-a-name", "not-a-name"),
]


@pytest.mark.parametrize(("line", "says"), WRONG, ids=[line for line, _ in WRONG])
def test_wrong_input_is_one_line_and_code_2(line: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line.split()) == 2
    assert says in failed(capsys)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (CheckpointError("a.gguf is torn"), 2, "a.gguf is torn"),
        (CapacityError("needs 5 bytes\nand 3 are free"), 2, "needs 5 bytes and 3 are free"),
        (NumericsError("a logit is not finite"), 2, "a logit is not finite"),
        (OSError(28, "No space left on device", "out.txt"), 2, "out.txt: No space left on device"),
        (MemoryError(), 2, "memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ModuleNotFoundError("gone", name="shoestring._kernels"), 2, "run --reference"),
        (ModuleNotFoundError("No module named 'jinja2'", name="jinja2"), 2, "jinja2"),
        (ZeroDivisionError("oh"), 1, "bug in shoestring (ZeroDivisionError: oh)"),
    ],
)
def test_errors_of_all_kinds(
    error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, **options: object) -> Model:
        raise error

    monkeypatch.setattr(run_command, "load_model", fail)
    assert run(["run", "m", "hi"]) == code
    assert says in failed(capsys)
    for arguments in (["--debug", "run", "m", "hi"], ["run", "m", "hi", "--debug"]):
        assert run(arguments) == code
        assert ("Traceback" in capsys.readouterr().err) == (code != 130)


def test_long_errors_stay_on_one_line_in_a_narrow_terminal() -> None:
    name = "very/" * 40 + "long.gguf"
    environment = {**os.environ, "COLUMNS": "40", "TERM": "xterm"}
    result = subprocess.run([*PYTHON, "run", name, "hi"], capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert name in result.stderr


def test_prompts_that_cannot_be(
    use: Callable[[Model], None], typed: Callable[[str | bytes], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use(scripted({}, context=20))
    assert run(["run", "m", "x" * 30]) == 2
    assert "30 tokens" in failed(capsys)
    assert run(["run", "m", ""]) == 2
    assert "empty" in failed(capsys)
    typed("")
    assert run(["run", "m"]) == 2
    assert "stdin is empty" in failed(capsys)
    typed(b"\xff\xfe")
    assert run(["run", "m"]) == 2
    assert "not UTF-8" in failed(capsys)


# --- chat ------------------------------------------------------------------------------------------------------


def test_a_conversation(
    use: Callable[[Model], None], typed: Callable[[str], None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    use(scripted({"hi": b"hello", "and?": b"more"}))
    saved = tmp_path / "saved.json"
    typed(f"hi\n\nand?\n/save {saved}\n/clear\n/load {saved}\n/help\n/exit\nnever asked\n")
    assert run(["chat", "m", "--system", "be brief"]) == 0
    out, err = capsys.readouterr()
    assert "hello" in out
    assert "more" in out
    assert "/save FILE" in out
    assert "never asked" not in out
    assert err.count("tokens/s") == 2
    messages = json.loads(saved.read_text())
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert messages[2]["content"] == "hello"
    assert list(tmp_path.iterdir()) == [saved], "nothing half-written is left"


def test_mistakes_in_a_chat_do_not_end_it(
    use: Callable[[Model], None], typed: Callable[[str], None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    use(scripted({"hi": b"hello"}, context=60))
    broken = tmp_path / "broken.json"
    broken.write_text('[{"role": "wizard", "content": "x"}]')
    typed(f"/bogus\n/save\n/save {tmp_path}/no/such\n/load {broken}\n/load {tmp_path}/none\n{'x' * 80}\nhi\n")
    assert run(["chat", "m"]) == 0
    out, err = capsys.readouterr()
    assert "hello" in out, "the question that was too long is forgotten"
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    for line, says in zip(lines, ("/bogus", "/save needs", "No such file", "wizard", "No such", "/clear"), strict=True):
        assert says in line


def test_a_full_context_is_one_line(
    use: Callable[[Model], None], typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use(scripted({"hi": b"x" * 100, "yo": b"fine"}, context=50))
    typed("hi\nyo\n/clear\nyo\n")
    assert run(["chat", "m"]) == 0
    out, err = capsys.readouterr()
    assert err.count("the context of 50 tokens is full") == 1
    assert err.count("error: ") == 1
    assert "fine" in out


def test_ctrl_c_stops_the_answer_and_not_the_program(
    use: Callable[[Model], None], typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    model = scripted({"hi": b"a long answer", "yo": b"fine"})
    real = model.engine.step
    steps = iter(range(1000))

    def step() -> None:
        if next(steps) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        real()

    model.engine.step = step  # type: ignore[method-assign]
    use(model)
    typed("hi\nyo\n")
    assert run(["chat", "m"]) == 0
    out, err = capsys.readouterr()
    assert "a long answer" not in out
    assert "a lo" in out
    assert "fine" in out
    assert err.count("[stopped; ") == 1
    assert model.engine.idle
    model.engine.check()


def test_thinking_is_dimmed_on_a_terminal(
    use: Callable[[Model], None],
    typed: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(scripted({"hi": [*b"hmm", END_THINK, *b"\n\nhello"]}))
    typed("hi\n")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert run(["chat", "m", "--thinking"]) == 0
    assert "\x1b[2mhmm\x1b[0m\nhello" in capsys.readouterr().out


def test_chat_without_a_model_says_what_it_uses(
    use: Callable[[Model], None],
    typed: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import shoestring.stores

    use(scripted({"hi": b"hello"}))
    monkeypatch.setattr(shoestring.stores, "find_checkpoint", lambda name: None)
    typed("hi\n")
    assert run(["chat"]) == 0
    out, err = capsys.readouterr()
    assert "neither Qwen 3.5 nor Llama 4" in err
    assert "hello" in out


@pytest.mark.parametrize("answer", ["y", "n", ""])
def test_chat_without_a_model_offers_to_fetch_one(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import shoestring.hub
    import shoestring.stores

    pulled = []
    monkeypatch.setattr(shoestring.stores, "find_checkpoint", lambda name: None)
    monkeypatch.setattr(shoestring.hub, "pull", lambda name: pulled.append(name))
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt="": answer)
    assert chat.choose_model() == (chat.SMALLEST if answer == "y" else "demo-llama4")
    assert pulled == ([chat.SMALLEST] if answer == "y" else [])


# --- the rest --------------------------------------------------------------------------------------------------


def test_perplexity_as_json(use: Callable[[Model], None], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    use(scripted({}))
    text = tmp_path / "text.txt"
    text.write_text("x" * 100)
    assert run(["perplexity", "m", "--file", str(text), "--context", "20", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["perplexity"] > 1
    assert facts["windows"] == 5
    text.write_text("x" * 39)
    assert run(["perplexity", "m", "--file", str(text), "--context", "20"]) == 2
    assert "39 tokens" in failed(capsys)


@pytest.fixture
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_progress_is_silent_for_what_is_quick(
    no_terminal: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress("loading") as progress:
        for second in range(10):
            no_terminal[0] = second / 10
            progress(second, 10)
        assert capsys.readouterr().err == ""
        no_terminal[0] = 2.0
        progress(5 << 20, 10 << 20)
        shown = capsys.readouterr().err
        assert "50%" in shown
        assert "5.00 MiB of 10.00 MiB" in shown
    assert capsys.readouterr().err.strip() == ""


def test_sizes_have_units() -> None:
    assert [human(n) for n in (0, 1023, 1536, 5 << 30)] == ["0 B", "1023 B", "1.50 KiB", "5.00 GiB"]


def test_an_instruction_set_that_the_cpu_lacks() -> None:
    environment = {**os.environ, "SHOESTRING_ISA": "avx9"}
    result = subprocess.run([*PYTHON, "version"], capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("error: SHOESTRING_ISA=avx9")
    assert result.stderr.count("\n") == 1


def test_version_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["isa"] in facts["variants"]
    assert "scalar" in facts["variants"]
    assert facts["version"] == shoestring.__version__


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        command = [*PYTHON, "version"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "error: No space left on device\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m shoestring list --json --help | head -c 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stderr == ""


def test_ctrl_c_ends_with_130() -> None:
    code = """if True:
        import sys, time
        from shoestring.cli import run_command
        from shoestring.cli.app import run
        def load(name, **options):
            print("ready", flush=True)
            time.sleep(60)
        run_command.load_model = load
        sys.exit(run(["run", "m", "hi"]))
    """
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "error: interrupted\n"


def test_ctrl_c_inside_of_generated_code_ends_with_130() -> None:
    """Python remembers a KeyboardInterrupt that left exec(), and would end by the signal though it was handled."""
    code = """if True:
        import sys
        from shoestring import cli
        from shoestring.cli import run_command
        def load(name, **options):
            exec("raise KeyboardInterrupt")
        run_command.load_model = load
        sys.argv = ["shoestring", "run", "m", "hi"]
        cli.main()
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (130, "error: interrupted\n")


def config_file(folder: Path, **fields: object) -> Path:
    from shoestring.catalogue.load import FOLDER

    file = folder / "its-own-name.json"
    file.write_text(json.dumps(json.loads((FOLDER / "configs" / "qwen3.5-0.8b.json").read_text()) | fields))
    return file


def test_bench_names_the_config_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--synthetic", str(config_file(tmp_path, model_type="other"))]) == 2
    assert "its-own-name.json: model_type is 'other'" in failed(capsys)


def test_bench_makes_no_model_that_does_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from shoestring.model import memory

    monkeypatch.setattr(memory, "free_memory", lambda: 1 << 20)
    out = tmp_path / "kept.gguf"
    assert run(["bench", "--synthetic", str(config_file(tmp_path)), "--output", str(out)]) == 2
    assert "bytes of memory for its weights and 1048576 are free" in failed(capsys)
    assert not out.exists()
