"""Sign a model as a release, let a tenth of the fleet have it, and publish it in a folder."""

import tempfile
import time
from pathlib import Path

from edgeml.fleet.repo.publish import Outgoing, to_folder
from edgeml.fleet.repo.repository import Repository

folder = Path(tempfile.mkdtemp())
repository = Repository(folder / "repository")
repository.create()
(new,) = repository.release([Path("models/activity/activity.tflite")])
rule = repository.rollout(new.index.release, upto=1000, spread_s=3600)
with repository.open() as ledger:
    sent = to_folder(Outgoing(ledger, time.time()), folder / "web")
print(f"{rule.release}: {rule.upto / 100:g} %, {sent.files} files")
