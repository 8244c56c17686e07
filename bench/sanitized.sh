#!/usr/bin/env bash
# Build the kernels' self-test and the extension with the address and undefined-behaviour sanitizers, run the self-test,
# and its I/O part under the thread sanitizer too; then run pytest on the given tests with the sanitized extension. The
# in-tree extension does not change.
#
#     bench/sanitized.sh [PYTEST ARGUMENT …]
#
# SELFTEST_EVERY=N: every N-th case of the self-test, 3 unless given; `make deep` runs all.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
build=build/sanitize

# Loading the package from a copy keeps the sanitized extension out of src/.
mkdir -p $build/package
rm -rf $build/package/shoestring
cp -r src/shoestring $build/package/shoestring
rm -f $build/package/shoestring/_kernels*.so
.venv/bin/cmake -S . -B $build -DSHOESTRING_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="-O1 -g1" \
    -DPython_EXECUTABLE="$python" -DSHOESTRING_PACKAGE="$PWD/$build/package/shoestring" >/dev/null
.venv/bin/cmake --build $build -j2 --target selftest
$build/selftest --every "${SELFTEST_EVERY:-3}" >$build/selftest.log 2>&1 &  # on one core, while the other compiles
selftest=$!
trap 'kill $selftest 2>/dev/null || true' EXIT
.venv/bin/cmake --build $build -j1 --target _kernels

.venv/bin/cmake -S . -B build/thread -DSHOESTRING_SANITIZE=thread -DSHOESTRING_BINDINGS=OFF -DCMAKE_BUILD_TYPE=None \
    -DSHOESTRING_SCALAR_ONLY=ON -DCMAKE_CXX_FLAGS="-O1 -g1" >/dev/null
.venv/bin/cmake --build build/thread -j1 --target selftest
build/thread/selftest io
wait $selftest || { cat $build/selftest.log; exit 1; }
cat $build/selftest.log

# CPython keeps memory until its end by design, so leaks are not looked for; the extension's own would drown.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:handle_sigbus=0  # SIGBUS is ours
export LD_PRELOAD="$(${CXX:-g++} -print-file-name=libasan.so) $(${CXX:-g++} -print-file-name=libstdc++.so.6)"
PYTHONPATH=$build/package "$python" -m pytest -q -p no:cacheprovider "$@"
