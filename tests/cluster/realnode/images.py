"""Images for containers, built from nothing: one program, as root of an empty file system."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""The kernel's names and Go's, which images have."""


def archive(program: Path, target: Path, references: Mapping[str, Mapping[str, str]]) -> Path:
    """An archive as `docker save` writes it: for each reference an image with this environment, all with the one layer that has
    `program` as its entry point. Reproducible byte for byte."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as files:
        _add(files, program.name, program.read_bytes(), mode=0o755)
    rootfs = layer.getvalue()
    manifest = []
    with tarfile.open(target, "w") as files:
        _add(files, "layer.tar", rootfs)
        for number, (reference, environ) in enumerate(references.items()):
            config = {
                "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
                "os": "linux",
                "config": {
                    "Entrypoint": [f"/{program.name}"],
                    "Env": [f"{key}={text}" for key, text in environ.items()],
                },
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(rootfs).hexdigest()}"]},
            }
            _add(files, f"config-{number}.json", json.dumps(config).encode())
            manifest.append({"Config": f"config-{number}.json", "RepoTags": [reference], "Layers": ["layer.tar"]})
        _add(files, "manifest.json", json.dumps(manifest).encode())
    return target


def _add(files: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    files.addfile(entry, io.BytesIO(content))
