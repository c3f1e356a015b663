import json


def test_the_cache_is_shown_verified_pruned_and_cleared(run, class_folders, tmp_path):
    assert "No vectors are kept." in run("cache")[1]
    run("embed", class_folders, "--backbone", "cnn-a", "--weights", "random", "--quiet")
    facts = json.loads(run("cache", "--json")[1])
    (recipe,) = facts["recipes"]
    assert (recipe["vectors"], recipe["facts"]["backbone"]) == (24, "cnn-a")
    assert facts["bytes"] > 24 * 256
    assert "cnn-a at dense1" in run("cache")[1]
    assert run("cache", "verify")[:2] == (
        0,
        "24 vectors are valid; 0 were damaged and have been removed.\n",
    )
    assert "0 vectors removed" in run("cache", "prune", "--days", "1")[1]
    assert "24 vectors removed" in run("cache", "prune", "--recipe", recipe["fingerprint"][:8])[1]
    assert "0 vectors removed" in run("cache", "clear")[1]


def test_only_a_store_on_disk_can_be_managed(run):
    code, _, error = run("cache", "verify", "--store", "memory")
    assert code == 2
    assert "The store 'memory' is not on disk. Give 'disk' or the path of a file." in error
