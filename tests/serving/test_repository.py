import threading
import time

import pytest

from serving.errors import ServingError
from serving.model_server.config import parse_config
from serving.repository import BusyError, ModelRepository, Served


@pytest.fixture
def repository(tmp_path):
    return ModelRepository(tmp_path / "models")


def add(repository, name="digits", run_id="r1", version=1):
    staged = repository.staging_folder(name, run_id)
    (staged / "assets.extra").mkdir(parents=True)
    (staged / "assets.extra" / "lineage.json").write_text(f'{{"run_id": "{run_id}"}}')
    return repository.commit(staged, version)


def test_versions_appear_by_their_number_and_are_found_by_their_run(repository):
    assert repository.versions("digits") == []
    add(repository, run_id="r1", version=2)
    add(repository, run_id="r2", version=10)
    assert repository.versions("digits") == [2, 10]
    assert repository.find_version("digits", "r2") == 10
    assert repository.find_version("digits", "r3") is None


def test_what_an_interrupted_publisher_left_is_no_version_and_is_cleared_away(repository):
    abandoned = repository.staging_folder("digits", "dead")
    abandoned.mkdir()
    assert repository.versions("digits") == []
    add(repository)
    assert [path.name for path in (repository.root / "digits").iterdir()] == ["1"]


def test_a_published_version_is_never_replaced(repository):
    folder = add(repository, run_id="r1")
    with pytest.raises(ServingError, match="exists already"):
        add(repository, run_id="r2")
    assert repository.find_version("digits", "r1") == 1
    assert folder.is_dir()


def test_the_model_server_reads_what_is_served(repository):
    for version in (1, 2, 3):
        add(repository, run_id=f"r{version}", version=version)
    add(repository, "letters")
    repository.serve("digits", Served(stable=1, candidate=3))
    repository.serve("letters", Served(stable=1))
    assert repository.served() == {"digits": Served(stable=1, candidate=3), "letters": Served(stable=1)}
    # A request without version or label gets the newest of the name's: never the candidate.
    models = {model.name: model for model in parse_config(repository.config_file.read_text()).models}
    assert models["digits"].policy.specific == (1,)
    assert models["digits"].labels == {"stable": 1}
    assert models["digits@candidate"].policy.specific == (3,)
    assert models["digits@candidate"].base_path == models["digits"].base_path
    repository.serve("digits", Served(stable=2))
    assert repository.served() == {"digits": Served(stable=2), "letters": Served(stable=1)}


def test_a_version_is_served_beside_the_stable_one_before_it_takes_the_label(repository):
    for version in (1, 2, 3):
        add(repository, run_id=f"r{version}", version=version)
    between = Served(stable=3, beside=(2,), candidate=1)
    repository.serve("digits", between)
    assert repository.served() == {"digits": between}
    models = {model.name: model for model in parse_config(repository.config_file.read_text()).models}
    assert models["digits"].policy.specific == (2, 3)
    assert between.versions == [1, 2, 3]
    assert between.labels == {"stable": 3, "candidate": 1}


def test_what_is_served_no_more_leaves_the_config(repository):
    add(repository)
    repository.serve("digits", Served(candidate=1))
    repository.serve("digits", Served())
    assert repository.served() == {}


def test_nothing_can_be_served_that_is_not_there(repository):
    add(repository)
    with pytest.raises(ServingError, match=r"no version 2 to serve; it has \[1\]"):
        repository.serve("digits", Served(stable=2))
    assert repository.served() == {}


def test_an_empty_config_can_be_made_for_a_server_to_watch(repository):
    path = repository.ensure_config()
    parse_config(path.read_text())
    assert repository.served() == {}
    add(repository)
    repository.serve("digits", Served(stable=1))
    assert repository.ensure_config() == path
    assert repository.served() == {"digits": Served(stable=1)}


def test_a_broken_config_is_one_sentence(repository):
    repository.ensure_config().write_text("model_config_list { confi")
    with pytest.raises(ServingError, match=r"models\.config cannot be read.*mend it or delete it"):
        repository.served()


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden"])
def test_a_model_name_cannot_lead_out_of_the_repository(repository, name):
    with pytest.raises(ServingError, match="is no model name"):
        repository.staging_folder(name, "r1")


def test_an_entry_with_both_labels_is_read_and_the_candidate_leaves_it(repository):
    for version in (1, 2):
        add(repository, run_id=f"r{version}", version=version)
    config = repository.config()
    model = config.model_config_list.config.add(name="digits", base_path="/d", model_platform="tensorflow")
    model.model_version_policy.specific.versions[:] = [1, 2]
    model.version_labels.update({"stable": 1, "candidate": 2})
    repository.ensure_config().write_text(str(config))
    assert repository.served() == {"digits": Served(stable=1, candidate=2)}
    repository.serve("digits", repository.served_of("digits"))
    models = {model.name: model for model in parse_config(repository.config_file.read_text()).models}
    assert models["digits"].policy.specific == (1,)
    assert models["digits@candidate"].policy.specific == (2,)


def test_what_somebody_serves_otherwise_is_left_alone(repository):
    add(repository)
    add(repository, "letters")
    config = repository.config()
    for name in ("digits", "words@home"):
        config.model_config_list.config.add(name=name, base_path="/d", model_platform="tensorflow")
    repository.ensure_config().write_text(str(config))
    assert repository.served() == {}
    with pytest.raises(ServingError, match="serves digits by a policy of its own; take that entry out"):
        repository.serve("digits", Served(stable=1))
    repository.serve("letters", Served(stable=1))
    assert {model.name for model in repository.config().model_config_list.config} == {"digits", "words@home", "letters"}


def test_who_waits_for_another_publisher_is_told(repository, caplog):
    other = ModelRepository(repository.root)
    with repository.lock():
        with pytest.raises(BusyError, match="Another process is publishing or promoting"), other.lock(wait=False):
            pass
        waiting = threading.Thread(target=lambda: other.lock().__enter__())
        waiting.start()
        while "waiting for it" not in caplog.text:
            time.sleep(0.05)
        assert waiting.is_alive()
    waiting.join(timeout=30)
    assert not waiting.is_alive()
