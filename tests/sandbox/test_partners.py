"""The stand-ins for Finix and for Layer, by plain HTTP, as any client would ask them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from plaid_processors import ProcessorLinker, ProcessorToken
from plaid_processors.sandbox import LocalFinix, LocalLayer, LocalSandbox
from plaid_processors.sandbox.partners_layer import Dead

from ..support.rows import rows


@pytest.fixture(scope="module")
def plaid() -> Iterator[LocalSandbox]:
    with LocalSandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def tokens(plaid: LocalSandbox) -> dict[str, ProcessorToken]:
    """One token for each partner."""
    with ProcessorLinker(plaid.client()) as linker:
        result = linker.link_sandbox(["layer", "finix"])
    return {each.processor: each for each in reversed(result.processor_tokens)}


@pytest.fixture
def finix(plaid: LocalSandbox) -> Iterator[tuple[LocalFinix, httpx.Client]]:
    """The stand-in, and a client with its keys."""
    with (
        LocalFinix(plaid) as partner,
        httpx.Client(base_url=partner.url, auth=(partner.username, partner.password)) as client,
    ):
        yield partner, client


@pytest.fixture
def layer(plaid: LocalSandbox) -> Iterator[tuple[LocalLayer, httpx.Client]]:
    """The stand-in, and a client with its bearer token."""
    with LocalLayer(plaid) as partner, httpx.Client(base_url=partner.url) as client:
        bearer = client.post(
            "/oauth2/token",
            data={"grant_type": "client_credentials"},
            auth=(partner.client_id, partner.client_secret),
        ).json()
        client.headers["Authorization"] = f"Bearer {bearer['access_token']}"
        yield partner, client


def test_finix_over_http(
    finix: tuple[LocalFinix, httpx.Client], tokens: dict[str, ProcessorToken]
) -> None:
    """Identity, instrument, the one, the list: each in Finix's form."""
    _, client = finix
    identity = client.post("/identities", json={"entity": {"first_name": "A"}}).json()
    body = {
        "identity": identity["id"],
        "type": "BANK_ACCOUNT",
        "third_party": "PLAID",
        "third_party_token": tokens["finix"].processor_token,
    }
    made = client.post("/payment_instruments", json=body)
    assert made.status_code == 201
    assert client.get(f"/payment_instruments/{made.json()['id']}").json() == made.json()
    listed = client.get("/payment_instruments").json()
    assert listed["_embedded"]["payment_instruments"] == [made.json()]
    assert listed["page"]["next_cursor"] is None
    path = f"/payment_instruments/{made.json()['id']}"
    assert client.put(path, json={"enabled": False}).json() == {**made.json(), "enabled": False}
    assert client.get(path).json()["enabled"] is False
    assert client.put(path, json={"enabled": "no"}).status_code == 422
    assert client.put("/payment_instruments/PInobody", json={}).status_code == 404


@rows(
    ("change", "status", "code"),
    [
        ({"type": "PAYMENT_CARD"}, 400, "BAD_REQUEST"),
        ({"third_party": "OTHER"}, 400, "BAD_REQUEST"),
        ({"identity": "IDnobody"}, 422, "INVALID_FIELD"),
        ({"third_party_token": None}, 422, "INVALID_FIELD"),
        ({"third_party_token": "processor-sandbox-1"}, 422, "UNPROCESSABLE_ENTITY"),
    ],
)
def test_what_finix_refuses(
    change: dict[str, object], status: int, code: str, finix: tuple[LocalFinix, httpx.Client]
) -> None:
    """Each refusal comes in Finix's form of errors, and makes nothing."""
    partner, client = finix
    body = {"identity": partner.new_identity(), "type": "BANK_ACCOUNT", "third_party": "PLAID"}
    answer = client.post("/payment_instruments", json={**body, **change})
    assert answer.status_code == status
    assert answer.json()["_embedded"]["errors"][0]["code"] == code
    assert partner.instruments == ()


def test_finix_has_nothing_else(finix: tuple[LocalFinix, httpx.Client]) -> None:
    """Another path, and other keys, are refused."""
    partner, client = finix
    assert client.get("/transfers").status_code == 404
    assert client.get("/payment_instruments/PInobody").status_code == 404
    assert client.get("/payment_instruments", auth=("a", "b")).status_code == 401
    headers = {"Authorization": "Basic !"}
    assert httpx.get(f"{partner.url}/payment_instruments", headers=headers).status_code == 401


