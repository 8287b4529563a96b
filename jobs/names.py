"""What Kubernetes calls a valid name, in its own sentences (apimachinery pkg/util/validation)."""

from __future__ import annotations

import re

LONGEST_LABEL = 63
_LONGEST_SUBDOMAIN = 253
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"


def label_problem(name: str) -> str | None:
    """Why the name is no RFC 1123 label (Workspaces, containers, volumes); None when it is."""
    if re.fullmatch(_LABEL, name):
        return _too_long(name, LONGEST_LABEL)
    return (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
        "must start and end with an alphanumeric character"
    )


def subdomain_problem(name: str) -> str | None:
    """Why the name is no RFC 1123 subdomain (labels with dots between); None when it is."""
    # The length comes first: the pattern is linear only on names of a sane size.
    too_long = _too_long(name, _LONGEST_SUBDOMAIN)
    if too_long or re.fullmatch(_SUBDOMAIN, name):
        return too_long
    return (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
        "'.', and must start and end with an alphanumeric character"
    )


def _too_long(name: str, limit: int) -> str | None:
    return f"must be no more than {limit} bytes" if len(name) > limit else None
