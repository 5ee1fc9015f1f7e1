"""Names of things: short, comparable, usable as keys. No reference holds state."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class EndpointRef:
    """One address that users call: `connection/namespace/name`."""

    connection: str
    namespace: str
    name: str

    @property
    def id(self) -> str:
        return f"{self.connection}/{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> EndpointRef:
        """Read `connection/namespace/name`; ValueError where it is anything else."""
        parts = text.split("/")
        if len(parts) != 3 or not all(parts):
            raise ValueError(f"an endpoint is connection/namespace/name, not {text!r}")
        return cls(*parts)

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True, order=True)
class ModelRef:
    """A model in a registry: `connection/name`. The name may hold slashes (registries with folders)."""

    connection: str
    name: str

    @property
    def id(self) -> str:
        return f"{self.connection}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """Read `connection/name`; ValueError where it is anything else."""
        connection, slash, name = text.partition("/")
        if not (connection and slash and name):
            raise ValueError(f"a model is connection/name, not {text!r}")
        return cls(connection, name)

    def __str__(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True, order=True)
class VersionRef:
    """One version of a model. `version` is the registry's own word for it (a number in MLflow, a tag or digest in OCI)."""

    model: ModelRef
    version: str

    @property
    def id(self) -> str:
        return f"{self.model.id}@{self.version}"

    def __str__(self) -> str:
        return self.id


TargetRef = EndpointRef | ModelRef
"""What an action moves: an endpoint, or a model's alias alone."""
