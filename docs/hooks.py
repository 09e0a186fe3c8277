"""Make the pages of the site that are generated: every setting, the formats, and the picture of labels.

MkDocs calls the functions `on_…`; `settings_page` needs zooter and PyYAML alone.
"""

import importlib
import inspect
import io
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
COMMANDS = {
    "train": "python train.py",
    "infer": "python infer.py",
    "evaluate": "python infer.py mode=evaluate",
    "calibrate": "python infer.py mode=calibrate",
    "drift": "python infer.py mode=drift",
    "export": "python infer.py mode=export",
    "serve": "zooter serve",
    "to_huggingface": "python infer.py mode=to_huggingface",
}
PAGES = {"data/README.md": "formats.md", "benchmarks/README.md": "benchmarks.md"}  # files outside docs/ → pages
MOVED = {**PAGES, "README.md": "index.md"}
_LINK = re.compile(r"\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "settings.md", content=settings_page()))
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    files.append(File.generated(config, "labels.png", content=labels_picture()))
    return files


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Lead links to files outside of docs/ to their page on the site, or show the file's path where it has none."""
    return _LINK.sub(_moved_link, markdown)


def _moved_link(match: re.Match[str]) -> str:
    path, anchor = match[1].removeprefix("../"), match[2] or ""
    for old, new in MOVED.items():
        if path == old:
            return f"]({new})"
    if path.startswith("docs/"):
        return f"]({path.removeprefix('docs/')}{anchor})"
    return "](settings.md)" if path.startswith("conf/") else f"] (`{path}`)"


def settings_page() -> str:
    """Write every setting of conf/ with its default and meaning, from the YAML files and the components' docstrings."""
    lines = [
        "# Every setting",
        "",
        "Made from `conf/` and the components' docstrings when this site is built. `python train.py … --cfg job` "
        "prints the settings of a run as they are set, and runs nothing. A group, such as `net=`, is chosen by its "
        "option's name; the keys of an option are changed as `net.lr=0.001`.",
        "",
    ]
    for name, command in COMMANDS.items():
        lines += [f"## `{command}`", "", *_option(CONF / f"{name}.yaml"), ""]
    for group in sorted(path for path in CONF.iterdir() if path.is_dir()):
        lines += [f"## `{group.name}=`", ""]
        for path in sorted(group.glob("[!_]*.yaml")):
            lines += [f"### `{group.name}={path.stem}`", "", *_option(path), ""]
    return "\n".join(lines)


def _option(path: Path) -> list[str]:
    """Describe the keys of a YAML file: what its first comment says, and a table."""
    text = path.read_text(encoding="utf-8")
    values = yaml.safe_load(text) or {}
    comment = " ".join(line.removeprefix("#").strip() for line in _leading_comment(text))
    target = values.get("_target_")
    rows = _rows(values, "", _comments(text))
    lines = [comment, ""] if comment else []
    if isinstance(target, str):
        lines += [f"Component: `{target}`", ""]
    if not rows:
        return lines or [f"```yaml\n{text.strip()}\n```"]
    table = [f"| `{key}` | {_code(default)} | {_cell(meaning)} |" for key, default, meaning in rows]
    return [*lines, "| key | default | meaning |", "| --- | --- | --- |", *table]


def _rows(values: dict[str, Any], prefix: str, comments: dict[str, str]) -> list[tuple[str, Any, str]]:
    meanings, defaults = _described(values.get("_target_"))
    rows = []
    for key, value in {**defaults, **values}.items():
        if key in ("defaults", "hydra") or key.startswith("_"):
            continue
        meaning = max(meanings.get(key, ""), comments.get(key, ""), key=len)
        if isinstance(value, dict) and value:
            rows += [(f"{prefix}{key}", "", meaning)] if meaning else []
            rows += _rows(value, f"{prefix}{key}.", comments)
        else:
            rows.append((f"{prefix}{key}", value, meaning))
    return rows


def _described(target: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """Return what a component's docstring says of each field, and the defaults in its signature."""
    if not isinstance(target, str) or not target.startswith("zooter."):
        return {}, {}
    *path, name = target.split(".")
    try:
        owner: Any = importlib.import_module(".".join(path))
    except ModuleNotFoundError:  # a method of a class: module.Class.method
        owner = getattr(importlib.import_module(".".join(path[:-1])), path[-1])
    component = getattr(owner, name)
    parameters = inspect.signature(component).parameters.values()
    plain = (bool, int, float, str, type(None), tuple, list)
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty and isinstance(p.default, plain)}
    return _fields(inspect.getdoc(component) or ""), defaults


def _fields(docstring: str) -> dict[str, str]:
    """Read `name: meaning` from the section Attributes or Args of a docstring."""
    section = re.search(r"^(?:Attributes|Args):\n((?:(?:    .*)?\n?)*)", docstring, re.MULTILINE)
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section[1].splitlines() if section else []:
        match = re.match(r"    ([\w, ]+): (.*)", line)
        if match and not line.startswith("     "):
            names = [name.strip() for name in match[1].split(",")]
            found |= dict.fromkeys(names, match[2])
        elif line.strip():
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def _leading_comment(text: str) -> list[str]:
    lines = text.splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return lines[:end]


def _comments(text: str) -> dict[str, str]:
    """Read the comment behind each key; keys that occur twice, in two components, have none."""
    keys = re.findall(r"^\s*(\w+):", text, re.MULTILINE)
    commented = re.findall(r"^\s*(\w+):[^#\n]*#\s*(.+)$", text, re.MULTILINE)
    return {key: comment for key, comment in commented if keys.count(key) == 1}


def _code(value: Any) -> str:
    if value == "":
        return ""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    shown = " ".join(text.split())
    return f"`{_cell(shown if len(shown) <= 80 else shown[:79] + '…')}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def labels_picture() -> bytes:
    """Draw the label of one query for several β, with the tag's mean beside it."""
    import numpy as np
    from matplotlib.figure import Figure

    from zooter.data.types import Rewards, Tags
    from zooter.training.labels import TagSmoothing

    names = ("model-a", "model-b", "model-c")
    values = np.array([[0.9, 0.2, 0.6], [0.2, 1.0, 0.3], [0.1, 0.9, 0.5], [0.3, 0.8, 0.4]])
    rewards, tags = Rewards(values, names), Tags.from_rows([["maths"]] * len(values))
    figure = Figure(figsize=(7, 2.6))
    betas = (0.0, 0.3, 0.7, 1.0)
    for axes, beta in zip(figure.subplots(1, len(betas), sharey=True), betas, strict=True):
        smoothing = TagSmoothing(beta=beta, temperature=0.25, unit="reward", shrinkage=0.0)
        label = smoothing.fit(rewards, tags).label(rewards, tags).values[0]
        axes.bar(range(3), label, color="#3b6fb6")
        axes.set_xticks(range(3), ["a", "b", "c"])
        axes.set_title(f"β = {beta:g}", fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140, bbox_inches="tight", facecolor="white")
    return buffer.getvalue()
