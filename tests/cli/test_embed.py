import json
import zipfile

import numpy as np
import PIL.Image


def test_embed_takes_pictures_of_any_label(run, faces, tmp_path):
    labels = ("happy", "contempt", "bored")
    names = [f"{i}.png" for i in range(3)]
    for name, face in zip(names, faces, strict=False):
        PIL.Image.fromarray(face).save(tmp_path / name)
    rows = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
    (tmp_path / "faces.csv").write_text("\n".join(["image,label", *rows]))
    for packed, prefix in (("folders.zip", True), ("flat.zip", False)):
        with zipfile.ZipFile(tmp_path / packed, "w") as file:
            for name, label in zip(names, labels, strict=True):
                file.write(tmp_path / name, f"{label}/{name}" if prefix else name)
    options = ("--backbone", "cnn-a", "--weights", "random", "--quiet", "--json", "--store", "none")
    for data in ("faces.csv", "folders.zip", "flat.zip"):
        code, out, err = run("embed", tmp_path / data, *options)
        assert (code, err) == (0, "")
        assert json.loads(out)["computed"] == 3
    pixels = "".join(f"\n{i},{' '.join(['7'] * 16)}" for i in range(2))
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as file:
        file.writestr("fer2013.csv", "emotion,pixels" + pixels)
        file.write(tmp_path / names[0], "example.png")
    vectors = tmp_path / "v.npz"
    assert run("embed", tmp_path / "rows.zip", *options, "--output", vectors)[0] == 0
    rows = [f"{tmp_path}/rows.zip/fer2013.csv, row {row}" for row in (2, 3)]
    assert np.load(vectors)["names"].tolist() == rows


def test_embed_fills_the_store_and_writes_vectors(run, class_folders, tmp_path):
    options = ("--backbone", "cnn-a", "--weights", "random", "--quiet", "--json")
    code, out, err = run("embed", class_folders, *options)
    assert code == 1
    assert err.count("\n") == 1
    expected = {"computed": 24, "from_store": 0, "duplicates": 0, "damaged": 0, "failed": 1}
    assert json.loads(out) == expected
    target = tmp_path / "vectors.npz"
    out = run("embed", class_folders, *options, "--output", target)[1]
    assert json.loads(out) == {**expected, "computed": 0, "from_store": 24}
    with np.load(target) as file:
        assert file["vectors"].shape == (24, 64)
        assert all(name.endswith(".png") for name in file["names"])
