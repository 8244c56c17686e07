"""The child process of foreign_words.py: reads parts of a pre-tokenizer and texts, prints where words begin and end.

It imports nothing of ours, so that it starts quickly, and limits itself before it builds anything.
"""

import json
import re
import resource
import signal
import sys
from pathlib import Path
from typing import Any

#: Processor seconds until SIGPROF ends this process; bytes of address space beyond those after the imports.
SECONDS = 1.0
MEMORY = 128 << 20


def main() -> None:
    from tokenizers import Regex, pre_tokenizers

    question = json.load(sys.stdin.buffer)
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    spans: list[list[int]] = []
    try:
        parts: list[Any] = []
        for part in question["parts"]:
            if "individual" in part:
                parts.append(pre_tokenizers.Digits(individual_digits=part["individual"]))
            else:
                pattern = Regex(part["pattern"]) if part["is_regex"] else part["pattern"]
                behavior = re.sub("(?<!^)(?=[A-Z])", "_", part["behavior"]).lower()
                parts.append(pre_tokenizers.Split(pattern, behavior, part["invert"]))
        if question["gpt2"]:
            parts.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True))
        cut = pre_tokenizers.Sequence(parts)
        for text in question["texts"]:
            spans.append([at for _, span in cut.pre_tokenize_str(text) for at in span])
        problem = ""
    except BaseException as error:  # a panic is no Exception
        problem, spans = " ".join(str(error).split()) or type(error).__name__, []
    json.dump({"problem": problem, "spans": spans}, sys.stdout)


if __name__ == "__main__":
    main()
