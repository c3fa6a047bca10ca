import stat

import pytest

from kraft.core.files import atomic_path


def test_moves_into_place_and_keeps_the_suffix(tmp_path):
    target = tmp_path / "new" / "model.safetensors"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent and temporary.suffix == ".safetensors"
        temporary.write_text("content")
        assert not target.exists()
    assert target.read_text() == "content"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "model.npz"
    target.write_text("old")
    with pytest.raises(error), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.write_text("x")
    with atomic_path(tmp_path / "atomic") as temporary:
        temporary.write_text("x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "atomic")]
    assert modes[0] == modes[1]
