"""What the black box's tests share."""

import disk
import pytest
import story
from cellwarden.blackbox import folder
from cellwarden_tools.blackbox.verify import Verification


@pytest.fixture
def on(monkeypatch):
    """Run the black box on a simulated disk: on(Disk) -> Folder."""

    def use(simulated):
        monkeypatch.setattr(folder, "os", simulated)
        monkeypatch.setattr(folder, "open", simulated.open, raising=False)
        return folder.Folder(simulated.path)

    return use


@pytest.fixture
def verified(tmp_path):
    """Verify the files {name: bytes} of a log."""

    log = tmp_path / "log"
    log.mkdir()
    there = {}  # what was written last: most logs differ from it in one file

    def verify(files, key=story.FIRST_KEY, **options):
        for name in there.keys() - files.keys():
            (log / name).unlink()
            del there[name]
        for name, data in files.items():
            if there.get(name) != data:
                (log / name).write_bytes(data)
                there[name] = data
        return Verification(log, key, **options)

    return verify


@pytest.fixture
def provisioned(on):
    """{name: bytes} of a new box's folder."""
    from cellwarden.blackbox.keys import FileKeys

    made = disk.Disk()
    FileKeys(on(made)).provision(story.FIRST_KEY)
    return {name: bytes(file.durable) for name, file in made.durable_names.items()}


@pytest.fixture
def lived(on, provisioned):
    """Let a box live: lived(files=, boots=, seals=, **ring) -> {name: bytes}, shut down after each of its boots."""

    def live(files=provisioned, boots=3, seals=7, t_ms=0, **ring):
        there = disk.Disk(files)
        for boot in range(boots):
            story.live(story.start(on(there), boot, **ring), seals, t_ms=t_ms, shutdown=True)
        return {name: bytes(file.data) for name, file in there.names.items()}

    return live
