"""The page at `/`: one file of the package, and headers that let nothing run in it but its own script."""

import base64
import hashlib
import importlib.resources
import re


def read_page() -> tuple[str, dict[str, str]]:
    """The page and its headers."""
    text = importlib.resources.files("zooter.serve.http").joinpath("page.html").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; connect-src 'self'; script-src {_hash(text, 'script')}; style-src-elem "
        f"{_hash(text, 'style')}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, {"content-security-policy": policy, "cache-control": "no-cache"}


def _hash(text: str, element: str) -> str:
    found = re.search(f"<{element}>(.*?)</{element}>", text, re.DOTALL)
    assert found
    return f"'sha256-{base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()}'"
