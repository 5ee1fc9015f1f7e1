"""MLflow's filter strings, for names that nobody chose to be kind.

The grammar (`mlflow.utils.search_utils`) knows no escape: a value in quotes can't hold the quote, and a backslash confuses its
lexer. Such characters become `_`, the LIKE pattern's "any one character"; what matches besides is sifted out by the caller.
"""

from __future__ import annotations

from typing import Final

_UNQUOTABLE: Final = str.maketrans({"'": "_", '"': "_", "\\": "_", "`": "_"})


def is_exact(name: str) -> bool:
    """Whether a filter can name exactly this, so that nothing needs to be sifted."""
    return name.translate(_UNQUOTABLE) == name


def models_containing(query: str) -> str:
    """Registered models whose name holds `query`, whatever the case; "" for all of them."""
    return f"name ILIKE '%{query.translate(_UNQUOTABLE)}%'" if query else ""


def versions_of(name: str, below: int | None) -> str:
    """Versions of the model `name`, with a number below `below` where it is given."""
    clause = f"name = '{name}'" if is_exact(name) else f"name LIKE '{name.translate(_UNQUOTABLE)}'"
    return clause if below is None else f"{clause} AND version_number < {below}"
