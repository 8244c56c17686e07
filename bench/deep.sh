#!/usr/bin/env bash
# The long checks: tests that take minutes (the server's siege and soak among them), every test under the sanitizers,
# half an hour of changing batches in a control group, ten minutes of fuzzing per parser, and the same bits from a second
# compiler and on 64-bit ARM where the tools are there.
#
#     bench/deep.sh [SECONDS OF FUZZING A PARSER] [SECONDS OF CHANGING BATCHES]
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
seconds=${1:-600}
batches=${2:-1800}

echo "== tests that take minutes, with a siege and a soak of the server"
"$python" -m pytest -q -s -m deep -o addopts=

echo "== the peak of a budget, $batches s of changing batches"
PYTHONPATH=bench "$python" -m streaming --rows peak --batches "$batches"

echo "== every property with new examples"
"$python" -m pytest -q --hypothesis-profile=new -n 2 --dist loadfile --ignore tests/parity --ignore tests/train_demo

echo "== every kernel test against every instruction set of this CPU"
SHOESTRING_TEST_VARIANTS=all "$python" -m pytest -q tests/kernels

# Not torch, whose own findings are not ours; not what is held to seconds: planning, which never loads the
# extension, and the time that a large vocabulary takes.
echo "== every test under the sanitizers"
SELFTEST_EVERY=1 bench/sanitized.sh tests --ignore tests/parity --ignore tests/planning --ignore tests/kernels/test_symbols.py --timeout 1800 \
    --deselect tests/checkpoint/text/test_tokenizer_vendors.py::test_a_large_vocabulary_loads_quickly

echo "== fuzzing, $seconds s a parser"
"$python" -m pip install --quiet atheris
for parser in gguf safetensors; do
    "$python" tests/fuzz/${parser}_fuzz.py -max_total_time="$seconds"
done

echo "== a second compiler"
if command -v clang++ >/dev/null; then
    mkdir -p build/clang/package
    rm -rf build/clang/package/shoestring
    cp -r src/shoestring build/clang/package/shoestring
    rm -f build/clang/package/shoestring/_kernels*.so
    .venv/bin/cmake -S . -B build/clang -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=Release \
        -DPython_EXECUTABLE="$python" -DSHOESTRING_PACKAGE="$PWD/build/clang/package/shoestring" >/dev/null
    .venv/bin/cmake --build build/clang -j2 --target selftest _kernels
    build/clang/selftest
    PYTHONPATH=build/clang/package "$python" -m pytest -q tests/golden tests/kernels tests/engine
else
    echo "clang++ is not installed: not checked"
fi

echo "== 64-bit ARM, under qemu"
if command -v aarch64-linux-gnu-g++ >/dev/null && command -v qemu-aarch64 >/dev/null; then
    bench/neon.sh
    bench/neon_golden.sh
else
    echo "g++-aarch64-linux-gnu or qemu-user is not installed: not checked"
fi
