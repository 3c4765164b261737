"""Complaints of settings that may have several types."""

import pytest

from cmidd.cli.compose import compose
from cmidd.utils.errors import SettingError

SAID = {
    "dry_run=maesure": "dry_run=maesure: Input should be true, false or 'measure'",
    "engine.compile=ture": "engine.compile=ture: Input should be true, false or 'auto'",
    "engine.at_once=some": "engine.at_once=some: Input should be a valid integer or 'auto'",
    "engine.graphs=x": "engine.graphs=x: Input should be a valid boolean",
}


@pytest.mark.parametrize("word", SAID)
def test_the_setting_is_named_as_it_is_typed_with_every_value_that_it_takes(word):
    with pytest.raises(SettingError) as error:
        compose([word])
    assert str(error.value) == SAID[word]
