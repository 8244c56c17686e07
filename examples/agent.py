"""A small agent: the model explores a folder with two tools until it can answer.

    pip install openai
    shoestring serve MODEL &
    python examples/agent.py "Which file decides how tokens are sampled?" --folder src

Works with any server that has OpenAI's chat completions: choose it with --url and --model.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from openai import OpenAI

SYSTEM = "You answer questions about the files in a folder. Look with the tools first, then answer briefly."
LONGEST = 20_000


def list_folder(folder: Path, path: str) -> str:
    """Names in a folder; folders end with a slash."""
    return "\n".join(sorted(entry.name + "/" * entry.is_dir() for entry in inside(folder, path).iterdir()))


def read_file(folder: Path, path: str) -> str:
    """The text of a file, at most its first 20,000 characters."""
    return inside(folder, path).read_text(encoding="utf-8", errors="replace")[:LONGEST]


def inside(folder: Path, path: str) -> Path:
    """The path below `folder`. Raises ValueError for a path that leads out of it."""
    full = (folder / path).resolve()
    if not full.is_relative_to(folder):
        raise ValueError(f"{path} is outside the folder")
    return full


TOOLS: dict[str, Callable[[Path, str], str]] = {"list_folder": list_folder, "read_file": read_file}
PATH = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
SPECIFICATION = [
    {"type": "function", "function": {"name": name, "description": tool.__doc__, "parameters": PATH}}
    for name, tool in TOOLS.items()
]


def answer(client: OpenAI, model: str, question: str, folder: Path, *, turns: int = 20) -> str:
    """Let the model call tools until it answers. Raises RuntimeError when it never does."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    for _ in range(turns):
        reply = client.chat.completions.create(model=model, messages=messages, tools=SPECIFICATION).choices[0].message
        messages.append(reply.model_dump(exclude_none=True))
        if not reply.tool_calls:
            return reply.content or ""
        for call in reply.tool_calls:
            print(f"… {call.function.name}({call.function.arguments})", flush=True)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": run(call.function, folder)})
    raise RuntimeError(f"no answer after {turns} turns")


def run(function, folder: Path) -> str:
    """Run a call. The model gets failures as text, so that it can try something else."""
    try:
        return TOOLS[function.name](folder, **json.loads(function.arguments))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"error: {error}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question")
    parser.add_argument("--folder", type=Path, default=Path.cwd())
    parser.add_argument("--url", default="http://127.0.0.1:8080/v1")
    parser.add_argument("--model", help="default: the first model of the server")
    options = parser.parse_args()
    client = OpenAI(base_url=options.url)  # the key is read from OPENAI_API_KEY
    model = options.model or client.models.list().data[0].id
    print(answer(client, model, options.question, options.folder.resolve()))
