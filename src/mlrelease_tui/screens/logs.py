"""The page of logs: one variant and one run at a time, read or followed while it is looked at, then forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlrelease_tui.domain.logs import LogWish, VariantLog
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Variant
from mlrelease_tui.presentation import logs as view
from mlrelease_tui.presentation.lines import EMPTY, Line, Role, Span, line
from mlrelease_tui.screens.services import Services


class LogPage:
    """What stands behind the tab of logs. `pressed` names the key of an action for people."""

    def __init__(self, services: Services, ref: EndpointRef, pressed: Callable[[str], str]) -> None:
        self._services = services
        self._ref = ref
        self._pressed = pressed
        self._variant = ""
        self._previous = False
        self._made: tuple[VariantLog, int, list[Line]] | None = None
        self._asked: set[LogWish] = set()

    # --- what is shown

    @property
    def _endpoint(self) -> Endpoint | None:
        return self._services.store.state.endpoints.get(self._ref)

    @property
    def _offered(self) -> bool:
        """Whether the connection may have logs: one that never said what it can do is asked."""
        health = self._services.store.state.connections.get(self._ref.connection)
        return health is None or not health.capabilities or "logs" in health.capabilities

    @property
    def _followed(self) -> bool:
        """Whether what is printed comes by itself."""
        health = self._services.store.state.connections.get(self._ref.connection)
        return health is not None and "follow" in health.capabilities and not self._previous

    def _chosen(self, endpoint: Endpoint) -> Variant | None:
        named = next((item for item in endpoint.variants if item.name == self._variant), None)
        return named or view.first_to_read(endpoint)

    def _log(self, variant: Variant) -> VariantLog | None:
        log = self._services.store.state.logs.get((variant.name, self._previous))
        return log if log is not None and log.wish.endpoint == self._ref else None

    @property
    def newest(self) -> object:
        """Another object whenever something newer is to be read: then the end of it is what is wanted."""
        endpoint = self._endpoint
        variant = self._chosen(endpoint) if endpoint is not None else None
        return self._log(variant) if variant is not None else None

    def heading(self, cells: int) -> Line:
        endpoint = self._endpoint
        variant = self._chosen(endpoint) if endpoint is not None else None
        if endpoint is None or variant is None or not self._offered:
            return EMPTY
        others = [("page.variant", "next variant")] if len(endpoint.variants) > 1 else []
        run = "this run" if self._previous else "run before"
        again = [] if self._followed else [("app.refetch", "read again")]
        named = [*others, ("page.previous_run", run), *again]
        keys = [(self._pressed(identity), word) for identity, word in named]
        shown = [(key, word) for key, word in keys if key]
        return view.heading(variant, self._previous, shown, cells, followed=self._followed)

    def lines(self, cells: int) -> Sequence[Line]:
        endpoint = self._endpoint
        if endpoint is None:
            return [line(Span(f" {self._ref} is gone", Role.WARN))]
        variant = self._chosen(endpoint)
        if variant is None:
            return [line(Span(" nothing is deployed here, so nothing prints", Role.MUTED))]
        if not self._offered:
            return view.not_offered(endpoint, cells)
        log = self._log(variant)
        if log is None:
            return view.reading(self._wish(variant), variant)
        # Made once for each answer: it is drawn with every change of anything.
        if self._made is None or self._made[0] is not log or self._made[1] != cells:
            self._made = (log, cells, view.rows(log, cells))
        return self._made[2]

    # --- what is asked

    def _wish(self, variant: Variant) -> LogWish:
        return LogWish(self._ref, variant.name, self._previous)

    def look(self) -> None:
        """Read what is looked at, unless it was asked for already."""
        endpoint = self._endpoint
        variant = self._chosen(endpoint) if endpoint is not None else None
        if variant is None or not self._offered:
            return
        # From here on the same variant, whatever becomes the canary meanwhile.
        self._variant = variant.name
        wish = self._wish(variant)
        if wish not in self._asked:
            self._asked.add(wish)
            self._services.reader.want_log(wish)

    def again(self) -> None:
        """Read it anew."""
        self._asked.clear()
        self.look()

    def turn_variant(self) -> None:
        endpoint = self._endpoint
        names = [item.name for item in endpoint.variants] if endpoint is not None else []
        if names:
            here = names.index(self._variant) if self._variant in names else -1
            self._variant = names[(here + 1) % len(names)]
            self.again()

    def turn_run(self) -> None:
        self._previous = not self._previous
        self.again()

    def leave(self) -> None:
        """The page is closed: what was read of it is kept no longer."""
        self._made = None
        if self._asked:
            self._services.reader.close_logs(self._ref)
