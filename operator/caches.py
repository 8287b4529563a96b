"""Everything the operator knows of the cluster, and whom a change concerns.

Its informers fill it; reconcile.py asks it for one Workspace's `Seen` and puts in what its own
writes answered. A change adds the Workspaces that it concerns to the queue, nobody else: a node
those that run on it or wait for one, a ConfigMap those that name it, a tuning Workspace those that
serve its adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from groups import Groups, Owned
from informer import Informer, Name
from jobs import marks, seen, slim
from jobs.decision import Object
from jobs.marks import headless, workspace_of
from kube import Kube, Source
from lending import Lending, lent

T = TypeVar("T")
Wake = Callable[[Name], None]
WORKSPACE_VERSION = "kaito.sh/v1beta1"
_REVISION_OWNER = "workspace.kaito.io/name"
_MOST_NOTES = 2000
"""Events are about anybody's objects; what ours are is known only later."""
_UNREAD = ("managedFields", "resourceVersion", "selfLink")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class Caches:
    """`wake` is told the key of a Workspace that something has changed for."""

    def __init__(self, kube: Kube, wake: Wake) -> None:
        self._wake = wake
        self._pods: Groups[seen.Pod] = Groups()
        self._revisions: Groups[seen.Revision] = Groups()
        self._snapshots: Groups[seen.Snapshot] = Groups()
        self._notes: Groups[seen.Note] = Groups()
        self._nodes: tuple[seen.Node, ...] = ()
        self._wait_for_nodes: set[Name] = set()
        self._expected: dict[Name, Object] = {}
        self._progress: dict[Name, seen.Progress] = {}
        self._served: dict[Name, dict[str, seen.ServeWords]] = {}
        self._lending = Lending()

        def informer(
            api_version: str,
            kind: str,
            of: Callable[[Object], T | None],
            changed: Callable[[Name, T | None, T | None], None],
            **how: Any,
        ) -> Informer[T]:
            most = how.pop("most", None)
            bound = {} if most is None else {"most": most}
            return Informer(kube, Source(api_version, kind, **how), of, changed, **bound)

        self.workspaces = informer(
            WORKSPACE_VERSION, "Workspace", workspace, self._workspace_changed
        )
        self.jobs = informer("batch/v1", "Job", slim.job, self._job_changed, labels=marks.WORKSPACE)
        self.pods = informer(
            "v1",
            "Pod",
            _owned(marks.WORKSPACE, slim.pod),
            self._pod_changed,
            labels=marks.WORKSPACE,
        )
        self.revisions = informer(
            "apps/v1",
            "ControllerRevision",
            _owned(_REVISION_OWNER, slim.revision),
            self._grouped(self._revisions),
            labels=_REVISION_OWNER,
        )
        self.snapshots = informer(
            "v1",
            "ConfigMap",
            _owned(marks.WORKSPACE, slim.snapshot),
            self._grouped(self._snapshots),
            labels=marks.RUN,
            metadata_only=True,
        )
        self.config_maps = informer(
            "v1", "ConfigMap", slim.config_map, self._config_map_changed, labels=f"!{marks.RUN}"
        )
        # All of the cluster's: whose name is taken must not be written over.
        self.other_jobs = informer(
            "batch/v1",
            "Job",
            slim.holder,
            self._other_job_changed,
            labels=f"!{marks.WORKSPACE}",
            metadata_only=True,
        )
        self.stateful_sets, self.services = (
            informer(version, kind, slim.holder, self._holder_changed, metadata_only=True)
            for version, kind in (("apps/v1", "StatefulSet"), ("v1", "Service"))
        )
        self.nodes = informer("v1", "Node", slim.node, self._node_changed)
        self._told = [
            informer(
                "v1",
                "Event",
                _about,
                self._note_changed,
                fields=f"reason={reason},involvedObject.kind={kind}",
                bookmarks=False,
                most=_MOST_NOTES,
            )
            for reason, kind in (
                ("FailedCreate", "Job"),
                ("FailedCreate", "StatefulSet"),
                ("FailedMount", "Pod"),
                ("FailedAttachVolume", "Pod"),
                ("FailedCreatePodSandBox", "Pod"),
            )
        ]

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        return (
            self.workspaces,
            self.jobs,
            self.pods,
            self.revisions,
            self.snapshots,
            self.config_maps,
            self.other_jobs,
            self.stateful_sets,
            self.services,
            self.nodes,
            *self._told,
        )

    def of(self, key: Name) -> seen.Seen:
        """Everything about one Workspace as it is known now."""
        namespace, _ = key
        pods = self._pods.of(key)
        about = (key, *((namespace, pod.name) for pod in pods))
        body, services = self.workspaces.items.get(key), self.services.items
        both = ((namespace, key[1]), (namespace, headless(key[1])))
        return seen.Seen(
            job=self.jobs.items.get(key) or self._taken(key, body),
            pods=pods,
            nodes=self._nodes,
            revisions=self._revisions.of(key),
            snapshots=self._snapshots.of(key),
            config_maps=self.config_maps.items,
            notes=tuple(note for name in about for note in self._notes.of(name)),
            progress=self._progress.get(key),
            served=self._served.get(key),
            tuned=lent(body, self.workspaces.items),
            stateful_set=self.stateful_sets.items.get(key),
            services=tuple(services[name] for name in both if name in services),
        )

    def _taken(self, key: Name, body: Object | None) -> seen.Job | None:
        """A Job of somebody else that has the Workspace's name. One of ours without its label is
        none: it is applied again."""
        other = self.other_jobs.items.get(key)
        if other is None or body is None or other.owner_uid == body["metadata"].get("uid"):
            return None
        return seen.Job(other.name, other.uid, other.owner_uid, run="", deleting=other.deleting)

    def take(self, answer: Object) -> None:
        """What the server answered to a write of ours."""
        kind = answer.get("kind")
        if kind == "Workspace":
            self.workspaces.answered(answer)
        elif kind == "Job":
            self.jobs.answered(answer)
        elif kind == "ControllerRevision":
            self.revisions.answered(answer)
        elif kind == "ConfigMap":
            self.snapshots.answered(answer)
        elif kind == "StatefulSet":
            self.stateful_sets.answered(answer)
        elif kind == "Service":
            self.services.answered(answer)
        elif kind == "Pod":
            self.pods.answered(answer)

    def served(self, key: Name, life: str, words: seen.ServeWords | None) -> None:
        """What a server with live adapters says; it stays known when nobody asks any more."""
        lives = self._served.get(key, {})
        if words is None or lives.get(life) == words:
            return
        uids = {pod.uid for pod in self._pods.of(key)}
        kept = {one: said for one, said in lives.items() if one.partition("/")[0] in uids}
        self._served[key] = {**kept, life: words}
        self._wake(key)

    def progressed(self, key: Name, _: str, progress: seen.Progress | None) -> None:
        """What a training pod says of itself; None when it says nothing any more."""
        if self._progress.get(key) == progress:
            return
        if progress is None:
            del self._progress[key]
        else:
            self._progress[key] = progress
            self._wake(key)

    def waits_for_nodes(self, key: Name, waits: bool) -> None:
        """Whether any change of any node concerns it."""
        (self._wait_for_nodes.add if waits else self._wait_for_nodes.discard)(key)

    def expect(self, key: Name, status: Object | None) -> None:
        """A status that we are writing: its arrival is no news. None: not any more."""
        if status is None:
            self._expected.pop(key, None)
        else:
            self._expected[key] = status

    def forget(self, key: Name) -> None:
        self._wait_for_nodes.discard(key)
        self._progress.pop(key, None)
        self._served.pop(key, None)

    def _workspace_changed(self, key: Name, before: Object | None, after: Object | None) -> None:
        for borrower in self._lending.changed(key, before, after):
            self._wake(borrower)
        only_status = before and after and {**before, "status": {}} == {**after, "status": {}}
        if only_status and after and after.get("status") == self._expected.get(key):
            return
        self._wake(key)

    def _job_changed(self, key: Name, before: seen.Job | None, after: seen.Job | None) -> None:
        self._wake(key)

    def _other_job_changed(
        self, key: Name, before: seen.Holder | None, after: seen.Holder | None
    ) -> None:
        if key in self.workspaces.items:
            self._wake(key)

    def _pod_changed(
        self, name: Name, before: Owned[seen.Pod] | None, after: Owned[seen.Pod] | None
    ) -> None:
        for key in self._pods.change(name, before, after):
            self._wake(key)

    def _holder_changed(
        self, name: Name, before: seen.Holder | None, after: seen.Holder | None
    ) -> None:
        """Of everybody's StatefulSets and Services, those with a name that one of us needs."""
        for key in (name, (name[0], workspace_of(name[1]))):
            if (self.workspaces.items.get(key) or {}).get("inference"):
                self._wake(key)

    def _grouped(
        self, groups: Groups[T]
    ) -> Callable[[Name, Owned[T] | None, Owned[T] | None], None]:
        def changed(name: Name, before: Owned[T] | None, after: Owned[T] | None) -> None:
            for key in groups.change(name, before, after):
                self._wake(key)

        return changed

    def _node_changed(self, name: Name, before: seen.Node | None, after: seen.Node | None) -> None:
        self._nodes = tuple(self.nodes.items.values())
        on_it = {pod.of for pod in self.pods.items.values() if _is_on(pod.value, name[1])}
        for key in on_it | self._wait_for_nodes:
            self._wake(key)

    def _config_map_changed(self, name: Name, before: object, after: object) -> None:
        for key in self._users_of(name):
            self._wake(key)

    def _users_of(self, name: Name) -> Iterator[Name]:
        namespace, own_name = name
        for key, body in self.workspaces.items.items():
            if key[0] == namespace and _config_of(body) == own_name:
                yield key

    def _note_changed(
        self, name: Name, before: Owned[seen.Note] | None, after: Owned[seen.Note] | None
    ) -> None:
        for about in self._notes.change(name, before, after):
            pod = self.pods.items.get(about)
            if pod is not None:
                self._wake(pod.of)
            elif about in self.workspaces.items:
                self._wake(about)


def workspace(body: Object) -> Object:
    """A Workspace without what nobody reads: half of its bytes."""
    metadata = {key: value for key, value in body["metadata"].items() if key not in _UNREAD}
    annotations = metadata.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        metadata["annotations"] = {k: v for k, v in annotations.items() if k != _LAST_APPLIED}
    return {**body, "metadata": metadata}


def _owned(label: str, of: Callable[[Object], T]) -> Callable[[Object], Owned[T]]:
    def made(body: Object) -> Owned[T]:
        metadata: Mapping[str, Any] = body["metadata"]
        return Owned((metadata["namespace"], metadata["labels"][label]), of(body))

    return made


def _about(body: Object) -> Owned[seen.Note]:
    about: Mapping[str, Any] = body["involvedObject"]
    return Owned((about.get("namespace", ""), about.get("name", "")), slim.note(body))


def _is_on(pod: seen.Pod, node: str) -> bool:
    """One that has ended is on no node any more."""
    return pod.node == node and pod.phase not in ("Succeeded", "Failed")


def _config_of(body: Object) -> str:
    part: Mapping[str, Any] = body.get("tuning") or body.get("inference") or {}
    return str(part.get("config") or "")
