"""The init container's word: adapters from folders and a real registry, good ones and bad ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rig.adapters import PROVENANCE
from rig.hub import hub
from rig.loras import lora
from rig.registry import RunningRegistry, running_registry
from rig.tiny import MODEL_ID

from serving import plan as plans
from serving.lastwords import AdapterWords, ServeWords
from serving.plan import AdapterPlan, ServedModel, ServePlaces, ServePlan
from serving.prepare import prepare
from tuning.failure import Failure, Kind
from tuning.images import oci
from tuning.images.connection import Options
from tuning.images.credentials import Credentials
from tuning.images.oci import CONFIG_FILE, WEIGHTS_FILE
from tuning.images.registry import Registry
from tuning.reference import parse

ROOT = Path(__file__).resolve().parents[2]
Plan = Callable[..., ServePlan]


@pytest.fixture(scope="module")
def made(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good adapters, `facts` and `style`."""
    root = tmp_path_factory.mktemp("adapters")
    lora(tiny, root / "facts", 1)
    lora(tiny, root / "style", 2, r=12, target_modules=["q_proj", "v_proj"])
    return root


@pytest.fixture(scope="module")
def registry() -> Iterator[RunningRegistry]:
    with running_registry("htpasswd") as running:
        yield running


@pytest.fixture(scope="module")
def image(made: Path, registry: RunningRegistry) -> str:
    """`facts` as an image, by digest."""
    assert registry.credentials is not None
    client = Registry(Credentials.load([registry.credentials]), Options(ca_file=registry.ca))
    built = oci.build(made / "facts", PROVENANCE.model_copy(update={"base_model": MODEL_ID}))
    pushed = client.push(built, parse(f"{registry.host}/team/facts:1"))
    return str(pushed.reference)


@pytest.fixture
def plan(tiny: Path, tmp_path: Path, registry: RunningRegistry) -> Plan:
    def make(*adapters: AdapterPlan, **changes: Any) -> ServePlan:
        places = ServePlaces(
            adapters=str(tmp_path / "pod" / "adapters"),
            model=str(tmp_path / "pod" / "model"),
            ready=str(tmp_path / "pod" / "ready"),
            pull_auth=(str(registry.credentials),),
            registry_patience_s=0.2,
            termination_log=str(tmp_path / "log"),
        )
        given = {
            "workspace": "ws",
            "model": ServedModel(name="tiny", id=MODEL_ID, path=str(tiny)),
            "adapters": adapters,
            "places": places,
            **changes,
        }
        return ServePlan(**given)

    return make


def run(plan: ServePlan) -> ServeWords:
    return prepare(plan, lambda _: None)


def ready(plan: ServePlan, name: str) -> Any:
    text = (Path(plan.places.ready) / name).read_text()
    return yaml.safe_load(text) if name.endswith(".yaml") else json.loads(text)


def test_every_adapter_is_served_by_its_name(plan: Plan, made: Path, image: str) -> None:
    wanted = plan(
        AdapterPlan(name="facts", image=image, strength=0.5),
        AdapterPlan(name="style", path=str(made / "style")),
    )
    said = run(wanted)
    digest = image.partition("@")[2]
    facts = AdapterWords(name="facts", digest=digest, rank=8)
    style = AdapterWords(name="style", rank=12)
    models = ("tiny", "facts", "style")
    assert said == ServeWords(state="done", models=models, adapters=(facts, style))
    flags = ready(wanted, "vllm.yaml")
    modules = [json.loads(module) for module in flags.pop("lora-modules")]
    assert flags == {"enable-lora": True, "max-cpu-loras": 2, "max-lora-rank": 16, "max-loras": 2}
    assert [(m["name"], m["base_model_name"]) for m in modules] == [
        ("facts", "tiny"),
        ("style", "tiny"),
    ]
    config = json.loads((Path(modules[0]["path"]) / CONFIG_FILE).read_bytes())
    assert config["lora_alpha"] == 8
    assert ready(wanted, "chat.json") == {
        "model": "tiny",
        "max_tokens": None,
        "chat_template": True,
        "models": ["tiny", *(module["name"] for module in modules)],
    }
    places = [Path(module["path"]) for module in modules]
    assert {path.parent.parent for path in places} == {Path(wanted.places.adapters)}
    assert [path.name for path in places] == ["facts", "style"]
    assert {p.stat().st_mode & 0o777 for path in places for p in path.iterdir()} == {0o644}
    left = {path.name for path in Path(wanted.places.adapters).iterdir()}
    assert left == {path.parent.name for path in places}


