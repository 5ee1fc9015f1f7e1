"""The one document of a Traefik host: built and read here, without touching a disk or a network.

It is JSON (a subset of YAML, so a truncated write is a syntax error, where truncated block YAML would still parse) for
Traefik's file provider, which takes `.yml` but ignores `.json`. Entries of a route are named by the route: `fraud`, or
`fraud--…`; `--` occurs in no route or version name.

====================  ==================================================================================
router `fraud`        path prefix `/endpoints/fraud/`; `fraud--header` beside it for a header rule
service `fraud`       the weighted split; `fraud--7--mirror` around it for a shadow
service `fraud--7`    version 7, by URL; `fraud--7--shadow`: the same server, counted apart, for mirrored requests
middlewares           `fraud--generation` (on every response), `fraud--strip`, `fraud--retry`
middleware            `fraud--state`: attached to nothing; its header's value is the stored `RouteEntry` as JSON
====================  ==================================================================================

Traefik runs its file through Go's text/template first: `{{` from a person's "why" would be executed, environment and
all. Strings are therefore written so that no two braces meet. Nested JSON stays ASCII: YAML knows no surrogate pairs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from mlrelease_tui.errors import Rejected
from mlrelease_tui.routing.api import (
    Capabilities,
    Drifted,
    RoutedVersion,
    TrafficPlan,
    check_plan,
    is_safe_name,
    plan_from_json,
    plan_to_json,
)

PROVIDER = "file"
GENERATION_HEADER = "X-Release-Generation"
STATE_HEADER = "X-Release-State"
FORMAT = 1
CAPABILITIES = Capabilities(
    exact_split=True,
    mirror=True,
    header_match=True,
    sticky=True,
    latency="histogram",
    durable=True,
    native_cas=False,
    weight_resolution_bp=1,
    worst_effect_s=2.0,
)
"""What Traefik can do by this document."""
_SECTIONS = ("routers", "services", "middlewares", "serversTransports")


@dataclass(frozen=True, slots=True)
class TraefikSettings:
    """How routes are built; times in seconds. Kept with each route, so that a change of settings is no foreign edit.

    `health_timeout_s` is generous, for one late answer of a busy server takes all its traffic away; a dead server
    refuses at once anyway. `longest_request_s` is a promise that the router enforces: it waits no longer for an answer.
    `idle_connection_s` stays below the keep-alive time-out of model servers (gunicorn 2, uvicorn 5): a server that closes
    a connection just as a POST goes out costs that POST. A request is tried again only where no connection could be
    made: what has reached a server is never sent twice, a POST as little as a GET (seen on 3.7.15).
    """

    entry_point: str = "traffic"
    dial_timeout_s: float = 0.5
    longest_request_s: float = 60.0
    idle_connection_s: float = 1.0
    health_interval_s: float = 1.0
    health_timeout_s: float = 3.0
    retry_attempts: int = 3
    mirror_max_body_bytes: int = 1_048_576


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """What is stored of a route. `idle_since`: when (UTC) each version that had traffic last lost it."""

    plan: TrafficPlan
    settings: TraefikSettings = field(default_factory=TraefikSettings)
    idle_since: Mapping[str, datetime] = field(default_factory=dict)


def route_path(route: str) -> str:
    """The URL path below which clients reach a route; the model server sees what follows it, as `/invocations`."""
    return f"/endpoints/{route}"


def service_name(route: str, version: str, *, mirrored: bool = False) -> str:
    """How Traefik's metrics and API name a version: the `service` label, provider included."""
    return f"{_service(route, version)}{'--shadow' if mirrored else ''}@{PROVIDER}"


