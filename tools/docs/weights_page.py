"""The tables of docs/weights.md, from the registry of public weights."""

from __future__ import annotations

from collections.abc import Iterable

from markdown_text import table

from cxrscore.models.public_weights import PUBLIC_WEIGHTS, XRV_OUTPUTS, PublicWeights

DIGESTS = {None: "none: that of the first download is kept", "md5": "MD5", "sha256": "first 8 hex digits of SHA-256"}


def weights_tables() -> str:
    entries = PUBLIC_WEIGHTS.values()
    return "\n\n".join(
        [
            "### Classifiers",
            table(
                ("name", "network", "films", "findings", "trained on"), *map(_classifier, _of(entries, "classifier"))
            ),
            "### Backbones",
            table(("name", "network", "films", "trained on"), *map(_backbone, _of(entries, "backbone"))),
            "### Publishers",
            table(("from", "licence", "published digest", "films are"), *_publishers(entries)),
        ]
    )


def _of(entries: Iterable[PublicWeights], use: str) -> list[PublicWeights]:
    return [entry for entry in entries if entry.use == use]


def _link(entry: PublicWeights) -> str:
    return f"[`{entry.name}`]({entry.url})"


def _films(entry: PublicWeights) -> str:
    return f"{entry.size} px"


def _classifier(entry: PublicWeights) -> tuple[str, ...]:
    lacking = [name for name in XRV_OUTPUTS if name not in entry.findings]
    named = f"only {' and '.join(entry.findings)}" if len(entry.findings) < 4 else f"without {', '.join(lacking)}"
    text = f"{len(entry.findings)}, {named}" if lacking else f"{len(entry.findings)}"
    return _link(entry), entry.architecture, _films(entry), text, ", ".join(entry.trained_on)


def _backbone(entry: PublicWeights) -> tuple[str, ...]:
    return _link(entry), entry.architecture, _films(entry), ", ".join(entry.trained_on)


def _publishers(entries: Iterable[PublicWeights]) -> list[tuple[str, ...]]:
    """One row for each."""
    publishers: dict[str, list[PublicWeights]] = {}
    for entry in entries:
        publishers.setdefault(entry.publisher, []).append(entry)
    rows = []
    for name, (first, *more) in publishers.items():
        fit = {"crop": "cut to the middle square", "stretch": "stretched to a square"}[first.fit]
        normalize = dict.fromkeys(f"`{entry.normalize}`" for entry in (first, *more))
        digest = DIGESTS[first.digest[0] if first.digest else None]
        rows.append((name, first.licence, digest, f"{fit}, {' or '.join(normalize)}"))
    return rows