def test_without_adapters_the_base_alone_is_served(plan: Plan) -> None:
    wanted = plan()
    assert run(wanted) == ServeWords(state="done", models=("tiny",))
    assert ready(wanted, "vllm.yaml") == {}


def test_what_the_user_wants_of_vllm_goes_first(plan: Plan, tiny: Path, made: Path) -> None:
    adapters = [AdapterPlan(name=name, path=str(made / name)) for name in ("facts", "style")]
    given = {"max-model-len": "auto", "dtype": "half", "tensor-parallel-size": 2}
    wanted = plan(
        *adapters,
        flags=given,
        user_flags={"max-model-len": 512, "max-loras": 3, "max-lora-rank": 8},
    )
    said = run(wanted)
    assert said.models == ("tiny", "facts")
    assert "vLLM takes at most 8" in (said.adapters[1].sentence or "")
    flags = ready(wanted, "vllm.yaml")
    flags.pop("lora-modules")
    assert flags == {
        "dtype": "half",
        "enable-lora": True,
        "max-cpu-loras": 3,
        "max-lora-rank": 8,
        "max-loras": 3,
        "max-model-len": 512,
        "tensor-parallel-size": 2,
    }
    assert (Path(wanted.places.ready) / "model").resolve() == tiny.resolve()


def test_one_adapter_is_asked_by_chat(plan: Plan, made: Path) -> None:
    wanted = plan(AdapterPlan(name="facts", path=str(made / "facts")))
    run(wanted)
    assert ready(wanted, "chat.json")["model"] == "facts"


def test_all_together_under_one_more_name(plan: Plan, made: Path) -> None:
    adapters = [
        AdapterPlan(name=name, path=str(made / name), strength=s)
        for name, s in (("facts", 0.7), ("style", 0.4))
    ]
    wanted = plan(*adapters, together="both")
    assert run(wanted).models == ("tiny", "facts", "style", "both")
    flags = ready(wanted, "vllm.yaml")
    assert flags["max-lora-rank"] == 32  # 8 + 12, the next that vLLM has
    assert ready(wanted, "chat.json")["model"] == "both"


def test_transformers_gets_one_folder_with_all_of_them(plan: Plan, tiny: Path, made: Path) -> None:
    adapters = [AdapterPlan(name=name, path=str(made / name)) for name in ("facts", "style")]
    wanted = plan(*adapters, runtime="transformers")
    assert run(wanted).models == ("tiny", "facts", "style")
    folder = Path(wanted.places.ready) / "tiny"
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in tiny.iterdir()} | {CONFIG_FILE, WEIGHTS_FILE}
    assert json.loads((folder / CONFIG_FILE).read_bytes())["r"] == 20
    assert ready(wanted, "chat.json") == {
        "model": "tiny",
        "aliases": ["facts", "style"],
        "max_tokens": 256,
        "chat_template": True,
        "models": ["tiny"],
    }


def change(folder: Path, target: Path, **config: Any) -> Path:
    """A copy of an adapter with another configuration."""
    shutil.copytree(folder, target)
    path = target / CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **config}))
    return target


