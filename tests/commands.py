"""The commands, run within the test's own process: a process of its own for each would take a second."""

from click.testing import CliRunner, Result

from tests.harness import Deployment
from worker.cli import main

# Who types a command; all others are an operator's.
TYPED_BY = {"run": "worker", "migrate": "migrate", "bridge": "bridge", "prune": "pruner"}


def typed_by(*arguments: str) -> str:
    """Return who types a command of these words."""
    return TYPED_BY.get(next((each for each in arguments if not each.startswith("-")), ""), "operator")


def environment_of(deployment: Deployment, *arguments: str, **overrides: object) -> dict[str, str]:
    """Return the environment of a process that runs a command of these words, as who types it."""
    return deployment.process_environment(typed_by(*arguments), **overrides)


def command(
    deployment: Deployment, *arguments: str, given: bytes | str | None = None, **overrides: object
) -> Result:
    """Run a command on a deployment; whatever it raises but its exit code is raised here, too."""
    runner = CliRunner(env=deployment.environment(typed_by(*arguments), **overrides))
    return runner.invoke(main, arguments, input=given, catch_exceptions=False)
