#!/usr/bin/env bash
# What the CUDA paths of cxrscore do on this machine, in at most eight minutes:
#
#     tar -xf gpu-kit.tar.xz gpu.sh && bash gpu.sh gpu-kit.tar.xz OUT [--device cpu] [--small] [--only SECTION,SECTION]
#
# The kit is made by `make gpu-kit`. It needs Python 3.12 with torch and pip, and no network: packages that are missing
# or too old are installed from the kit, into a folder that goes with the run. torch stays as it is.
set -euo pipefail
if [ $# -lt 2 ]; then
  echo "usage: bash gpu.sh KIT OUT [--device cpu] [--small] [--only SECTION,SECTION]" >&2
  exit 2
fi
kit=$1 out=$2
shift 2
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$out" "$folder/kit" "$folder/home"
tar -xf "$kit" -C "$folder/kit"
"$python" "$folder/kit/gpu_sections/install.py" "$folder/kit/wheels" "$folder/site" | tee "$out/gpu.log"
export PYTHONPATH="$folder/site${PYTHONPATH:+:$PYTHONPATH}" CXRSCORE_CACHE="$folder/home" PYTHONUNBUFFERED=1
export TF_CPP_MIN_LOG_LEVEL=3 XLA_PYTHON_CLIENT_PREALLOCATE=false TMPDIR="$folder"
"$python" "$folder/kit/gpu.py" "$folder/kit" "$out" "$@"
