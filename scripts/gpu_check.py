"""What can only be seen on a GPU: streams, contracts, answers in three precisions; or speed.

bash scripts/gpu_check.sh [--part tests|bench] [--wheels DIR] [--out gpu_check.json]

Needs no network and no video library: without PyAV, openai, pydantic or scipy the tests that need
them (and without pydantic the demo, which reads annotation files) are left out and listed. Writes
one JSON file with versions, device and the outcome of every part.
Exit code 0: every part passed; 1: some did not; 2: it could not start.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.pytest_part import (
    MOST_WORKERS,
    ROOT,
    left_out_files,
    run_command,
    run_tests,
    set_apart,
)

OPTIONAL = {name: name for name in ("av", "openai", "pydantic", "decord", "scipy")}
"""Module -> package: what the engine does without."""
REQUIRED = {
    **{name: name for name in ("accelerate", "hypothesis", "jinja2", "matplotlib", "numpy")},
    **{name: name for name in ("pandas", "pytest", "safetensors", "tokenizers", "torch", "tqdm")},
    **{"transformers": "transformers", "PIL": "pillow", "pytest_timeout": "pytest-timeout"},
    "xdist": "pytest-xdist",
}
IMPORTS = "hermes, inference, video_qa.nanostream.write, video_qa.run_infer, video_qa.compare"
IMPORTS += ", video_qa.hermes_vqa, video_qa.inspect_memory"
STREAM_TESTS = ["tests/test_gpu_streams.py", "tests/test_inference_device.py"]
STREAM_TESTS += ["tests/test_qwen3_gpu.py", "tests/test_execution.py"]
CONTRACT_TESTS = [
    f"tests/test_{name}.py"
    for name in (
        *("hermes_contracts", "policies_contracts", "inference_answering", "inference_chunks"),
        *("inference_stream_file", "oracle_full_budget", "oracle_masking", "oracle_reindex"),
        *("qwen3_forward", "qwen3_oracles", "qwen3_policies"),
    )
]
HALF_TESTS = ["tests/test_hermes_contracts.py", "tests/test_inference_answering.py"]
"""Those of them that HERMES_TEST_DTYPE changes; the others are in float32 whatever it says."""
NANO_TESTS = ["tests/test_nano_answers.py"]
PRECISIONS = ("float32", "float16", "bfloat16")
BENCHES = {
    "bench_llava_ov_7b": "--model llava_ov_7b --random_weights --frame_size 384x384",
    "bench_qwen2.5_vl_7b": "--model qwen2.5_vl_7b --random_weights --frame_size 448x448",
    "bench_qwen3_vl_8b": "--model qwen3_vl_8b --random_weights --frame_size 448x448 --paths ours",
}
"""Part of `--part bench` -> options of scripts/bench_efficiency.py, besides those of all."""
BENCH_OPTIONS = "--dtype float16 --kv_size 6000 --frames 64,256,512 --questions 10 --streams 1,4"


GROUPS = {
    "tests": ["imports", "cpu_suite", "streams", *PRECISIONS, "nano", "demo"],
    "bench": [*BENCHES],
}
"""Value of --part -> its parts."""


class Check:
    """The parts, one after the other, within the time that is left."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.deadline = time.monotonic() + options.seconds
        self.gpu = {"HERMES_TEST_DEVICE": options.device}
        if options.device != "cpu":
            self.gpu["HERMES_REQUIRE_GPU"] = "1"
        self.left_out: dict[str, str] = {}

    def parts(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """Name -> part."""
        return {
            "imports": self.imports,
            "cpu_suite": lambda: self.tests(["tests"], {"CUDA_VISIBLE_DEVICES": ""}, "cpu_suite"),
            "streams": lambda: self.tests(STREAM_TESTS, self.gpu, "streams"),
            **{dtype: self._contracts(dtype) for dtype in PRECISIONS},
            "nano": lambda: self.tests(NANO_TESTS, self.gpu, "nano"),
            "demo": self.demo,
            **{name: partial(self.bench, name) for name in BENCHES},
        }

    def bench(self, name: str) -> dict[str, Any]:
        """Times of a model of the real size with random weights; needs no download."""
        out = self.options.out.absolute()
        out = out.with_name(f"{out.stem}-{name}.json")
        words = self.options.bench or f"{BENCHES[name]} {BENCH_OPTIONS}"
        command = [sys.executable, "scripts/bench_efficiency.py", *words.split()]
        command += ["--device", self.options.device, "--out", str(out)]
        if self.options.device != "cpu":
            command += ["--execution", "captured"]
        return {**run_command(command, self._left(), {}), "record": str(out)}

    def imports(self) -> dict[str, Any]:
        """The engine and the runner, without what is missing here."""
        return run_command([sys.executable, "-c", f"import {IMPORTS}"], self._left(), {})

    def tests(self, files: list[str], environment: dict[str, str], name: str) -> dict[str, Any]:
        """A run of pytest; one in which no test passed has failed.

        Parts that run at once share the cores, and each writes to a file beside --out.
        """
        chosen = self.options.tests or files
        if not set_apart(chosen, self.left_out):
            return {"exit_code": 1, "seconds": 0.0, "passed": 0}
        given = chosen, self.left_out, self._left(), environment
        if self.options.together:
            out = self.options.out.absolute()
            log = out.with_name(f"{out.stem}-{name}.log")
            result = run_tests(*given, max(1, MOST_WORKERS // len(self.options.parts)), log)
        else:
            result = run_tests(*given)
        return result if result["passed"] else {**result, "exit_code": result["exit_code"] or 1}

    def _contracts(self, dtype: str) -> Callable[[], dict[str, Any]]:
        files = CONTRACT_TESTS if dtype == "float32" else HALF_TESTS
        return lambda: self.tests(files, {**self.gpu, "HERMES_TEST_DTYPE": dtype}, dtype)

    def demo(self) -> dict[str, Any]:
        """Two memories on hermes-nano, both kinds of questions, on frames that were never coded."""
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "scripts/demo.py", "--device", self.options.device]
            command += ["--video_format", "npy", "--num_streams", "2"]
            command += ["--minutes", str(self.options.demo_minutes)]
            command += [f"--data={folder}/data", f"--results={folder}/results"]
            result = run_command(command, self._left(), {})
            found = sorted(Path(folder).glob("results/*/*/comparison.json"))
            numbers = {path.parent.name: json.loads(path.read_text()) for path in found}
            return {**result, "comparisons": numbers}

    def _left(self) -> float:
        return self.deadline - time.monotonic()


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parse(argv)
    if options.wheels and (code := _install(options.wheels)):
        return code
    if missing := [package for module, package in REQUIRED.items() if not find_spec(module)]:
        print(f"error: {', '.join(missing)} not installed; give --wheels DIR", file=sys.stderr)
        return 2
    import torch

    if options.device != "cpu" and not torch.cuda.is_available():
        print("error: torch sees no CUDA device; --device cpu tries the script", file=sys.stderr)
        return 2
    check = Check(options)
    if set(options.parts) - set(BENCHES):
        check.left_out = left_out_files(options.tests or ["tests"], list(OPTIONAL))
    report: dict[str, Any] = _machine(options.device) | {"left_out": check.left_out, "parts": {}}
    if "demo" in options.parts and not find_spec("pydantic"):
        options.parts = [name for name in options.parts if name != "demo"]
        check.left_out["scripts/demo.py"] = "needs pydantic, which is not installed"
    parts = check.parts()
    with ThreadPoolExecutor(len(options.parts) if options.together else 1) as pool:
        running = {pool.submit(parts[name]): name for name in options.parts}
        try:
            for done in as_completed(running):
                report["parts"][running[done]] = done.result()
                ended = [part["exit_code"] == 0 for part in report["parts"].values()]
                report["passed"] = len(ended) == len(options.parts) and all(ended)
                options.out.write_text(json.dumps(report, indent=2) + "\n")
        finally:  # interrupted: no further part
            pool.shutdown(cancel_futures=True)
    _print_summary(report)
    print(f"\n{'all parts passed' if report['passed'] else 'FAILED'}: {options.out}")
    return 0 if report["passed"] else 1


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*GROUPS["tests"], *GROUPS["bench"]]
    add = parser.add_argument
    add("--device", default="cuda", help="cpu: try this script without a GPU (default: cuda)")
    add("--wheels", type=Path, help="folder of wheels: what is missing is installed from there")
    add("--out", type=Path, default=Path("gpu_check.json"), help="where the results go")
    add("--part", choices=list(GROUPS), default="tests", help="what to run (default: tests)")
    add("--parts", nargs="+", choices=names, help="only these (default: all of --part)")
    add("--bench", help="these options of bench_efficiency.py instead of each part's own")
    add("--tests", nargs="+", help="these test files instead of each part's own")
    add("--demo_minutes", type=float, default=2.0, help="length of the demo's two streams")
    add("--together", action="store_true", help="parts of tests at once; each writes a log file")
    add("--seconds", type=float, default=600, help="time for all parts together (default: 600)")
    options = parser.parse_args(argv)
    options.parts = options.parts or GROUPS[options.part]
    if options.together and set(options.parts) - {"streams", *PRECISIONS, "nano"}:
        parser.error(f"--together: give --parts, of streams, {', '.join(PRECISIONS)}, nano")
    return options


def _install(wheels: Path) -> int:
    """Install what is missing, with its dependencies; what is there, torch too, stays."""
    modules = REQUIRED | OPTIONAL
    wanted = [package for module, package in modules.items() if not find_spec(module)]
    there = {path.name.split("-")[0].lower().replace("_", "-") for path in wheels.glob("*.whl")}
    if not (chosen := [package for package in wanted if package in there]):
        print(f"nothing that is missing here ({', '.join(wanted)}) lies in {wheels}")
        return 0
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", str(wheels)]
    code = subprocess.run([*command, *chosen], check=False).returncode
    importlib.invalidate_caches()
    return 2 if code else 0


def _machine(device: str) -> dict[str, Any]:
    import torch

    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "commit": commit.stdout.strip() or None,
        "device": device,
        "device_name": None if device == "cpu" else torch.cuda.get_device_name(device),
        "python": platform.python_version(),
        "versions": {name[1]: _version(*name) for name in (REQUIRED | OPTIONAL).items()},
    }


def _version(module: str, package: str) -> str | None:
    if not find_spec(module):
        return None
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _print_summary(report: dict[str, Any]) -> None:
    print("\nLeft out, not passed:" if report["left_out"] else "\nNo test file was left out.")
    for name, reason in report["left_out"].items():
        print(f"  {name}: {reason}")
    for name, part in report["parts"].items():
        verdict = {0: "passed", None: "OUT OF TIME"}.get(part["exit_code"], "FAILED")
        counts = f", {part['passed']} tests passed" if "passed" in part else ""
        print(f"{name}: {verdict} in {part['seconds']:.0f} s{counts}")
        for test in part.get("failed", []):
            print(f"  FAILED {test}")
        for reason, count in part.get("skipped", {}).items():
            print(f"  skipped {count}: {reason}")


if __name__ == "__main__":
    sys.exit(main())
