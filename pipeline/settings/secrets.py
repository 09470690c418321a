"""What the broker's login gave: from the environment or a file of mode 0600, masked when shown.

Secrets are not settings: no file that may be shared can contain one.
"""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from pipeline.errors import SettingsError, explain
from pipeline.settings.feed import FeedSettings
from pipeline.settings.gateway import OrdersSettings
from pipeline.settings.kinds import Section

LOGINS = {
    "smartapi": ("api_key", "client_code", "jwt", "feed_token"),
    "kite": ("api_key", "access_token"),
}
SECRET_NAMES = tuple(dict.fromkeys(name for names in LOGINS.values() for name in names))
SECRETS_PREFIX = "TICKPIPE_"

_NONE = SecretStr("")


class Secrets(Section):
    """What the broker's login gave; another broker's secrets are empty.

    Its repr is masked; read one with ``.get_secret_value()``.
    """

    api_key: SecretStr
    client_code: SecretStr = _NONE
    jwt: SecretStr = _NONE
    feed_token: SecretStr = _NONE
    access_token: SecretStr = _NONE


SIMULATOR_SECRETS = Secrets(
    api_key=SecretStr("simulator-key"),
    client_code=SecretStr("SIM0001"),
    jwt=SecretStr("simulator-jwt"),
    feed_token=SecretStr("simulator-feed-token"),
    access_token=SecretStr("simulator-access-token"),
)


def load_secrets(section: FeedSettings | OrdersSettings, environment: Mapping[str, str]) -> Secrets:
    """Return the credentials that ``section`` names. Raises SettingsError without showing a value.

    A recorded day needs none and must not ask.
    """
    if section.credentials == "simulator":
        return SIMULATOR_SECRETS
    needed = LOGINS[section.login]
    if section.credentials == "file":
        assert section.secrets_file is not None, "checked when the settings were"
        found = _read_secrets_file(section.secrets_file)
        place = str(section.secrets_file)
    else:
        found = {name: environment.get(SECRETS_PREFIX + name.upper(), "") for name in needed}
        place = "the environment"
    missing = [name for name in needed if not found.get(name)]
    if missing:
        raise SettingsError(
            explain(
                f"{place} lacks {', '.join(missing)}",
                rule=f"the login of {section.login} needs {', '.join(needed)}",
                cure=f"add them to {place}" if section.credentials == "file" else _exports(missing),
            )
        )
    return Secrets(**{name: SecretStr(str(found[name])) for name in needed})


def _exports(names: Sequence[str]) -> str:
    return "export " + " ".join(f"{SECRETS_PREFIX}{name.upper()}=…" for name in names)


def _read_secrets_file(path: Path) -> dict[str, Any]:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise SettingsError(
                explain(
                    f"{path} has mode {mode:04o}",
                    rule="only its owner may read a secrets file (0600)",
                    cure=f"chmod 600 {path}",
                )
            )
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # What a parser says may quote the file.
        said = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise SettingsError(
            explain(
                f"{path}: {said}",
                rule="a secrets file is readable TOML",
                cure="see configs/live.example.toml and configs/kite.example.toml",
            )
        ) from None