@dataclass(frozen=True, slots=True)
class Document:
    """The parsed document: all entries as they are, foreign ones too, which a write to one route leaves alone."""

    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | None) -> Document:
        """`text` None: no file, no routes. Raises `Drifted` for what this program cannot have written."""
        if text is None:
            return cls()
        try:
            outer = json.loads(text)
            json.dumps(outer, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError):
            what = "is empty" if not text.strip() else "is damaged: it is not JSON"
            raise Drifted(f"the routes document {what}") from None
        http = outer.get("http", {}) if isinstance(outer, dict) else None
        if not isinstance(http, dict) or set(outer) - {"http"} or set(http) - set(_SECTIONS):
            raise Drifted("the routes document was edited by another hand: it holds sections that are not ours")
        if not all(isinstance(section, dict) for section in http.values()):
            raise Drifted("the routes document was edited by another hand: a section is not a mapping")
        return cls(http)

    def routes(self) -> tuple[str, ...]:
        """The names of the routes with a stored entry, sorted."""
        suffix = "--state"
        names = (n.removesuffix(suffix) for n in self.sections.get("middlewares", {}) if n.endswith(suffix))
        return tuple(sorted(name for name in names if is_safe_name(name)))

    def entry(self, route: str) -> RouteEntry | None:
        """The stored entry, or None where the document has nothing of that route. Raises `Drifted`."""
        fragment = self._fragment(route)
        if not any(fragment.values()):
            return None
        try:
            shape = json.loads(
                fragment["middlewares"][f"{route}--state"]["headers"]["customResponseHeaders"][STATE_HEADER]
            )
            if shape["format"] != FORMAT:
                raise Drifted(f"route {route} was written in format {shape['format']!r}, by a newer version")
            entry = _entry_from_json(shape)
            wanted = build_fragment(entry)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            raise Drifted(f"route {route} was edited by another hand: its stored state cannot be read") from None
        except Rejected as failure:
            raise Drifted(f"route {route} was edited by another hand: {failure.message}") from None
        if entry.plan.route != route or fragment != wanted:
            where = next((f"{s}.{n}" for s in _SECTIONS for n in _unlike(fragment[s], wanted[s])), "its name")
            raise Drifted(f"route {route} was edited by another hand: {where} is not what was written")
        return entry

    def with_entry(self, entry: RouteEntry) -> Document:
        route = entry.plan.route
        built = build_fragment(entry)
        return Document(
            {
                section: {n: v for n, v in self.sections.get(section, {}).items() if not _belongs(n, route)}
                | built[section]
                for section in _SECTIONS
            }
        )

    def last_good_after(self, good: Document, entry: RouteEntry) -> Document:
        """The copy to keep when `entry` has been written to this document; `good` is the copy kept so far.

        Other routes stay as they were in `good`, so that a damage to one never becomes its last good state by a write to
        another. Entries of nobody's route are taken from this document.
        """
        mine = entry.plan.route
        trusted = dict.fromkeys(good.routes(), good)
        for route in self.routes():
            if route not in trusted and self._is_whole(route):
                trusted[route] = self
        ours = {*self.routes(), *good.routes(), mine}
        kept = {
            section: {n: v for n, v in self.sections.get(section, {}).items() if _route_of(n) not in ours}
            for section in _SECTIONS
        }
        for route, source in trusted.items():
            fragment = source._fragment(route)
            for section in _SECTIONS:
                kept[section] |= fragment[section]
        return Document(kept).with_entry(entry)

    def text(self) -> str:
        # Traefik refuses empty sections ("cannot be a standalone element").
        http = {section: entries for section, entries in self.sections.items() if entries}
        text = json.dumps({"http": http} if http else {}, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        # Inside strings only can two braces meet: indent=1 puts a line break between structural ones.
        return text.replace("{{", "{\\u007b")

    def _is_whole(self, route: str) -> bool:
        try:
            return self.entry(route) is not None
        except Drifted:
            return False

    def _fragment(self, route: str) -> dict[str, dict[str, Any]]:
        return {
            section: {n: v for n, v in self.sections.get(section, {}).items() if _belongs(n, route)}
            for section in _SECTIONS
        }


def build_fragment(entry: RouteEntry) -> dict[str, dict[str, Any]]:
    """All entries of one route, by section. Pure: the same entry gives the same fragment, which is how drift is seen."""
    plan, settings = entry.plan, entry.settings
    route = plan.route
    return {
        "routers": _routers(plan, settings),
        "services": _services(plan, settings),
        "middlewares": {
            f"{route}--generation": _response_header(GENERATION_HEADER, str(plan.generation)),
            f"{route}--strip": {"stripPrefix": {"prefixes": [route_path(route)]}},
            f"{route}--retry": {"retry": {"attempts": settings.retry_attempts, "initialInterval": "10ms"}},
            f"{route}--state": _response_header(STATE_HEADER, _entry_text(entry)),
        },
        "serversTransports": {
            route: {
                "forwardingTimeouts": {
                    "dialTimeout": _duration(settings.dial_timeout_s),
                    "responseHeaderTimeout": _duration(settings.longest_request_s),
                    "idleConnTimeout": _duration(settings.idle_connection_s),
                }
            }
        },
    }


def unlike_live(entry: RouteEntry, live: Mapping[str, Any]) -> str:
    """How Traefik's own view (`GET /api/rawdata`, one snapshot) differs from an entry; "" when it runs exactly that."""
    plan, route = entry.plan, entry.plan.route
    running = live_generation(route, live)
    if running != plan.generation:
        runs = f"runs generation {running}" if running is not None else "knows nothing"
        return f"the router {runs} of route {route}"
    wanted = build_fragment(entry)
    for section in ("routers", "services"):
        for name, shape in wanted[section].items():
            found = _live_entry(live, section, name)
            if found.get("status") != "enabled":
                errors = "; ".join(str(error) for error in found.get("error", ()) or ())
                status = found.get("status", "absent")
                return f"the router has {section[:-1]} {name} as {status!a}: {errors[:200]!a}"
            if _essence(found) != _essence(shape):
                return f"the router runs {section[:-1]} {name} otherwise than written"
    return ""


def live_generation(route: str, live: Mapping[str, Any]) -> int | None:
    """The generation that Traefik says it runs for a route, None where it has none."""
    headers = _live_entry(live, "middlewares", f"{route}--generation").get("headers")
    try:
        return int(headers["customResponseHeaders"][GENERATION_HEADER])  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        return None


def live_status(route: str, version: str, live: Mapping[str, Any]) -> Mapping[str, str]:
    """What Traefik's health check says of a version's servers: address → "UP" or "DOWN"; empty where it has none."""
    found = _live_entry(live, "services", _service(route, version)).get("serverStatus")
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, Mapping) else {}


