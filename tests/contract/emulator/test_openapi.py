"""The description of what is served: valid, and true of what is answered."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import requests
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.contract.emulator.conftest import make_body

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@pytest.fixture(scope="module")
def description(emulator) -> dict[str, Any]:
    """The document."""
    return requests.get(emulator.base_url + "/emulator/openapi.json", timeout=30).json()


@pytest.fixture(scope="module")
def conforms(description):
    """Whether a JSON answer is as its operation's answer with this status is described."""

    def conforms(answer: requests.Response, path: str, method: str = "post") -> bool:
        told = description["paths"][path][method]["responses"][str(answer.status_code)]
        name = told.get("$ref", "").rpartition("/")[2]
        told = description["components"]["responses"][name] if name else told
        media = answer.headers["content-type"].partition(";")[0]
        schema = {"$schema": DIALECT, "components": description["components"], **told["content"][media]["schema"]}
        return jsonschema.Draft202012Validator(schema).is_valid(answer.json())

    return conforms


def test_the_document_is_valid(description):
    """OpenAPI 3.1, with every reference resolved."""
    assert list(OpenAPIV31SpecValidator(description).iter_errors()) == []


def test_what_is_described_is_served(description, emulator):
    """No described path is unknown to the emulator."""
    urls = [emulator.base_url + path.replace("{", "").replace("}", "") for path in description["paths"]]
    answers = [requests.patch(url.replace("number", "1"), timeout=30).json() for url in urls]
    assert {answer["error"]["status"] for answer in answers} == {405}


def test_operations_have_ids_of_their_own(description):
    """So that a client can be generated."""
    ids = [
        operation["operationId"]
        for item in description["paths"].values()
        for name, operation in item.items()
        if name != "parameters"
    ]
    assert len(ids) == len(set(ids)) > 30


def test_both_families_are_described_alike(description):
    """Except for the operation's name."""
    old, new = (description["paths"][path]["post"] for path in ("/api/v1/process", "/process/v1"))
    assert (old["operationId"], new["operationId"]) == ("process", "process2")
    assert {**old, "operationId": ""} == {**new, "operationId": ""}


@pytest.mark.parametrize(
    "wrong",
    [
        {"output.width": 0},
        {"output.width": 10.5},
        {"output.width": 2501},
        {"input.bounds.properties.crs": "EPSG:4326"},
        {"input.bounds.bbox": [1, 2, 3]},
        {"input.data": []},
        {"input.data.0.dataFilter.timeRange.from": 3},
        {"evalscript": None},
    ],
)
def test_a_body_that_is_described_as_wrong_is_refused(description, client, wrong):
    """The schema of bodies refuses no more than the emulator does."""
    schema = {"$schema": DIALECT, "$ref": "#/components/schemas/ProcessBody", "components": description["components"]}
    assert not jsonschema.Draft202012Validator(schema).is_valid(make_body(**wrong))
    assert client.process(make_body(**wrong)).status_code == 400


def test_the_example_is_served(description, client):
    """The request shown for Process gets its picture."""
    content = description["paths"]["/api/v1/process"]["post"]["requestBody"]["content"]["application/json"]
    answer = client.process(content["example"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")


@pytest.mark.parametrize(
    ("body", "token", "status"), [({}, None, 400), ({}, "wrong", 401), ("not JSON's object", None, 400)]
)
def test_errors_are_as_described(conforms, client, body, token, status):
    """Each status has the described form."""
    answer = client.process(body, token=token)
    assert answer.status_code == status
    assert conforms(answer, "/api/v1/process")


def test_tokens_are_as_described(conforms, client):
    """And so are their refusals."""
    path = "/oauth/token"
    assert conforms(client.login(path), path)
    assert conforms(client.login(path, client_secret="wrong"), path)
    assert conforms(client.login(path, grant_type="password"), path)


def test_an_items_page_is_as_described(conforms, client, emulator):
    """A search, by either method, and a refused one."""
    url, headers = emulator.base_url + "/catalog/v1/search", {"Authorization": f"Bearer {client.token}"}
    body = {"collections": ["sentinel-2-l2a"], "datetime": "2024-06-01T00:00:00Z/..", "bbox": [14, 46, 14.1, 46.1]}
    found = requests.post(url, json={**body, "limit": 2}, headers=headers, timeout=30)
    assert found.json()["context"]["returned"] == 2
    assert conforms(found, "/catalog/v1/search")
    assert conforms(requests.post(url, json={}, headers=headers, timeout=30), "/catalog/v1/search")


@pytest.mark.parametrize("path", ["stats", "requests", "jobs", "faults", "inspection.json", "openapi.json"])
def test_own_routes_are_as_described(conforms, emulator, path):
    """Those of the emulator itself."""
    assert conforms(requests.get(f"{emulator.base_url}/emulator/{path}", timeout=30), f"/emulator/{path}", "get")
