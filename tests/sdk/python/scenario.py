"""Runs the scenario with the client that openapi-python-client generates from the document."""

import datetime
import sys
import uuid
from http import HTTPStatus
from typing import TypeVar

from tripgate_client import AuthenticatedClient, Client
from tripgate_client.api.authentication import log_in, log_out, refresh_session, sign_up
from tripgate_client.api.trips import create_trip, get_trip, list_trips, replace_trip, update_trip
from tripgate_client.models import (
    CreateTrip,
    LogIn,
    Problem,
    RefreshRequest,
    ReplaceTrip,
    SignUp,
    TokenGrant,
    TripSort,
    UpdateTrip,
)
from tripgate_client.types import UNSET, Response, Unset

T = TypeVar("T")
PASSWORD = "a red kite over Lisbon"


def success(response: Response[T | Problem], status: HTTPStatus) -> T:
    """Returns the body of a successful response."""
    assert response.status_code is status, response.content
    assert response.parsed is not None and not isinstance(response.parsed, Problem)
    return response.parsed


def problem(response: Response[T], status: HTTPStatus) -> Problem:
    assert response.status_code is status, response.content
    assert isinstance(response.parsed, Problem)
    return response.parsed


def log_in_and_refresh(client: Client) -> TokenGrant:
    """Signs up, logs in, refreshes once and returns the second grant."""
    account = sign_up.sync_detailed(client=client, body=SignUp(username="python", password=PASSWORD))
    success(account, HTTPStatus.CREATED)
    login = LogIn(identifier="python", password=PASSWORD, device_name="A phone")
    grant = success(log_in.sync_detailed(client=client, body=login), HTTPStatus.OK)
    assert grant.user.username == "python"
    refresh = RefreshRequest(grant.refresh_token)
    refreshed = success(refresh_session.sync_detailed(client=client, body=refresh), HTTPStatus.OK)
    assert refreshed.refresh_token != grant.refresh_token
    return refreshed


def page_through(signed_in: AuthenticatedClient) -> None:
    for title in ("Lisbon", "Sintra", "Porto", "Madeira", "Faro"):
        success(create_trip.sync_detailed(client=signed_in, body=CreateTrip(title=title)), HTTPStatus.CREATED)
    pages: list[list[str]] = []
    cursor: str | Unset = UNSET
    while True:
        response = list_trips.sync_detailed(client=signed_in, limit=2, sort=TripSort.TITLE, cursor=cursor)
        page = success(response, HTTPStatus.OK)
        pages.append([trip.title for trip in page.items])
        cursor = page.next_cursor
        if isinstance(cursor, Unset):
            break
    assert pages == [["Faro", "Lisbon"], ["Madeira", "Porto"], ["Sintra"]], pages
    newest = list_trips.sync_detailed(client=signed_in, limit=1, sort=TripSort.CREATED_AT_DESC)
    assert [trip.title for trip in success(newest, HTTPStatus.OK).items] == ["Faro"]


def conflict(signed_in: AuthenticatedClient) -> None:
    key = str(uuid.uuid4())
    body = CreateTrip(title="Évora")
    once = create_trip.sync_detailed(client=signed_in, body=body, idempotency_key=key)
    again = create_trip.sync_detailed(client=signed_in, body=body, idempotency_key=key)
    created = success(once, HTTPStatus.CREATED)
    assert success(again, HTTPStatus.CREATED).id == created.id
    assert again.headers["Idempotency-Replayed"] == "true"

    tag = get_trip.sync_detailed(created.id, client=signed_in).headers["ETag"]
    replacement = ReplaceTrip(title="Beja", notes="By train")
    replaced = replace_trip.sync_detailed(created.id, client=signed_in, body=replacement, if_match=tag)
    assert success(replaced, HTTPStatus.OK).version == 2
    stale = replace_trip.sync_detailed(created.id, client=signed_in, body=replacement, if_match=tag)
    assert problem(stale, HTTPStatus.PRECONDITION_FAILED).code == "precondition_failed"
    change = UpdateTrip(title="Tomar")
    old = update_trip.sync_detailed(created.id, client=signed_in, body=change, if_match=tag)
    assert problem(old, HTTPStatus.PRECONDITION_FAILED).status == 412
    cleared = update_trip.sync_detailed(created.id, client=signed_in, body=UpdateTrip(notes=None))
    trip = success(cleared, HTTPStatus.OK)
    assert (trip.title, trip.notes, trip.version) == ("Beja", UNSET, 3)

    dates = UpdateTrip(start_date=datetime.date(2027, 5, 8), end_date=datetime.date(2027, 5, 1))
    rejected = update_trip.sync_detailed(created.id, client=signed_in, body=dates)
    invalid = problem(rejected, HTTPStatus.UNPROCESSABLE_ENTITY)
    assert not isinstance(invalid.errors, Unset)
    assert [(error.pointer, error.code) for error in invalid.errors] == [("/end_date", "before_start")]
    assert invalid.client_action == "fix_input"


def use_invalid_token(invalid: AuthenticatedClient) -> None:
    unknown = problem(list_trips.sync_detailed(client=invalid), HTTPStatus.UNAUTHORIZED)
    assert (unknown.code, unknown.client_action) == ("invalid_token", "refresh")


def end_session(client: Client, grant: TokenGrant) -> None:
    last = RefreshRequest(grant.refresh_token)
    assert log_out.sync_detailed(client=client, body=last).status_code is HTTPStatus.NO_CONTENT
    ended = problem(refresh_session.sync_detailed(client=client, body=last), HTTPStatus.UNAUTHORIZED)
    assert (ended.code, ended.client_action) == ("session_revoked", "reauthenticate")


def main(url: str) -> None:
    with Client(base_url=url) as client:
        grant = log_in_and_refresh(client)
        with AuthenticatedClient(base_url=url, token=grant.access_token) as signed_in:
            page_through(signed_in)
            conflict(signed_in)
        with AuthenticatedClient(base_url=url, token="bad") as invalid:
            use_invalid_token(invalid)
        end_session(client, grant)
    print("done")


if __name__ == "__main__":
    main(sys.argv[1])