def _service(route: str, version: str) -> str:
    return f"{route}--{version}"


def _mirror(route: str, version: str) -> str:
    # Three parts, as the shadow's name: with two, a version called "mirror" would take its place.
    return f"{_service(route, version)}--mirror"


def _belongs(name: str, route: str) -> bool:
    return _route_of(name) == route


def _route_of(name: str) -> str:
    return name.partition("--")[0]


def _routers(plan: TrafficPlan, settings: TraefikSettings) -> dict[str, Any]:
    route = plan.route
    rule = f"PathPrefix(`{route_path(route)}/`)"
    shared = {
        "entryPoints": [settings.entry_point],
        "middlewares": [f"{route}--generation", f"{route}--strip", f"{route}--retry"],
    }
    routers: dict[str, Any] = {
        route: {**shared, "rule": rule, "service": _mirror(route, plan.mirror.version) if plan.mirror else route}
    }
    if plan.header_rule:
        chosen = plan.header_rule
        # Traefik ranks routers by the length of their rules, so the longer one wins without a priority of its own.
        routers[f"{route}--header"] = {
            **shared,
            "rule": f"{rule} && Header(`{chosen.header}`, `{chosen.value}`)",
            "service": _service(route, chosen.version),
        }
    return routers


def _services(plan: TrafficPlan, settings: TraefikSettings) -> dict[str, Any]:
    route = plan.route
    split: dict[str, Any] = {
        "services": [{"name": _service(route, v.name), "weight": v.weight_bp} for v in plan.versions]
    }
    if all(version.health_path for version in plan.versions):
        # Lets the split pass over a version whose servers are down; Traefik wants it of every child or of none.
        split["healthCheck"] = {}
    if plan.sticky_cookie:
        split["sticky"] = {"cookie": {"name": plan.sticky_cookie, "httpOnly": True, "sameSite": "lax"}}
    services: dict[str, Any] = {route: {"weighted": split}}
    for version in plan.versions:
        services[_service(route, version.name)] = _load_balancer(version, route, settings)
    if plan.mirror:
        shadow = plan.version(plan.mirror.version)
        if shadow is None:
            raise Rejected(f"the mirror of route {route} names a version without an address")
        name = f"{_service(route, shadow.name)}--shadow"
        services[name] = _load_balancer(shadow, route, settings)
        services[_mirror(route, shadow.name)] = {
            "mirroring": {
                "service": route,
                "maxBodySize": settings.mirror_max_body_bytes,
                "mirrors": [{"name": name, "percent": plan.mirror.percent}],
            }
        }
    return services


