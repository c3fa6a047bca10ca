from kraft.core.random import generator


def test_one_seed_gives_one_stream_for_each_purpose():
    assert generator(1, "split").random() == generator(1, "split").random()
    values = {generator(seed, purpose).random() for seed in (0, 1) for purpose in ("a", "b")}
    assert len(values) == 4
