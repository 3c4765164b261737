"""What Hydra makes of the same files and the same choices of them, kept in a test process: two fifths of the suite's
processor time went into making it again. What is typed beside choices is applied by Hydra, as ever, to a config that
was pickled, which is six times as fast to have anew as a deep copy.
"""

import copy
import pickle
from pathlib import Path

import pytest
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra._internal.defaults_list import DefaultsList, Overrides, create_defaults_list
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType

_read = {}  # what a file holds, pickled, by its place and when it was written
_lists = {}  # which configs a command takes, by all that it depends on
_configs = {}  # what those make together, pickled, by the identity of their list, which _lists holds
_stored = []  # nodes whose identity stands in a key: while they are held here, no other has it
_load, _compose = ConfigRepository.load_config, ConfigLoaderImpl._compose_config_from_defaults_list
_patch = pytest.MonkeyPatch()


def keep():
    """Keep what this process reads and composes from now on."""
    _patch.setattr(CachingConfigRepository, "__init__", _repository)
    _patch.setattr(ConfigRepository, "load_config", _config_of_file)
    _patch.setattr(config_loader_impl, "create_defaults_list", _defaults_list)
    _patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", _config)


def keep_nothing():
    """Have Hydra do all its work each time."""
    _patch.undo()


def _repository(self, delegate):
    """Hydra copies all that its store holds as well, but only rebinds what the repository has."""
    self.delegate = copy.copy(delegate)
    self.cache = {}


def _config_of_file(self, config_path):
    source = self._find_object_source(config_path, ObjectType.CONFIG)
    path = Path(source.path, source._normalize_file_name(config_path)) if source else None
    if source is None or not path.exists():
        return _load(self, config_path)
    key = (source.full_path(), source.provider, config_path, _written(path))
    if key not in _read:
        _read[key] = pickle.dumps(_load(self, config_path))
    return pickle.loads(_read[key])


def _defaults_list(repo, config_name, overrides_list, prepend_hydra, skip_missing):
    typed = Overrides(repo=repo, overrides_list=overrides_list).config_overrides
    aside = {id(override) for override in typed}
    choices = tuple(override.input_line for override in overrides_list if id(override) not in aside)
    store = _store(ConfigStore.instance().repo)
    key = (config_name, choices, prepend_hydra, skip_missing, store, _files(repo))
    if key not in _lists:
        _lists[key] = create_defaults_list(repo, config_name, overrides_list, prepend_hydra, skip_missing)
        _configs[id(_lists[key].defaults)] = None
    known = _lists[key]
    return DefaultsList(known.defaults, known.defaults_tree, typed, known.overrides)


def _config(self, defaults, repo):
    if id(defaults) not in _configs:
        return _compose(self, defaults, repo)
    if _configs[id(defaults)] is None:
        _configs[id(defaults)] = pickle.dumps(_compose(self, defaults, repo))
    return pickle.loads(_configs[id(defaults)])


def _store(nodes):
    """The names and nodes of Hydra's store."""
    found = []
    for name, node in nodes.items():
        if isinstance(node, dict):
            found.append((name, _store(node)))
            continue
        if all(node is not known for known in _stored):
            _stored.append(node)
        found.append((name, id(node)))
    return tuple(found)


def _files(repo):
    """The places that are searched, and when each file there was written."""
    found = []
    for source in repo.get_sources():
        files = sorted(Path(source.path).rglob("*.yaml")) if source.scheme() == "file" else []
        found.append((source.full_path(), *((str(path), _written(path)) for path in files)))
    return tuple(found)


def _written(path):
    at = path.stat()
    return at.st_mtime_ns, at.st_size