def test_bad_adapters_are_named_and_the_others_are_served(
    plan: Plan, tiny: Path, made: Path, image: str, registry: RunningRegistry, tmp_path: Path
) -> None:
    facts, root = made / "facts", tmp_path / "bad"
    root.mkdir()
    (root / "empty").mkdir()
    (root / "notes").mkdir()
    (root / "notes" / "README.md").write_text("no adapter here")
    shutil.copytree(facts, root / "two" / "a")
    shutil.copytree(facts, root / "two" / "b")
    shutil.copytree(facts, root / "half")
    (root / "half" / WEIGHTS_FILE).unlink()
    shutil.copytree(facts, root / "cut")
    os.truncate(root / "cut" / WEIGHTS_FILE, 5000)
    gone = image.partition("@")[0] + "@sha256:" + "0" * 64
    cases = {
        "empty": ("path", root / "empty", "BadConfig", "its image or volume is empty"),
        "notes": ("path", root / "notes", "BadConfig", "holds no adapter_config.json"),
        "missing": ("path", root / "missing", "NoAccess", "cannot be read: No such file"),
        "two": ("path", root / "two", "BadConfig", "holds 2 adapters (a, b)"),
        "half": ("path", root / "half", "BadAdapter", "has no adapter_model.safetensors"),
        "cut": ("path", root / "cut", "BadAdapter", "is cut or damaged"),
        "base": (
            "path",
            change(facts, root / "base", base_model_name_or_path="microsoft/phi-4"),
            "BadAdapter",
            f"was trained for microsoft/phi-4, and {MODEL_ID} is served",
        ),
        "rank": ("path", lora(tiny, root / "rank", r=600, target_modules=["q_proj"]), "", ""),
        "dora": ("path", change(facts, root / "dora", use_dora=True), "BadAdapter", "has DoRA"),
        "ia3": ("path", change(facts, root / "ia3", peft_type="IA3"), "BadAdapter", '"IA3"'),
        "tiny": ("path", facts, "BadAdapter", "has the name of a model that is served already"),
        "gone": ("image", gone, "BadConfig", ""),
        "misnamed": ("image", "https://host/x", "BadConfig", "is a URL"),
    }
    cases["rank"] = (*cases["rank"][:2], "BadAdapter", "has rank 600, and vLLM takes at most 512")
    bad = [AdapterPlan(name=name, **{how: str(where)}) for name, (how, where, *_) in cases.items()]
    wanted = plan(*bad, AdapterPlan(name="good", path=str(facts)))
    said = run(wanted)
    assert said.models == ("tiny", "good")
    words = {one.name: one for one in said.adapters}
    assert words.pop("good").sentence is None
    assert set(words) == set(cases)
    for name, (_, _, kind, sentence) in cases.items():
        assert words[name].kind == kind, words[name]
        told = words[name].sentence or ""
        assert told.startswith(f"adapter {name}: ") and sentence in told and ";" in told
    (module,) = ready(wanted, "vllm.yaml")["lora-modules"]
    assert json.loads(module)["name"] == "good"


def test_a_private_image_without_a_secret(plan: Plan, made: Path, image: str) -> None:
    wanted = plan(
        AdapterPlan(name="facts", image=image),
        AdapterPlan(name="style", path=str(made / "style")),
    )
    places = wanted.places.model_copy(update={"pull_auth": ()})
    said = run(wanted.model_copy(update={"places": places}))
    (facts, style) = sorted(said.adapters, key=lambda one: one.name)
    assert facts.kind == Kind.NO_ACCESS.reason and style.sentence is None
    assert said.models == ("tiny", "style")


def test_a_registry_that_is_away_is_asked_again_before_the_pod_goes_on(
    plan: Plan, made: Path
) -> None:
    away = AdapterPlan(name="facts", image="127.0.0.1:9/team/facts@sha256:" + "0" * 64)
    wanted = plan(away, AdapterPlan(name="style", path=str(made / "style")))
    for _ in range(2):
        with pytest.raises(Failure) as caught:
            run(wanted)
        assert caught.value.kind is Kind.UNAVAILABLE
    said = run(wanted)
    assert said.models == ("tiny", "style")
    assert {one.name: one.kind for one in said.adapters} == {"facts": "Unavailable", "style": None}


def test_together_too_large_is_told_and_each_is_served(
    plan: Plan, tiny: Path, tmp_path: Path
) -> None:
    large = lora(tiny, tmp_path / "large", r=300, target_modules=["q_proj"])
    adapters = [AdapterPlan(name=name, path=str(large)) for name in ("a", "b")]
    said = run(plan(*adapters, together="both"))
    assert said.models == ("tiny", "a", "b")
    assert said.adapters[-1].name == "both" and "rank 600" in (said.adapters[-1].sentence or "")


def test_a_second_start_finds_what_the_first_one_wrote(plan: Plan, made: Path) -> None:
    wanted = plan(AdapterPlan(name="facts", path=str(made / "facts"), strength=0.5))
    said = run(wanted)
    (folder,) = Path(wanted.places.adapters).glob("*/facts")
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert run(wanted) == said
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_what_happens_to_the_volume_later_changes_nothing(
    plan: Plan, made: Path, tmp_path: Path
) -> None:
    volume = Path(shutil.copytree(made / "facts", tmp_path / "volume" / "results"))
    wanted = plan(AdapterPlan(name="facts", path=str(tmp_path / "volume")))
    run(wanted)
    (folder,) = Path(wanted.places.adapters).glob("*/facts")
    before = (folder / WEIGHTS_FILE).read_bytes()
    with (volume / WEIGHTS_FILE).open("r+b") as file:
        file.write(b"\0" * 100)
    assert (folder / WEIGHTS_FILE).read_bytes() == before


