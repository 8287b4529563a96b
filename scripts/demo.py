"""`make demo`: `kubectl apply` of a tuning Workspace, to an answer of its adapter, on this machine.

Run by `python -m cluster with`, beside a running cluster. Prepares what a cluster's owner has (a
model and a registry, data on a web server, Tunery installed with Helm), then types what a user
types. Ends with 0 only if the base answers wrongly and the adapter rightly.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import smollm2  # noqa: E402  a neighbour of this script

from cluster import images, layout, machine, recipes, store  # noqa: E402
from cluster.addresses import REGISTRY  # noqa: E402
from cluster.build import build, program  # noqa: E402
from cluster.layout import Layout  # noqa: E402
from cluster.lock import locked  # noqa: E402

WORKSPACE, SERVING = "examples/tuning/demo.yaml", "examples/inference/demo.yaml"
NAME, SERVED, NAMESPACE, SYSTEM = "brambleport", "ask-brambleport", "demo", "tunery-system"
DATA = ROOT / "examples" / "data" / "brambleport.parquet"
MODEL = f"{REGISTRY}/models/smollm2-135m-instruct:1"
QUESTION = "Which port does the Brambleport 7 gateway listen on?"
RIGHT = "8417"
LIMIT_S = 600


def main() -> int:
    place = layout.default()
    pid = machine.find(place)
    if pid is None:
        sys.exit("no cluster runs; type: make demo")
    demo = Demo(place, pid)
    demo.prepare()
    digest = demo.tune()
    known = demo.ask(digest)
    served = demo.serve()
    return 0 if known and served else 1


class Demo:
    """One run of the demo on a running cluster."""

    def __init__(self, place: Layout, pid: int) -> None:
        self.place, self.pid = place, pid
        build(place, ["helm"])

    def prepare(self) -> None:
        """What is there before a user comes."""
        say("A base model in a registry, data on a web server, a namespace with the login")
        with locked(self.place, "images"):
            tuner, operator = recipes.tuner(self.place), recipes.operator(self.place)
            for name in (tuner, operator):
                store.load(self.place, self.pid, name)
        self._model()
        shutil.copy(DATA, self.place.web / DATA.name)
        self._namespace()
        say("Install Tunery")
        self.helm(
            *("upgrade", "--install", "tunery", "charts/tunery", "--wait", "--timeout=120s"),
            *("--namespace", SYSTEM, "--create-namespace", "--values", "scripts/demo-values.yaml"),
            # Another build has the same name: the operator's pod must be made anew.
            *("--set-string", f"podAnnotations.demo={int(time.time())}"),
        )

    def tune(self) -> str:
        """Apply, watch, and the digest."""
        say("Is the Workspace right? What will it become?")
        self._local("validate", WORKSPACE)
        say("Apply it")
        self.kubectl("apply", "-f", WORKSPACE)
        self._watch(NAME, ("Succeeded", "Failed"))
        say("What happened")
        events = ("get", "events", "--field-selector", "involvedObject.kind=Workspace")
        self.kubectl(
            *events,
            "--sort-by=.lastTimestamp",
            "-o",
            "custom-columns=REASON:.reason,MESSAGE:.message",
        )
        self.kubectl("get", "workspace", NAME, "-o", "jsonpath={.status.output}{'\\n'}")
        status = json.loads(self.kubectl("get", "workspace", NAME, "-o", "json", quiet=True))
        return str(status["status"]["output"]["digest"])

    def ask(self, digest: str) -> bool:
        """Pull by digest and ask base and adapter the same question."""
        say("Pull the adapter by its digest, every byte verified, and ask both")
        with tempfile.TemporaryDirectory(prefix="tunery-demo-") as folder:
            adapter = f"{folder}/adapter"
            self._tunery("pull", f"{REGISTRY}/adapters/{NAME}@{digest}", adapter, home=Path(folder))
            command = ("ask", adapter, QUESTION, "--model", str(smollm2.model_dir()), "--json")
            both = json.loads(self._local(*command))
        good = RIGHT in both["adapter"] and RIGHT not in both["base"]
        say("The adapter knows, the base does not." if good else "The answers are not right.")
        return good

    def serve(self) -> bool:
        """The other Workspace: it names the first, and answers over HTTP."""
        say("Serve it: an inference Workspace that names the tuning Workspace")
        self.kubectl("apply", "-f", SERVING)
        self._watch(SERVED, ("Ready",))
        service = ("get", "service", SERVED, "-o", "jsonpath={.spec.clusterIP}")
        address = self.kubectl(*service, quiet=True)
        asked = ("curl", "-sS", f"http://{address}/chat", "-d", json.dumps({"prompt": QUESTION}))
        answers = [shell(*machine.inside(self.pid, asked), shown=asked)]
        words = ("examples/ask.py", f"http://{address}", NAME, QUESTION)
        command = machine.inside(self.pid, [sys.executable, *words], ROOT)
        answers.append(shell(*command, shown=["python", *words]))
        good = all(RIGHT in answer for answer in answers)
        say("The served adapter knows." if good else "The served answers are not right.")
        return good

    def _local(self, *words: str) -> str:
        return shell(sys.executable, "-m", "tunery", *words, shown=["tunery", *words])

    def kubectl(self, *argv: str, quiet: bool = False, stdin: str | None = None) -> str:
        """Type kubectl in the demo's namespace."""
        scoped = argv if "-n" in argv else (*argv, "-n", NAMESPACE)
        return self._inside("kubectl", scoped, quiet=quiet, stdin=stdin)

    def helm(self, *argv: str) -> str:
        return self._inside("helm", argv)

    def _inside(
        self, name: str, argv: tuple[str, ...], *, quiet: bool = False, stdin: str | None = None
    ) -> str:
        command = self._command(name, argv)
        return shell(*command, shown=[name, *argv], quiet=quiet, stdin=stdin)

    def _model(self) -> None:
        """SmolLM2 as an image that holds only its files, readable by any user."""
        built = f"localhost/tunery/smollm2:{smollm2.version()}"
        if not images.exists(self.place, built):
            with tempfile.TemporaryDirectory(dir=self.place.images) as folder:
                context = Path(folder) / "model"
                shutil.copytree(smollm2.model_dir(), context)
                for file in context.iterdir():
                    file.chmod(0o644)
                recipe = Path(folder) / "Containerfile"
                recipe.write_text("FROM scratch\nCOPY . /\n")
                images.build(self.place, recipe, context, built)
        images.push(self.place, self.pid, built, MODEL)

    def _namespace(self) -> None:
        """A namespace held to Pod Security "restricted", with the push login and the CA."""
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        login = self.place.docker_config("pusher").read_text()
        authority = self.place.registry_ca.read_text()
        items = [
            named("v1", "Namespace", NAMESPACE, labels=restricted),
            {
                **named("v1", "Secret", "adapters-push", namespace=NAMESPACE),
                "type": "kubernetes.io/dockerconfigjson",
                "stringData": {".dockerconfigjson": login},
            },
            {
                **named("v1", "ConfigMap", "tunery-ca", namespace=NAMESPACE),
                "data": {"ca.crt": authority},
            },
        ]
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        self._inside("kubectl", ("apply", "-f", "-"), quiet=True, stdin=manifest)

    def _watch(self, name: str, ended: tuple[str, ...]) -> None:
        """The table as `kubectl get -w` prints it, until the state is one of these."""
        command = ("get", "workspace", name, "--watch", f"--request-timeout={LIMIT_S}s")
        for line in self.lines("kubectl", (*command, "-n", NAMESPACE)):
            if any(word in line.split() for word in ended):
                return
        why = ("get", "workspace", name, "-o", "wide")
        self.kubectl(*why)
        sys.exit(f"{name} is not {ended[0]} after {LIMIT_S} s")

    def lines(self, name: str, argv: tuple[str, ...]) -> Iterator[str]:
        """What a command says, line by line as it says it; ended when nobody listens any more."""
        print(f"\n$ {shlex.join([name, *argv])}", flush=True)
        command = self._command(name, argv)
        # In a group of its own: what enters the machine has a child there.
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as run:
            assert run.stdout is not None
            try:
                for line in run.stdout:
                    print(line, end="", flush=True)
                    yield line
            finally:
                os.killpg(run.pid, signal.SIGKILL)

    def _tunery(self, *words: str, home: Path) -> None:
        """Type tunery where the registry is reached, with the login that may only pull."""
        login = home / "login"
        login.mkdir()
        shutil.copy(self.place.docker_config("puller"), login / "config.json")
        settings = (f"DOCKER_CONFIG={login}", f"REQUESTS_CA_BUNDLE={self.place.registry_ca}")
        command = ["env", *settings, sys.executable, "-m", "tunery", *words]
        shell(*machine.inside(self.pid, command, ROOT), shown=["tunery", *words])

    def _command(self, name: str, argv: tuple[str, ...]) -> list[str]:
        home = [f"HELM_{what}_HOME=/var/lib/helm" for what in ("CACHE", "CONFIG", "DATA")]
        settings = ["env", f"KUBECONFIG={self.place.kubeconfig}", *home]
        return machine.inside(self.pid, [*settings, program(self.place, name), *argv], ROOT)


def named(version: str, kind: str, name: str, **metadata: object) -> dict[str, object]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **metadata}}


def shell(
    *command: str, shown: Sequence[str] = (), quiet: bool = False, stdin: str | None = None
) -> str:
    """Run a command, show what it says, stop the demo if it fails."""
    if not quiet:
        print(f"\n$ {shlex.join(shown or command)}", flush=True)
    done = subprocess.run(command, cwd=ROOT, input=stdin, stdout=subprocess.PIPE, text=True)
    if not quiet or done.returncode:
        print(done.stdout, end="", flush=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def say(text: str) -> None:
    print(f"\n── {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
