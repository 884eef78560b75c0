"""Exempts local addresses from a proxy: gRPC, unlike browsers, uses a proxy for localhost too."""

from __future__ import annotations

import os

_LOCAL = ("localhost", "127.0.0.1", "::1")
_GRPC = "no_grpc_proxy"


def spare_local_addresses() -> None:
    """Exempts this machine's own addresses from any proxy, for this process and its children.

    Workers, Prism and a job server on this machine are reached over gRPC. With `http_proxy` set, gRPC would connect
    to them through the proxy, and wait for ever. Call this before the first gRPC channel is opened.

    The hosts in `no_proxy` and `NO_PROXY` stay exempt. gRPC reads `no_grpc_proxy`, or `no_proxy` if that is not set.
    It does not interpret `*` as every host.
    """
    hosts = _hosts("no_proxy") + _hosts("NO_PROXY")
    if "*" not in hosts:
        _exempt("no_proxy", hosts)
    if "*" in hosts or _GRPC in os.environ:
        _exempt(_GRPC, _hosts(_GRPC))


def _hosts(variable: str) -> list[str]:
    return [host.strip() for host in os.environ.get(variable, "").split(",") if host.strip()]


def _exempt(variable: str, hosts: list[str]) -> None:
    os.environ[variable] = ",".join(dict.fromkeys([*hosts, *_LOCAL]))
