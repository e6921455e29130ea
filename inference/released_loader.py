"""`load_model` as the release spells it; the families differ in their default frame rate only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def released_loader(default_sample_fps: float) -> Callable[..., tuple[Any, Any]]:
    """The released loader of a family."""

    def load_model(
        model_path: str | Path,
        n_init: int | None = None,
        kv_size: int | None = None,
        streaming: bool = True,
        device: str = "cuda",
        sample_fps: float = default_sample_fps,
        **options: Any,
    ) -> tuple[Any, Any]:
        """(engine, processor); see `inference.load_model` for `options`. `n_init` is ignored.

        `streaming` is what released code sets for each data set, so it yields to `policy`; name
        `reindex` where it must not.

        Raises:
            TypeError: no kv_size.
        """
        if kv_size is None:
            raise TypeError("kv_size is missing: give the visual tokens per layer, e.g. 6000")
        from inference.checkpoints.loading import load_model as load

        of_data_set = {"reindex": "lazy" if streaming else "eager"}
        return load(
            model_path,
            kv_size=kv_size,
            device=device,
            sample_fps=sample_fps,
            **{**options, "data_set": of_data_set | dict(options.get("data_set") or {})},
        )

    return load_model