def _load_balancer(version: RoutedVersion, route: str, settings: TraefikSettings) -> dict[str, Any]:
    balancer: dict[str, Any] = {"servers": [{"url": version.url}], "serversTransport": route}
    if version.health_path:
        balancer["healthCheck"] = {
            "path": version.health_path,
            "interval": _duration(settings.health_interval_s),
            "timeout": _duration(settings.health_timeout_s),
        }
    return {"loadBalancer": balancer}


def _response_header(name: str, value: str) -> dict[str, Any]:
    return {"headers": {"customResponseHeaders": {name: value}}}


def _duration(seconds: float) -> str:
    return f"{math.ceil(seconds * 1000)}ms"


def _entry_text(entry: RouteEntry) -> str:
    shape = {
        "format": FORMAT,
        "plan": plan_to_json(entry.plan),
        "settings": asdict(entry.settings),
        "idle_since": {name: at.isoformat() for name, at in entry.idle_since.items()},
    }
    return json.dumps(shape, separators=(",", ":"), sort_keys=True, allow_nan=False)


def _entry_from_json(shape: Mapping[str, Any]) -> RouteEntry:
    idle_since = {name: datetime.fromisoformat(at) for name, at in shape["idle_since"].items()}
    if any(at.tzinfo is None for at in idle_since.values()):
        raise ValueError("a time without its zone")
    plan = plan_from_json(shape["plan"])
    if type(plan.generation) is not int or plan.generation < 1:
        raise ValueError("no generation")
    # A hand may have changed a weight here and where Traefik reads it, so that the two agree and the sum does not.
    check_plan(plan, CAPABILITIES)
    return RouteEntry(plan, TraefikSettings(**shape["settings"]), idle_since)


def _unlike(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    return [name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)]


def _live_entry(live: Mapping[str, Any], section: str, name: str) -> Mapping[str, Any]:
    entries = live.get(section)
    found = entries.get(f"{name}@{PROVIDER}") if isinstance(entries, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _essence(shape: Mapping[str, Any]) -> object:
    """What decides where a request goes, in a form that the document and the API share."""
    if "rule" in shape:
        return shape["rule"], str(shape.get("service")).removesuffix(f"@{PROVIDER}")
    if "weighted" in shape:
        children = shape["weighted"].get("services") or ()
        return "weighted", tuple((c.get("name"), c.get("weight")) for c in children)
    if "mirroring" in shape:
        mirroring = shape["mirroring"]
        copies = tuple((m.get("name"), m.get("percent")) for m in mirroring.get("mirrors") or ())
        return "mirroring", mirroring.get("service"), copies
    servers = shape.get("loadBalancer", {}).get("servers") or ()
    return "servers", tuple(server.get("url") for server in servers)
