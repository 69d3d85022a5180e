"""Every answer of every endpoint, good and bad, fits Plaid's OpenAPI description."""

from __future__ import annotations

import csv
import functools
import importlib
import json
import re
import string
from typing import Any

import plaid
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from plaid_processors.sandbox.calls import ENDPOINTS
from plaid_processors.sandbox.partners import processors
from plaid_processors.sandbox.tables import table

from ..support.reference import REFERENCE
from ..support.rows import rows
from .conftest import ALL
from .test_state import go_through_link

DESCRIPTION = REFERENCE / "plaid-reference" / "openapi.yml"
Json = dict[str, Any]

pytestmark = pytest.mark.skipif(not DESCRIPTION.exists(), reason="Plaid's description is not here")


@functools.cache
def description() -> Json:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(DESCRIPTION.read_text(encoding="utf-8"), Loader=loader)


def translated(schema: Any) -> Any:
    """Turn OpenAPI 3.0's `nullable` into JSON Schema's null."""
    if isinstance(schema, list):
        return [translated(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # Beside a $ref everything else is ignored by the standard.
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    told = {
        key: translated(value)
        for key, value in schema.items()
        if key not in ("example", "description")
    }
    if told.pop("nullable", None) is True:
        return {"anyOf": [{"type": "null"}, told]}
    return told


# Endpoints that the part of the description beside the project leaves out, with the name of their
# models in plaid-python, which is generated from the whole of it.
OTHER_MODELS = {
    "/institutions/get": "InstitutionsGet",
    "/institutions/search": "InstitutionsSearch",
    "/transactions/refresh": "TransactionsRefresh",
}


@functools.cache
def validator(path: str) -> Draft7Validator:
    """Return what checks the successful answers of a path."""
    operation = description()["paths"][path]["post"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    return _validator(schema)


@functools.cache
def error_validator() -> Draft7Validator:
    """Return what checks errors."""
    return _validator({"$ref": "#/components/schemas/PlaidError"})


def _validator(schema: Json) -> Draft7Validator:
    return Draft7Validator({**translated(schema), "components": components()})


@functools.cache
def components() -> Json:
    return translated(description()["components"])


def request_schema(path: str) -> Json:
    operation = description()["paths"][path]["post"]
    return resolved(operation["requestBody"]["content"]["application/json"]["schema"])


def resolved(schema: Json) -> Json:
    """Follow references, and put the parts of an allOf together."""
    while "$ref" in schema:
        schema = description()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if "allOf" not in schema:
        return schema
    whole: Json = {"properties": {}, **{k: v for k, v in schema.items() if k != "allOf"}}
    for part in map(resolved, schema["allOf"]):
        properties = {**whole["properties"], **part.get("properties", {})}
        whole = {**part, **whole, "properties": properties}
    return whole


def test_the_paths_are_the_descriptions():
    """The local Plaid has every endpoint of the description, and those of `OTHER_MODELS`."""
    assert set(ENDPOINTS) - set(OTHER_MODELS) == set(description()["paths"])


DESCRIBED = {path: each for path, each in ENDPOINTS.items() if path not in OTHER_MODELS}


def model(name: str) -> Any:
    """One of plaid-python's models."""
    module = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return getattr(importlib.import_module(f"plaid.model.{module}"), name)


@rows("path", sorted(OTHER_MODELS))
def test_endpoints_that_only_the_client_describes(api, path):
    """Every field of plaid-python's request is known; its model reads the answer."""
    name = OTHER_MODELS[path]
    fields = set(model(f"{name}Request").attribute_map) - {"client_id", "secret"}
    assert fields <= set(ENDPOINTS[path].fields)
    if "options" in fields:
        inner = ENDPOINTS[path].fields["options"].fields
        assert inner is not None
        assert set(model(f"{name}RequestOptions").attribute_map) <= set(inner)
    access = api.access_token()
    body = {
        "access_token": access,
        "country_codes": ["US", "GB"],
        "query": "bank",
        "count": 10,
        "offset": 0,
        "options": {
            "include_optional_metadata": True,
            "include_auth_metadata": True,
            "include_payment_initiation_metadata": True,
        },
    }
    answer = api.ok(path, **{key: body[key] for key in fields if key in body})
    response = model(f"{name}Response")
    read = response._from_openapi_data(
        **answer, _spec_property_naming=True, _configuration=plaid.Configuration()
    )
    assert read.to_dict().keys() == answer.keys()


def test_every_documented_field_is_known():
    """No field of a documented request is refused as unknown, at the first two levels."""
    unknown = []
    for path, endpoint in DESCRIBED.items():
        for name, schema in request_schema(path)["properties"].items():
            if name in ("client_id", "secret"):
                continue
            field = endpoint.fields.get(name)
            if field is None:
                unknown.append(f"{path} {name}")
            elif field.fields is not None:
                inner = resolved(schema).get("properties", {})
                unknown += [f"{path} {name}.{key}" for key in inner if key not in field.fields]
    assert unknown == []


def table_of(name: str) -> list[Json]:
    with (DESCRIPTION.parent / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_every_documented_error_is_known():
    """The table of errors says what Plaid's pages say."""
    known = {(row["code"], row["type"]): row for row in table("errors")}
    for row in table_of("errors.tsv"):
        ours = known[row["code"], row["type"]]
        assert (ours["status"], ours["page"]) == (row["http"], row["page"])
        if None not in row and "{{" not in row["message"] and row["message"] != "None":
            assert ours["message"] == row["message"].replace('\\"', '"')


def test_the_default_users_accounts():
    """The table of accounts says what was seen."""
    for seen, ours in zip(table_of("sandbox_accounts.tsv"), table("accounts"), strict=True):
        for name, value in seen.items():
            assert ours[name] == ("" if value in ("null", "(absent)") else value)


def test_every_processor_is_known():
    """All that the description or plaid-python names is a processor here, and nothing else."""
    lists = json.loads((DESCRIPTION.parent / "processors.json").read_text(encoding="utf-8"))
    assert set(processors()) == {name for names in lists.values() for name in names}


ACCESS = "<access>"
PROCESSOR = "<processor>"
ACCOUNT = "<account>"
PERIOD = {"start_date": "2020-01-01", "end_date": "2099-01-01"}
GOOD: dict[str, Json] = {
    "/accounts/balance/get": {"access_token": ACCESS},
    "/accounts/get": {"access_token": ACCESS},
    "/auth/get": {"access_token": ACCESS},
    "/identity/get": {"access_token": ACCESS},
    "/institutions/get_by_id": {
        "institution_id": "ins_132361",
        "country_codes": ["US"],
        "options": {
            "include_optional_metadata": True,
            "include_status": True,
            "include_auth_metadata": True,
            "include_payment_initiation_metadata": True,
        },
    },
    "/item/access_token/invalidate": {"access_token": ACCESS},
    "/item/get": {"access_token": ACCESS},
    "/item/public_token/create": {"access_token": ACCESS},
    "/item/public_token/exchange": {"public_token": "<public>"},
    "/item/remove": {"access_token": ACCESS, "reason_code": "OTHER", "reason_note": "done"},
    "/item/webhook/update": {"access_token": ACCESS, "webhook": None},
    "/link/token/create": {
        "client_name": "Acme",
        "language": "en",
        "country_codes": ["US", "CA"],
        "user": {"client_user_id": "u"},
        "products": ["auth"],
        "hosted_link": {},
    },
    "/link/token/get": {"link_token": "<link>"},
    "/processor/account/get": {"processor_token": PROCESSOR},
    "/processor/apex/processor_token/create": {"access_token": ACCESS, "account_id": ACCOUNT},
    "/processor/auth/get": {"processor_token": PROCESSOR},
    "/processor/balance/get": {"processor_token": PROCESSOR},
    "/processor/identity/get": {"processor_token": PROCESSOR},
    "/processor/stripe/bank_account_token/create": {"access_token": ACCESS, "account_id": ACCOUNT},
    "/processor/token/create": {
        "access_token": ACCESS,
        "account_id": ACCOUNT,
        "processor": "dwolla",
    },
    "/processor/token/permissions/get": {"processor_token": PROCESSOR},
    "/processor/token/permissions/set": {"processor_token": PROCESSOR, "products": ["auth"]},
    "/processor/token/webhook/update": {"processor_token": PROCESSOR, "webhook": None},
    "/processor/transactions/get": {"processor_token": PROCESSOR, **PERIOD},
    "/processor/transactions/sync": {"processor_token": PROCESSOR},
    "/sandbox/item/fire_webhook": {"access_token": ACCESS, "webhook_code": "ERROR"},
    "/sandbox/item/reset_login": {"access_token": ACCESS},
    "/sandbox/item/set_verification_status": {
        "access_token": ACCESS,
        "account_id": ACCOUNT,
        "verification_status": "automatically_verified",
    },
    "/sandbox/processor_token/create": {"institution_id": "ins_109508"},
    "/sandbox/public_token/create": {
        "institution_id": "ins_109508",
        "initial_products": ["auth"],
    },
    "/transactions/get": {"access_token": ACCESS, **PERIOD},
    "/transactions/sync": {"access_token": ACCESS},
    "/webhook_verification_key/get": {"key_id": "<key>"},
}


def filled(api: Any, body: Json) -> Json:
    """Put this sandbox's tokens where the request names them."""
    public = api.public_token(options={"webhook": "http://127.0.0.1:9/"})
    access = api.access_token(**ALL, options={"webhook": "http://127.0.0.1:9/"})
    link = api.link_token()
    api.sandbox.complete_link(link)
    values = {
        ACCESS: access,
        ACCOUNT: api.accounts(access)[0]["account_id"],
        PROCESSOR: api.processor_token(access),
        "<public>": public,
        "<link>": link,
        "<key>": next(iter(api.sandbox._world.signer._keys)),
    }
    return {k: values.get(v, v) if isinstance(v, str) else v for k, v in body.items()}


@rows("path", sorted(DESCRIBED))
def test_good_request(api, path):
    """A good request to each endpoint succeeds, and the answer is as described."""
    answer = api.ok(path, **filled(api, GOOD[path]))
    validator(path).validate(answer)


@rows("end", ["custom", "several", "open", "error", "left"])
def test_every_end_of_link(api, end):
    """A session of Link is shown as described, however it ended."""
    token = api.link_token(enable_multi_item_link=True, user_id="usr_1")
    go_through_link(api, token, end)
    validator("/link/token/get").validate(api.ok("/link/token/get", link_token=token))


@rows("bank", ["ins_109508", "ins_43", "ins_117650", "ins_127287"])
def test_good_requests_at_other_banks(api, bank):
    """Banks of other countries, and of tokenized numbers, answer as described too."""
    access = api.access_token(**ALL, institution_id=bank)
    bodies = {"access_token": access, **PERIOD}
    for path in ("/accounts/get", "/auth/get", "/identity/get", "/item/get", "/transactions/get"):
        wanted = ENDPOINTS[path].fields
        answer = api.ok(path, **{k: v for k, v in bodies.items() if k in wanted})
        validator(path).validate(answer)
    processor = api.processor_token(access)
    for path in ("/processor/account/get", "/processor/auth/get"):
        validator(path).validate(api.ok(path, processor_token=processor))


ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 1000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(alphabet=string.printable + "é\u2028\ud800", max_size=20),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)


def values_of(schema: Json, depth: int = 0) -> st.SearchStrategy[Any]:
    """Draw what the description allows for a field, and now and then what it does not."""
    schema = resolved(schema)
    kind = schema.get("type")
    if "enum" in schema:
        fit: st.SearchStrategy[Any] = st.sampled_from(schema["enum"])
    elif kind == "object" and depth < 3:
        fit = objects_of(schema, depth + 1)
    elif kind == "array":
        fit = st.lists(values_of(schema.get("items", {}), depth + 1), max_size=3)
    elif kind == "integer":
        fit = st.integers(schema.get("minimum", 0), schema.get("maximum", 1000))
    elif kind == "boolean":
        fit = st.booleans()
    elif schema.get("format") == "date":
        fit = st.dates().map(lambda day: day.isoformat())
    elif kind == "string":
        fit = st.sampled_from(
            [
                "x",
                "",
                "ins_109508",
                "user_good",
                "pass_good",
                "https://example.com/",
                "2026-01-01T00:00:00Z",
            ]
        ) | st.text(max_size=30)
    else:
        fit = ODD_VALUES
    return st.integers(0, 9).flatmap(lambda n: fit if n < 9 else ODD_VALUES)


def objects_of(schema: Json, depth: int = 0) -> st.SearchStrategy[Json]:
    """Draw an object: required fields mostly there, the others now and then."""
    properties = {
        k: v for k, v in schema.get("properties", {}).items() if k not in ("client_id", "secret")
    }
    wanted = set(schema.get("required", ()))
    drawn = {name: values_of(inner, depth) for name, inner in properties.items()}
    return st.fixed_dictionaries(
        {name: drawn[name] for name in drawn if name in wanted},
        optional={name: drawn[name] for name in drawn if name not in wanted},
    )


@pytest.mark.full
@rows("path", sorted(DESCRIBED))
def test_any_request(api, path):
    """Whatever is sent, the answer is a described success or a described error below 500."""
    good = filled(api, GOOD[path])

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(drawn=objects_of(request_schema(path)), kept=st.sets(st.sampled_from(sorted(good))))
    def check(drawn: Json, kept: set[str]) -> None:
        # Tokens that exist get further than any that could be drawn.
        reply = api.post(path, **{**drawn, **{name: good[name] for name in kept}})
        if reply.status == 200:
            validator(path).validate(reply.json)
        else:
            assert 400 <= reply.status < 500
            error_validator().validate(reply.json)

    check()
