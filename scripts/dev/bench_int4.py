"""Quantises a random model with the widths of a 7B: seconds, and host memory beyond the files.

    python scripts/dev/bench_int4.py [--layers 2] [--device cpu] [--folder build/bench-int4]

Of the 28 layers a few are enough: memory does not grow with them, and time does in proportion. Reported are
the peak of this process's own memory (``RssAnon``), that with the mapped files' pages, which the system can
take back at any time, and the relative error of the weights.
"""

from __future__ import annotations

import _project  # noqa: F401

import argparse
import json
import os
import shutil
import threading
import time
from pathlib import Path

import torch

from azr.models.weight_files import WEIGHTS, Tensor
from azr.system.files import write_json_atomic
from azr.train.quantize.architecture import empty_model
from azr.train.quantize.files import safetensors_file
from azr.train.quantize.folder import int4_folder
from azr.train.quantize.int4 import dequantise, quantise

GIB = 2**30
CONFIG = {
    "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "hidden_size": 3584, "intermediate_size": 18944,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False,
}  # fmt: skip


def write_random(folder: Path, layers: int) -> float:
    """GiB of the file."""
    folder.mkdir(parents=True)
    write_json_atomic(folder / "config.json", {**CONFIG, "num_hidden_layers": layers})
    tensors = {
        name: Tensor("BF16", tuple(parameter.shape))
        for name, parameter in empty_model(folder).named_parameters()
    }
    generator = torch.Generator().manual_seed(0)
    with safetensors_file(folder / WEIGHTS, tensors) as writer:
        for name, tensor in tensors.items():
            for row in range(0, tensor.shape[0], 4096):
                shape = (min(4096, tensor.shape[0] - row), *tensor.shape[1:])
                writer.write(name, (0.02 * torch.randn(shape, generator=generator)).bfloat16(), row)
    return (folder / WEIGHTS).stat().st_size / GIB


def memory_gib() -> tuple[float, float]:
    """(own, with mapped files) of this process now."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    kib = {
        name: int(rest.split()[0])
        for name, _, rest in (line.partition(":") for line in lines)
        if " kB" in rest
    }
    return kib["RssAnon"] / 2**20, kib["VmRSS"] / 2**20


class Peak:
    """The largest of what ``memory_gib`` says, looked at every 20 ms."""

    def __init__(self) -> None:
        self.own, self.all = memory_gib()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            own, with_files = memory_gib()
            self.own, self.all = max(self.own, own), max(self.all, with_files)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--folder", type=Path, default=Path("build/bench-int4"), help="made, and removed again"
    )
    options = parser.parse_args()
    os.environ["AZR_CACHE"] = str(options.folder / "cache")
    try:
        plain_gib = write_random(options.folder / "plain", options.layers)
        before = memory_gib()[0]
        with Peak() as peak:
            start = time.perf_counter()
            made = int4_folder(options.folder / "plain", options.device)
            seconds = time.perf_counter() - start
        size = sum(file.stat().st_size for file in made.glob("*.safetensors")) / GIB
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)
    weight = 0.02 * torch.randn(1024, 3584, generator=torch.Generator().manual_seed(1))
    error = (dequantise(*quantise(weight)).float() - weight).norm() / weight.norm()
    report = {
        "layers": options.layers,
        "plain_gib": round(plain_gib, 2),
        "int4_gib": round(size, 2),
        "seconds": round(seconds, 1),
        "own_memory_before_gib": round(before, 2),
        "own_memory_peak_gib": round(peak.own, 2),
        "with_mapped_files_peak_gib": round(peak.all, 2),
        "relative_error_of_normal_weights": round(error.item(), 4),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