def test_the_template_an_adapter_was_trained_with_is_the_servers(
    plan: Plan, made: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(made / "facts", tmp_path / "own"))
    (own / "chat_template.jinja").write_text("{{ messages[0].content }}")
    facts = AdapterPlan(name="facts", path=str(own))
    alone = plan(facts)
    assert run(alone).warning is None
    template = Path(ready(alone, "vllm.yaml")["chat-template"])
    assert template.read_text() == "{{ messages[0].content }}"
    both = plan(facts, AdapterPlan(name="style", path=str(made / "style")))
    assert run(both).warning == (
        "the chat template that facts was trained with is not used: others need another; "
        "serve it in a Workspace of its own"
    )
    assert "chat-template" not in ready(both, "vllm.yaml")


def words_of(plan: ServePlan, folder: Path, **env: str) -> tuple[int, str, ServeWords]:
    """`python -m serving prepare`, its exit code, its log and its last words."""
    file = folder / "plan.json"
    plans.write(plan, file)
    done = subprocess.run(
        [sys.executable, "-m", "serving", "prepare", str(file)],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )
    log = Path(plan.places.termination_log or "").read_bytes()
    return done.returncode, done.stderr, ServeWords.model_validate_json(log)


def test_the_word_of_the_pod(plan: Plan, made: Path, tmp_path: Path) -> None:
    wanted = plan(
        AdapterPlan(name="facts", path=str(made / "facts")),
        AdapterPlan(name="none", path=str(tmp_path)),
    )
    code, log, said = words_of(wanted, tmp_path)
    assert code == 0
    assert said.models == ("tiny", "facts") and said.state == "done"
    assert "adapter facts is good (rank 8)\n" in log
    assert "adapter none is not served: adapter none: its image or volume holds no" in log


def test_a_base_that_cannot_be_fetched_ends_the_pod_with_its_kind(
    plan: Plan, tiny: Path, tmp_path: Path
) -> None:
    with hub({f"models/{MODEL_ID}": tiny}) as server:
        server.token = "hf_right"
        wanted = plan(model=ServedModel(name="tiny", id=MODEL_ID))
        code, _, said = words_of(wanted, tmp_path, HF_ENDPOINT=server.url)
        assert code == Kind.NO_ACCESS.exit_code
        assert (said.state, said.kind) == ("failed", "NoAccess")
        assert "modelAccessSecret" in (said.sentence or "")
        (tmp_path / "token").write_text("hf_right\n")
        places = wanted.places.model_copy(update={"hub_token": str(tmp_path / "token")})
        wanted = wanted.model_copy(update={"places": places})
        code, _, said = words_of(wanted, tmp_path, HF_ENDPOINT=server.url)
        assert (code, said.revision) == (0, server.commit(f"models/{MODEL_ID}"))


def test_a_plan_that_cannot_be_read_is_a_bad_config(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text('{"workspace": "ws", "models": 1}')
    with pytest.raises(Failure, match="model: Field required"):
        plans.read(file)
    with pytest.raises(Failure, match="cannot be read"):
        plans.read(tmp_path / "none.json")


def test_a_pod_needs_no_torch_and_a_server_none_of_our_code(
    plan: Plan, made: Path, tmp_path: Path
) -> None:
    wanted = plan(AdapterPlan(name="facts", path=str(made / "facts")))
    plans.write(wanted, tmp_path / "plan.json")
    code = (
        "import sys; from pathlib import Path; from serving.words import prepare; "
        "prepare(Path(sys.argv[1]), lambda _: None); "
        "print(*[m for m in ('torch', 'transformers', 'peft', 'safetensors') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "plan.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    code = (
        "import sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1]); "
        "import tunery_chat; tunery_chat.Chat(None); "
        "print(*{m.split('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    command = [sys.executable, "-I", "-c", code, wanted.places.ready]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tunery_chat"]