def test_layer_over_http(
    layer: tuple[LocalLayer, httpx.Client], tokens: dict[str, ProcessorToken]
) -> None:
    """Who one is, a business made with tokens, and its accounts: each in Layer's form."""
    partner, client = layer
    assert client.get("/whoami").json()["data"]["clientId"] == partner.client_id
    token = tokens["layer"].processor_token
    made = client.post(
        "/v1/businesses", json={"plaid_processor_tokens": [{"processor_token": token}]}
    ).json()["data"]["id"]
    (account,) = client.get(f"/v1/businesses/{made}/plaid/accounts").json()["data"]
    assert account["plaid_account_id"] == tokens["layer"].account.account_id
    assert (account["plaid_processor_token"], account["status"]) == (token, "ACTIVE")
    assert client.put(f"/v1/businesses/{made}", json={"legal_name": "Acme"}).status_code == 200
    assert len(partner.books(made)) == 1
    path = f"/v1/businesses/{made}/external-accounts/{account['id']}/archive"
    archived = client.post(path)
    assert (archived.status_code, archived.json()["id"]) == (200, account["id"])
    assert partner.books(made)[0].archived
    assert client.post(path.replace(account["id"], "nobody")).status_code == 404


@rows(
    ("dead", "status", "books"),
    [("refuse", 400, 0), ("hide", 400, 0), ("ignore", 200, 1)],
)
def test_what_layer_does_with_a_dead_token(
    dead: Dead,
    status: int,
    books: int,
    layer: tuple[LocalLayer, httpx.Client],
    tokens: dict[str, ProcessorToken],
) -> None:
    """It is not known: refused whole, with the token or without it, or left out."""
    partner, client = layer
    partner.dead = dead
    business = partner.new_business()
    sent = [tokens["layer"].processor_token, "processor-sandbox-dead"]
    body = {"plaid_processor_tokens": [{"processor_token": each} for each in sent]}
    answer = client.put(f"/v1/businesses/{business}", json=body)
    assert answer.status_code == status
    assert ("processor-sandbox-dead" in answer.text) == (dead == "refuse")
    assert len(partner.books(business)) == books


@rows("tokens_sent", [5, [5], [{}], [{"processor_token": "x"}]])
def test_what_layer_refuses(tokens_sent: object, layer: tuple[LocalLayer, httpx.Client]) -> None:
    """What are no tokens is refused in Layer's form of errors, and changes nothing."""
    partner, client = layer
    business = partner.new_business()
    answer = client.put(f"/v1/businesses/{business}", json={"plaid_processor_tokens": tokens_sent})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["error_enum"] == "SpecifiedBadRequest"
    assert partner.books(business) == ()


def test_layer_has_nothing_else(layer: tuple[LocalLayer, httpx.Client]) -> None:
    """Another path or grant is refused, and so is a bearer token that is none."""
    partner, client = layer
    assert client.get("/v1/businesses/nobody/plaid/accounts").status_code == 404
    keys = (partner.client_id, partner.client_secret)
    assert client.post("/oauth2/token", auth=keys).status_code == 400
    assert httpx.get(f"{partner.url}/whoami").status_code == 401


def test_a_reset_plaid_gives_the_partner_new_keys(tokens: dict[str, ProcessorToken]) -> None:
    """The stand-ins go on after the local Plaid began anew."""
    with LocalSandbox() as plaid, LocalFinix(plaid) as partner:
        for _ in range(2):
            with ProcessorLinker(plaid.client()) as linker:
                token = linker.link_sandbox("finix").token("finix")
            body = {
                "identity": partner.new_identity(),
                "type": "BANK_ACCOUNT",
                "third_party": "PLAID",
                "third_party_token": token.processor_token,
            }
            keys = (partner.username, partner.password)
            made = httpx.post(f"{partner.url}/payment_instruments", json=body, auth=keys)
            assert made.status_code == 201
            plaid.reset(seed=2)


def test_the_control_of_a_stand_in(finix: tuple[LocalFinix, httpx.Client]) -> None:
    """Faults can be laid and taken back, and the log emptied."""
    partner, client = finix
    partner.fail("GET /payment_instruments", status=503, times=None)
    assert client.get("/payment_instruments").status_code == 503
    partner.clear_faults()
    assert client.get("/payment_instruments").status_code == 200
    assert [each.status for each in partner.requests] == [503, 200]
    partner.clear_requests()
    assert partner.requests == ()
    with pytest.raises(ValueError, match="times"):
        partner.fail(times=0)
