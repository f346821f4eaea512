"""The manifests of deploy/kubernetes: against their readers' schemas, and what they promise of secrets and ends."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
SCHEMAS = Path(__file__).with_name("schemas")
OBJECTS: list[dict[str, Any]] = [
    found for path in sorted(FOLDER.glob("*.yaml")) for found in yaml.safe_load_all(path.read_text())
]
BY_KIND = {found["kind"]: found for found in OBJECTS}
PODS = {
    "scheduler": BY_KIND["DaskCluster"]["spec"]["scheduler"]["spec"],
    "worker": BY_KIND["DaskCluster"]["spec"]["worker"]["spec"],
    "owner": BY_KIND["Job"]["spec"]["template"]["spec"],
}
PLACES = {
    "DaskCluster": ("daskcluster.json", None),
    "DaskAutoscaler": ("daskautoscaler.json", None),
    "Job": ("kubernetes.json", "io.k8s.api.batch.v1.Job"),
    "NetworkPolicy": ("kubernetes.json", "io.k8s.api.networking.v1.NetworkPolicy"),
}


def strict(schema: Any) -> Any:
    """The schema, where a name that it does not know is wrong: a server would drop it without a word."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(each) for name, each in schema.items()}
    is_object = "properties" in schema and isinstance(schema["properties"], dict) and "type" in schema
    return {"additionalProperties": False, **closed} if is_object else closed


def complaints(found: dict[str, Any]) -> list[str]:
    """What is wrong with an object, by the schema of its kind."""
    file, definition = PLACES[found["kind"]]
    schema = strict(json.loads((SCHEMAS / file).read_text()))
    if definition is None:  # every object has these
        schema["properties"] |= {"apiVersion": {"const": "kubernetes.dask.org/v1"}, "kind": {}, "metadata": {}}
    else:
        schema["$ref"] = f"#/$defs/{definition}"
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(found)]


def secrets_of(pod: dict[str, Any]) -> set[str]:
    """Every secret that a pod is given, by any way that there is."""
    names = [
        *(source["secretRef"]["name"] for box in pod["containers"] for source in box.get("envFrom", [])),
        *(volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume),
    ]
    keyed = [entry for box in pod["containers"] for entry in box.get("env", []) if "valueFrom" in entry]
    assert keyed == [], "read them as well, once there are any"
    return set(names)


@pytest.mark.parametrize("found", OBJECTS, ids=lambda found: found["kind"])
def test_manifests_are_what_their_readers_take(found: dict[str, Any]) -> None:
    """Each object holds against its kind's schema, and has no name that the schema does not know."""
    assert complaints(found) == []


def test_a_wrong_name_is_noticed() -> None:
    """The test above can fail, deep in a pod as well."""
    wrong = copy.deepcopy(BY_KIND["DaskCluster"])
    wrong["spec"]["worker"]["spec"]["containers"][0]["readynessProbe"] = {}
    assert ["readynessProbe" in complaint for complaint in complaints(wrong)] == [True]


@pytest.mark.parametrize(
    ("role", "secrets"),
    [
        ("scheduler", {"shdask-account", "shdask-tls"}),
        ("worker", {"shdask-bucket", "shdask-tls"}),
        ("owner", {"shdask-bucket", "shdask-tls"}),
    ],
)
def test_each_role_is_given_its_own_secrets(role: str, secrets: set[str]) -> None:
    """The OAuth client's secret is the scheduler's alone, the bucket's keys are those of who reads and writes it."""
    assert secrets_of(PODS[role]) == secrets


@pytest.mark.parametrize("role", ["worker", "owner"])
def test_who_has_paid_tiles_in_hand_may_end_them(role: str) -> None:
    """Kubernetes waits longer for a worker and an owner than these wait for what is in flight."""
    assert PODS[role]["terminationGracePeriodSeconds"] >= 30


@pytest.mark.parametrize("role", PODS)
def test_no_role_may_more_than_it_needs(role: str) -> None:
    """No pod runs as root, gains rights, or is given a token of the cluster's own interface."""
    pod = PODS[role]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert [box["securityContext"]["allowPrivilegeEscalation"] for box in pod["containers"]] == [False]


@pytest.mark.parametrize("role", PODS)
def test_all_that_is_said_between_pods_is_encrypted(role: str) -> None:
    """Every address of the scheduler speaks TLS, with the certificate of the secret that is mounted."""
    box = PODS[role]["containers"][0]
    assert not [word for word in box["args"] if "tcp://" in word]
    files = {entry["value"] for entry in box["env"] if "__COMM__TLS__" in entry["name"]}
    assert files == {"/tls/tls.crt", "/tls/tls.key"}


def test_the_autoscaler_asks_a_page_that_is_there() -> None:
    """The operator's questions over TLS fail, so that the scheduler answers them by http as well."""
    box = PODS["scheduler"]["containers"][0]
    routes = next(entry["value"] for entry in box["env"] if entry["name"].endswith("__HTTP__ROUTES"))
    assert "distributed.http.scheduler.api" in json.loads(routes)


def test_a_build_that_cannot_be_mended_is_not_tried_again() -> None:
    """A job, credentials or a budget that are wrong end the Job; failed tiles and lost nodes do not."""
    rules = BY_KIND["Job"]["spec"]["podFailurePolicy"]["rules"]
    assert rules[0]["onExitCodes"]["values"] == [2, 3, 4]
