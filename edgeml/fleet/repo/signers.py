"""Keys: made as files, or somewhere else and known by a URI, as in a KMS or an HSM.

A signer is named as securesystemslib names it: `file2:keys/x.pem`, `awskms:…`,
`gcpkms:…`, `azurekms:…`, `hsm:…`. Public keys are in the metadata; which URI
belongs to which of them is in `repo.json`.
"""

import getpass
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from securesystemslib.exceptions import UnsupportedLibraryError
from securesystemslib.signer import CryptoSigner, Key, Signer, SSlibKey
from tuf.api.metadata import Metadata

from edgeml.errors import ConfigError, TrustError
from edgeml.fleet.repo.folder import Folder, read_file, write_file
from edgeml.jsonread import Fields
from edgeml.sync.connection import refuse_readable_by_others

DAY_S: Final = 86_400
LIFETIMES_S: Final = {
    "root": 365 * DAY_S,
    "targets": 365 * DAY_S,
    "snapshot": 7 * DAY_S,
    "timestamp": DAY_S,
    "rollout": 7 * DAY_S,
}
"""How long what a role signs is valid. The rules themselves have an expiry of their own."""
ROLES: Final = tuple(LIFETIMES_S)
OFFLINE: Final = ("root", "targets")
_FILE: Final = "file2"


@dataclass(slots=True)
class Settings:
    """How each key signs, and how long what a role signs lasts."""

    signers: dict[str, str]
    lifetimes_s: dict[str, int]

    @classmethod
    def read(cls, folder: Folder) -> "Settings":
        """Read `repo.json`.

        Raises:
            ConfigError: it is not one of this version.
        """
        where = str(folder.settings)
        try:
            document = json.loads(read_file(folder.settings))
        except ValueError as exc:
            raise ConfigError(f"{where}: is not JSON ({exc})") from exc
        fields = Fields(document, where, ConfigError)
        if fields.integer("v") != 1:
            raise ConfigError(f"{where}: is of a later version; upgrade edgeml")
        signers, lifetimes = fields.child("signers"), fields.child("lifetimes_s")
        fields.finish()
        return cls(
            {key: signers.text(key) for key in signers.raw},
            {role: lifetimes.integer(role) for role in ROLES},
        )

    def write(self, folder: Folder) -> None:
        """Write `repo.json`."""
        document = {"v": 1, "signers": self.signers, "lifetimes_s": self.lifetimes_s}
        write_file(folder.settings, (json.dumps(document, indent=1) + "\n").encode())


def make_key(folder: Folder, role: str) -> tuple[str, Key]:
    """A new Ed25519 key as a file that only its owner can read: its URI and its public half."""
    signer = CryptoSigner.generate_ed25519()
    path = folder.keys / f"{role}-{signer.public_key.keyid[:8]}.pem"
    write_file(path, signer.private_bytes, 0o600)
    return f"{_FILE}:keys/{path.name}", signer.public_key


def foreign_key(uri: str, public_key: Path) -> tuple[str, Key]:
    """A key that is kept elsewhere, by its URI and its public half in PEM.

    Raises:
        ConfigError: the file holds no public key that TUF knows.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if ":" not in uri:
        raise ConfigError(f"{uri!r} is no signer; expected a URI such as awskms:KEY or hsm:2")
    try:
        key = SSlibKey.from_crypto(load_pem_public_key(public_key.read_bytes()))
    except OSError as exc:
        raise ConfigError(f"{public_key}: cannot be read ({exc.strerror})") from exc
    except (ValueError, UnsupportedAlgorithm, UnsupportedLibraryError) as exc:
        raise ConfigError(f"{public_key}: holds no public key in PEM ({exc})") from exc
    return uri, key


@dataclass(frozen=True, slots=True)
class Keyring:
    """The private keys within reach.

    Attributes:
        folder: the repository.
        settings: which URI belongs to which key.
        elsewhere: folders where key files lie that are not kept in the repository, such as the
            sticks of those whose signatures together make a threshold.
    """

    folder: Folder
    settings: Settings
    elsewhere: tuple[Path, ...] = ()

    def sign(self, metadata: Metadata[Any], who: str, keys: list[Key], threshold: int) -> None:
        """Add the signatures of these keys, as many as are within reach.

        Raises:
            TrustError: too few are.
        """
        signed, missing = 0, []
        for key in keys:
            signer = self._signer(key)
            if signer is None:
                missing.append(self.settings.signers.get(key.keyid, key.keyid[:16]))
                continue
            try:
                metadata.sign(signer, append=True)
            except Exception as exc:  # whatever a KMS's own client raises
                raise TrustError(f"{who}: {key.keyid[:16]} does not sign: {exc}") from exc
            signed += 1
        if signed < threshold:
            raise TrustError(
                f"{who}: {signed} of {threshold} signatures; not here: {', '.join(missing)}; "
                "bring the key back for this command, with --keys FOLDER where it lies elsewhere"
            )

    def _signer(self, key: Key) -> Signer | None:
        """The signer of a key; None where it is a file that is not here."""
        uri = self.settings.signers.get(key.keyid)
        if uri is None:
            return None
        scheme, _, rest = uri.partition(":")
        if scheme == _FILE:
            path = self._file(rest)
            if path is None:
                return None
            refuse_readable_by_others(path)
            uri = f"{_FILE}:{path}"
        try:
            return Signer.from_priv_key_uri(uri, key, _secret)
        except Exception as exc:
            raise TrustError(f"{uri}: the key cannot be used: {exc}") from exc

    def _file(self, name: str) -> Path | None:
        places = [*(folder / Path(name).name for folder in self.elsewhere), self.folder.root / name]
        return next((place.absolute() for place in places if place.exists()), None)


def _secret(name: str) -> str:
    """A PIN or a passphrase: from EDGEML_SECRET, else from whoever sits there."""
    given = os.environ.get("EDGEML_SECRET")
    return getpass.getpass(f"{name}: ") if given is None else given
