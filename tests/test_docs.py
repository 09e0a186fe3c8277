"""The documentation: every command on its pages works, and the messages shown are true."""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import yaml
from support.documented import (
    DOCS,
    NEEDS,
    PAGES,
    VARIABLES,
    answer,
    blocks,
    commands,
    run_command,
    with_shortened_run,
    write_folder,
)  # fmt: skip
from support.fake_server import serving
from support.paths import CONF, ROOT
from support.processes import run_forked
from support.upstreams import free_port, wait_until

pytestmark = pytest.mark.slow

LINES = sorted({line for page in PAGES for line in commands(page)})
MARKED = [line for line in LINES if NEEDS.search(line)]
SERVERS = [line for line in LINES if re.match(r"zooter serve|python infer\.py mode=serve", line)]
RUN = [line for line in LINES if re.match("zooter|python", VARIABLES.sub("", line)) and line not in MARKED + SERVERS]
OTHERS = [line for line in LINES if line not in MARKED + SERVERS + RUN]
ERRORS = [(block.strip(), shown.strip()) for block, shown in blocks(DOCS / "troubleshooting.md", "bash") if shown]
EXAMPLES = [(page, block) for page in PAGES for block, _ in blocks(page, "python")]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Address of a server that answers as every candidate and as the judge."""
    with serving(answer) as server:
        yield server.url


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, url: str) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    write_folder(folder, url)
    rows = [f'{{"query": "query {i}", "candidate": "a", "reward": {i % 2}}}\n' for i in range(40)]
    (folder / "one.jsonl").write_text("".join(rows), encoding="utf-8")
    words = [rows[0], '{"query": "b", "candidate": "x", "reward": "good"}\n']
    (folder / "words.jsonl").write_text("".join(words), encoding="utf-8")
    return folder


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    """Copy the folder, so that every command finds it as the pages describe it, whatever ran before."""
    return Path(shutil.copytree(home, tmp_path / "home", symlinks=True))


def test_every_command_of_the_pages_is_tried() -> None:
    assert len(LINES) > 40
    assert len(ERRORS) == 10
    for page in PAGES:
        for block, _ in blocks(page, ""):
            assert not re.search(r"^(zooter|python|pip) ", block, re.MULTILINE), f"{page.name}: not marked as bash"
    needed = {str(NEEDS.search(line)[1]) for line in MARKED}  # type: ignore[index]
    assert all(re.match("the hub|Ray|Slurm|several GPUs", need) for need in needed), needed


@pytest.mark.parametrize("command", RUN)
def test_a_command_runs(command: str, folder: Path, url: str) -> None:
    out = re.search(r"\bout=(\S+)", command)
    if out is not None:
        (folder / out[1]).unlink(missing_ok=True)
    done = run_command(command, folder, url)
    assert done.returncode == 0, done.stderr[-2000:]
    run_dir = re.search(r"\brun_dir=(\S+)", command)
    if run_dir is not None and "plan=true" not in command and "until=" not in command:
        summary = "sweep.html" if re.search(r" -m |zooter sweep", command) else "report.html"
        assert (folder / run_dir[1] / summary).stat().st_mtime > (folder / "zooter_entry.py").stat().st_mtime
    if out is not None:
        assert (folder / out[1]).stat().st_size > 0


@pytest.mark.parametrize("command", MARKED)
def test_a_command_that_needs_more_than_this_machine_has_can_be_set_up(command: str, folder: Path) -> None:
    words = shlex.split(NEEDS.sub("", command))
    script, *words = words[words.index("train.py") if "train.py" in words else 1 :]  # after torchrun or srun
    done = run_forked(ROOT / script, [*words, "--cfg", "job"], folder)
    assert done.returncode == 0, done.stderr
    assert "_target_" in done.stdout


@pytest.mark.parametrize("command", SERVERS)
def test_a_server_starts_and_decides(command: str, folder: Path, url: str) -> None:
    script, words = with_shortened_run(command, folder, url)
    port = free_port()
    words += ["--port", str(port)] if script.name == "zooter_entry.py" else [f"port={port}"]
    words = [word for word in words if word != "port=8080"]
    with subprocess.Popen([sys.executable, str(script), *words], cwd=folder, stderr=subprocess.PIPE) as process:

        def is_ready() -> bool:
            assert process.poll() is None, process.stderr.read().decode()  # type: ignore[union-attr]
            try:
                return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
            except httpx.TransportError:
                return False

        try:
            wait_until(is_ready, 120)
            decision = httpx.post(f"http://127.0.0.1:{port}/route", json={"query": "Add 1 and 2."}, timeout=10).json()
        finally:
            process.terminate()
    assert decision["candidate"].startswith("model-")


@pytest.mark.parametrize("command", OTHERS)
def test_a_command_of_another_program_names_what_is_there(command: str) -> None:
    match shlex.split(command, comments=True):
        case ["pip", "install", wanted]:
            extras = re.fullmatch(r"\.\[([\w,]+)\]", wanted)
            assert extras is not None
            project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            assert set(extras[1].split(",")) <= set(project["optional-dependencies"])
        case ["make", *words]:
            done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=True)
            assert ".venv/bin/python" in done.stdout
        case _:
            pytest.fail(f"no way to try {command}")


def test_every_benchmark_that_a_page_names_is_there() -> None:
    pages = {*PAGES, *DOCS.glob("*.md"), ROOT / "CHANGELOG.md"}
    names = {name for page in pages for name in re.findall(r"benchmarks/\w+\.py", page.read_text(encoding="utf-8"))}
    assert len(names) > 20
    assert not [name for name in names if not (ROOT / name).exists()]


@pytest.mark.parametrize(("page", "example"), EXAMPLES, ids=[page.stem for page, _ in EXAMPLES])
def test_a_python_example_runs(page: Path, example: str, folder: Path) -> None:
    program = folder / "example.py"
    program.write_text(example, encoding="utf-8")
    compile(example, str(page), "exec")
    if NEEDS.search(example):
        return
    done = run_forked(program, [], folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("command", "shown"), ERRORS, ids=[command for command, _ in ERRORS])
def test_every_error_is_shown_as_it_is(command: str, shown: str, home: Path) -> None:
    program, *words = shlex.split(command)
    script = ROOT / words.pop(0) if program == "python" else home / "zooter_entry.py"
    done = run_forked(script, words, home)
    assert done.returncode != 0
    assert shown in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_setting_stands_on_its_page_with_its_default(hooks: ModuleType) -> None:
    page = hooks.settings_page()
    for path in CONF.glob("*/[!_]*.yaml"):
        assert f"### `{path.parent.name}={path.stem}`" in page
    for path in CONF.glob("*.yaml"):
        for key in set(yaml.safe_load(path.read_text(encoding="utf-8"))) - {"defaults", "hydra", "_target_"}:
            assert f"| `{key}" in page, key
    assert "| `label.beta` | `auto` | β in [0, 1]; 1 keeps every query's own label" in page
    assert all(line.replace("\\|", "").count("|") == 4 for line in page.splitlines() if line.startswith("| `"))


def test_links_out_of_the_docs_lead_to_pages(hooks: ModuleType) -> None:
    text = "[a](../data/README.md#x) [b](../docs/import.md#y) [c](../conf/serve.yaml) [d](../src/z.py) [e](serving.md)"
    shown = "[a](formats.md) [b](import.md#y) [c](settings.md) [d] (`src/z.py`) [e](serving.md)"
    assert hooks.on_page_markdown(text) == shown
