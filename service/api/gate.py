"""Who is let in to the CDS Hooks operations: whoever proves it by a token; without a list of issuers, this machine."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

from flask import request

from service.api import logs, outcomes
from service.api.problems import Problem
from service.hooks.trust import Caller, Refused, Trust

_FORWARDED = re.compile(
    r"Forwarded|Via|X-(?:Forwarded|Original)-.+|(?:X-Real|X-Client|X-Cluster-Client|True-Client|CF-Connecting)-IP",
    re.IGNORECASE,
)
"""Headers by which proxies say that they are there."""
_KIND = {401: "unauthorised", 403: "forbidden", 503: "unavailable"}


class Gate:
    """``trust`` None: callers are not verified; then ``anyone`` may call, or this machine only."""

    def __init__(self, trust: Trust | None, anyone: bool) -> None:
        self._trust = trust
        self._anyone = anyone

    def enter(self, path: str) -> Caller | None:
        """The caller of the operation at `path`, None where callers are not verified. Raises Problem."""
        if self._trust is None:
            if not self._anyone and not _from_this_machine():
                logs.note(reason="not_verified_and_not_local")
                raise Problem(outcomes.KINDS["unauthorised"])
            return None
        try:
            caller = self._trust.verify(request.headers.get("Authorization"), path)
        except Refused as refused:
            logs.note(reason=refused.reason.value, issuer=refused.issuer, jti=refused.jti)
            raise Problem(outcomes.KINDS[_KIND[refused.status]]) from None
        logs.note(issuer=caller.issuer)
        return caller


def _from_this_machine() -> bool:
    """Whether nobody stands between: a proxy of this machine has loopback's address and speaks for others."""
    if any(_FORWARDED.fullmatch(name) for name, _ in request.headers):
        return False
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return False
    # A socket for both kinds of addresses writes one of the older kind so.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
