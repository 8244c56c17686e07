#!/usr/bin/env bash
# The kernels of 64-bit ARM, built by Debian's cross compiler and run by qemu, on any machine with Linux:
#   - the self-test: the variant `neon` gives the bits of the scalar one, case by case, against guard pages;
#   - a hash of the results of each op, the same from this machine's own build;
#   - on a CPU without dot products, the scalar variant alone.
#
#     bench/neon.sh [N]        every N-th case of the self-test; without N all of them
set -euo pipefail
cd "$(dirname "$0")/.."
every=${1:-1}
cmake=$PWD/.venv/bin/cmake
[ -x "$cmake" ] || cmake=cmake
if ! command -v aarch64-linux-gnu-g++ >/dev/null || ! command -v qemu-aarch64 >/dev/null; then
    echo "error: no cross compiler or no qemu: apt-get install g++-aarch64-linux-gnu qemu-user" >&2
    exit 1
fi

"$cmake" -S . -B build/neon -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_EXE_LINKER_FLAGS=-static -DSHOESTRING_BINDINGS=OFF >/dev/null
"$cmake" --build build/neon -j2 --target selftest
"$cmake" -S . -B build/here -DSHOESTRING_BINDINGS=OFF >/dev/null
"$cmake" --build build/here -j2 --target selftest

qemu-aarch64 -cpu cortex-a53 build/neon/selftest --every 97 rows pack matmul | tee build/neon/without.txt
grep -q '^1 variants (scalar), 0 failures$' build/neon/without.txt

# Two processes: matmul takes about as long as all others.
others=(pack rows sequence vision)
arm=(qemu-aarch64 -cpu max,pauth-impdef=on build/neon/selftest --every "$every" --digests)
"${arm[@]}" matmul >build/neon/matmul.txt 2>build/neon/matmul.err &
matmul=$!
failed=0
"${arm[@]}" "${others[@]}" >build/neon/others.txt 2>build/neon/others.err || failed=1
wait $matmul || failed=1
cat build/neon/matmul.err build/neon/others.err
if [ $failed = 1 ]; then
    grep -h FAILED build/neon/matmul.txt build/neon/others.txt | head -20
    exit 1
fi
for part in matmul others; do grep -q '^2 variants (scalar neon), 0 failures$' build/neon/$part.err; done

build/here/selftest --every "$every" --digests matmul >build/here/matmul.txt
build/here/selftest --every "$every" --digests "${others[@]}" >build/here/others.txt
for part in matmul others; do diff build/here/$part.txt build/neon/$part.txt; done
cat build/neon/matmul.txt build/neon/others.txt
echo "equal: $(cat build/neon/matmul.txt build/neon/others.txt | wc -l) hashes, here and on 64-bit ARM"
