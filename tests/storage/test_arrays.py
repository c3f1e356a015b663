"""Files of arrays that somebody made to do harm are refused before their data is read."""

import io
import zipfile

import numpy as np
import pytest

from ferembed.storage.arrays import check_packing, read_arrays


def packed(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file


def member(content, name="a.npy"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file


def array(shape="(2,)", kind="<f8", data=bytes(16), version=b"\x01\x00"):
    """An array of format 1.0, whose header says what is given here."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117)
    return b"\x93NUMPY" + version + (118).to_bytes(2, "little") + header + b"\n" + data


def test_arrays_come_back_all_or_those_that_are_named():
    file = packed(a=np.arange(3), b=np.array("text"))
    assert read_arrays(file)["a"].tolist() == [0, 1, 2]
    assert read_arrays(file, ["b"]).keys() == {"b"}
    assert read_arrays(member(array()))["a"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (array(data=bytes(8)), r"a is \(2,\) of float64 in its header, which is not what it holds"),
        (array("(-2,)"), r"a has the shape \(-2,\)"),
        (array(f"({'1, ' * 9})"), "a has the shape"),
        (array(kind="|O"), "a holds objects. Object arrays cannot be loaded"),
        (array(version=b"\x09\x00"), "a is an array of the unknown format"),
        (b"no array", "magic"),
    ],
)
def test_an_array_that_is_not_what_its_header_says_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        read_arrays(member(content))


def test_a_zip_is_refused_by_the_size_that_it_would_have():
    with pytest.raises(ValueError, match="it would need 800, and 799 are allowed|800 bytes"):
        check_packing(800, 800, 799)
    with pytest.raises(ValueError, match="which no trained numbers do"):
        check_packing(65 << 20, 10_000)
    check_packing(64 << 20, 10_000)  # so much may be packed as tightly as it likes
    with pytest.raises(ValueError, match="would need .* bytes, and 1,000 are allowed"):
        read_arrays(packed(a=np.arange(1000)), most=1000)


def test_two_members_of_one_name_and_what_is_no_zip_are_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", array())
        archive.writestr("a", array())
    with pytest.raises(ValueError, match="two of its members have one name"):
        read_arrays(file)
    with pytest.raises(ValueError, match="not a zip file"):
        read_arrays(io.BytesIO(b"no zip"))
