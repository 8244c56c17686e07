#!/usr/bin/env bash
# The kernels of 64-bit ARM, built by Debian's cross compiler and run by qemu, on any machine with Linux, on three CPUs:
# without dot products, with them, and with matrix instructions (i8mm) as well. On each of them
#   - the self-test: every variant gives the bits of the scalar one, case by case, against guard pages;
#   - a hash of the results of each op, the same from this machine's own build.
#
#     bench/neon.sh [N]        every N-th case of the self-test; without N all of them, on the first two CPUs every 29th
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

parts=(matmul pack rows sequence vision)
# on_cpu CPU VARIANTS EVERY
on_cpu() {
    local here=build/here/$3.txt arm=build/neon/$1.txt
    if ! qemu-aarch64 -cpu "$1" build/neon/selftest --every "$3" --digests "${parts[@]}" >"$arm" 2>"$arm.err"; then
        grep FAILED "$arm" | head -20
        tail -n 3 "$arm.err"
        return 1
    fi
    if ! grep -q "variants ($2), 0 failures$" "$arm.err"; then
        echo "error: not the variants $2 on $1: $(tail -n 1 "$arm.err")" >&2
        return 1
    fi
    if ! build/here/selftest --every "$3" --digests "${parts[@]}" >"$here" 2>"$here.err"; then
        echo "error: the self-test fails here: $(tail -n 1 "$here.err")" >&2
        return 1
    fi
    diff "$here" "$arm"
    echo "$1: $(cat "$arm.err"), $(wc -l <"$arm") hashes as here"
}
few=$((every > 29 ? every : 29))
on_cpu cortex-a53 "scalar" "$few"
on_cpu neoverse-n1 "scalar neon" "$few"
on_cpu max,pauth-impdef=on "scalar neon i8mm" "$every"
