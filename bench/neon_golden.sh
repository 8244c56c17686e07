#!/usr/bin/env bash
# The golden hashes of whole models on 64-bit ARM, under qemu: the extension by Debian's cross compiler, Debian 12's Python
# for that machine, and PyPI's numpy and tokenizers, all of them in build/arm (280 MB).
#
#     bench/neon_golden.sh [MODEL …]      such as "llama4 Q6_K", on a CPU with matrix instructions; `all`: every model.
#                                         Without one, Q4_K of each family, then two models on a CPU without them
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-$PWD/.venv/bin/python}
arm=$PWD/build/arm
if ! command -v aarch64-linux-gnu-g++ >/dev/null || ! command -v qemu-aarch64 >/dev/null; then
    echo "error: no cross compiler or no qemu: apt-get install g++-aarch64-linux-gnu qemu-user" >&2
    exit 1
fi

if [ ! -e "$arm/made" ]; then
    mkdir -p "$arm"/{lists/partial,archives/partial,packages,root}
    touch "$arm/status"
    apt=(apt-get -qq -o Dir::State="$arm" -o Dir::State::status="$arm/status" -o Dir::Cache="$arm" -o APT::Sandbox::User=
        -o APT::Architecture=arm64 -o APT::Architectures::=arm64)
    "${apt[@]}" update
    (cd "$arm/packages" && "${apt[@]}" download libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libbz2-1.0 liblzma5 libffi8 \
        libssl3 libuuid1 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libpython3.11-dev)
    for package in "$arm"/packages/*.deb; do dpkg-deb -x "$package" "$arm/root"; done
    cp "$arm/root/usr/include/aarch64-linux-gnu/python3.11/pyconfig.h" "$arm/root/usr/include/python3.11/"
    "$python" -m pip install --quiet --disable-pip-version-check --no-warn-conflicts --target "$arm/site" --python-version 3.11 \
        --platform manylinux2014_aarch64 --platform manylinux_2_28_aarch64 --only-binary=:all: \
        numpy tokenizers jinja2 platformdirs
    touch "$arm/made"
fi

rm -rf "$arm/package"
mkdir "$arm/package"
cp -r src/shoestring "$arm/package/shoestring"
rm -f "$arm"/package/shoestring/_kernels*.so
"$(dirname "$python")/cmake" -S . -B build/neon -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_EXE_LINKER_FLAGS=-static -DSHOESTRING_BINDINGS=ON \
    -DPython_EXECUTABLE="$python" -DPython_INCLUDE_DIR="$arm/root/usr/include/python3.11" \
    -DPython_NumPy_INCLUDE_DIR="$arm/site/numpy/_core/include" -DSKBUILD_SOABI=cpython-311-aarch64-linux-gnu \
    -DSHOESTRING_PACKAGE="$arm/package/shoestring" >/dev/null
"$(dirname "$python")/cmake" --build build/neon -j2 --target _kernels

# on_cpu CPU VARIANT MODEL …
on_cpu() {
    PYTHONPATH=$arm/package:$arm/site qemu-aarch64 -cpu "$1" -L "$arm/root" "$arm/root/usr/bin/python3.11" -S \
        tests/golden/golden_hashes.py "${@:3}" >"$arm/hashes.json"
    "$python" - "$arm/hashes.json" "$2" <<'PYTHON'
import json
import sys

answer = json.load(open(sys.argv[1]))
committed = json.load(open("tests/golden/hashes.json"))["hashes"]
assert answer["isa"] == sys.argv[2], answer["isa"]
wrong = [name for name, hashes in answer["hashes"].items() if hashes != committed[name]]
if wrong or not answer["hashes"]:
    sys.exit(f"error: {answer['isa']}: other bits than tests/golden/hashes.json: {', '.join(wrong)}")
print(f"{answer['isa']}: equal to tests/golden/hashes.json: {', '.join(answer['hashes'])}")
PYTHON
}

if [ $# -eq 0 ]; then
    on_cpu max,pauth-impdef=on i8mm "qwen3_5 Q4_K" "qwen3_5-dense Q4_K" "llama4 Q4_K" "llama4-interleaved Q4_K"
    on_cpu neoverse-n1 neon "qwen3_5 Q4_K" "llama4 Q4_K"
else
    if [ "$*" = all ]; then
        names=$("$python" -c 'import json; print(*json.load(open("tests/golden/hashes.json"))["hashes"], sep="\n")')
        mapfile -t models <<<"$names"
        set -- "${models[@]}"
    fi
    on_cpu max,pauth-impdef=on i8mm "$@"
fi
