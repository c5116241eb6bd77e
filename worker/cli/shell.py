"""What all commands share: errors as exit codes, settings."""

import os
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import NoReturn, ParamSpec

import click

from worker.bootstrap import replica
from worker.cli.streams import leave, say
from worker.domain.errors import AccessDenied, ConfigurationError, Outage, Refused, Stopped, named
from worker.ops import configure_logs
from worker.settings import Settings, read_settings, unknown_names

EXIT_FOUND = 1
EXIT_UNREACHABLE = 3
EXIT_CONFIGURATION = 78
EXIT_INTERRUPTED = 130

URLS = {"redis": "REDIS_URL", "postgresql": "DATABASE_URL"}

P = ParamSpec("P")


def translated(command: Callable[P, None]) -> Callable[P, None]:
    """Turn the errors a person can do something about into one line and an exit code."""

    @wraps(command)
    def with_exit_code(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except ConfigurationError as error:
            leave(EXIT_CONFIGURATION, str(error))
        except Outage as error:
            leave_for(error)
        except Refused as error:
            leave(EXIT_UNREACHABLE, f"postgresql: {error}")
        except Stopped as error:
            leave(replica.EXIT_STOPPED, str(error))
        except (click.ClickException, click.Abort, click.exceptions.Exit, OSError):
            # Usage, Ctrl-C, output that can't be written: told elsewhere.
            raise
        except Exception as error:  # noqa: BLE001  a person at night is helped by one line
            if os.environ.get("WORKER_LOG_LEVEL", "").upper() == "DEBUG":
                traceback.print_exc()
            leave(replica.EXIT_STOPPED, f"unexpected {named(error)} (WORKER_LOG_LEVEL=DEBUG shows where)")

    return with_exit_code


def leave_for(outage: Outage, *more: str) -> NoReturn:
    """End a command that a server holds up, and say why, and more: 78 where it refuses access, else 3."""
    if isinstance(outage, AccessDenied):
        code, why = EXIT_CONFIGURATION, f"{URLS[outage.server]}: access refused: {outage.reason}"
    else:
        code, why = EXIT_UNREACHABLE, str(outage)
    leave(code, "\n".join([why, *more]))


def examples(*lines: str) -> str:
    """Return the end of a command's help: what to type, each line perhaps with a comment on what it does."""
    return "\b\n" + "\n".join(
        ["Example:" if len(lines) == 1 else "Examples:", *(f"  $ {line}" for line in lines)]
    )


def settings_of_environment(*, serves: bool = False) -> Settings:
    """Return the settings, and log as they say; a name that is no setting is a warning.

    What serves has nothing else to print, so its log goes to standard output. For all others that is for what
    was asked for alone, and they log to standard error.
    """
    settings = read_settings(os.environ)
    configure_logs(level=settings.log_level, form=settings.log_format, stream=None if serves else sys.stderr)
    for warning in unknown_names(os.environ):
        say(f"warning: {warning}")
    return settings
