"""The scenario with what openapi-python-client makes of the document."""

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


def good(answer: Response[T | Problem], status: HTTPStatus) -> T:
    """What is there unless the request failed."""
    assert answer.status_code is status, answer.content
    assert answer.parsed is not None and not isinstance(answer.parsed, Problem)
    return answer.parsed


def problem(answer: Response[T], status: HTTPStatus) -> Problem:
    assert answer.status_code is status, answer.content
    assert isinstance(answer.parsed, Problem)
    return answer.parsed


def log_in_again(client: Client) -> TokenGrant:
    """A grant that was refreshed once."""
    made_account = sign_up.sync_detailed(client=client, body=SignUp(username="python", password=PASSWORD))
    good(made_account, HTTPStatus.CREATED)
    login = LogIn(identifier="python", password=PASSWORD, device_name="A phone")
    grant = good(log_in.sync_detailed(client=client, body=login), HTTPStatus.OK)
    assert grant.user.username == "python"
    refresh = RefreshRequest(grant.refresh_token)
    refreshed = good(refresh_session.sync_detailed(client=client, body=refresh), HTTPStatus.OK)
    assert refreshed.refresh_token != grant.refresh_token
    return refreshed


def page_through(signed_in: AuthenticatedClient) -> None:
    for title in ("Lisbon", "Sintra", "Porto", "Madeira", "Faro"):
        good(create_trip.sync_detailed(client=signed_in, body=CreateTrip(title=title)), HTTPStatus.CREATED)
    pages: list[list[str]] = []
    cursor: str | Unset = UNSET
    while True:
        answer = list_trips.sync_detailed(client=signed_in, limit=2, sort=TripSort.TITLE, cursor=cursor)
        page = good(answer, HTTPStatus.OK)
        pages.append([trip.title for trip in page.items])
        cursor = page.next_cursor
        if isinstance(cursor, Unset):
            break
    assert pages == [["Faro", "Lisbon"], ["Madeira", "Porto"], ["Sintra"]], pages
    newest = list_trips.sync_detailed(client=signed_in, limit=1, sort=TripSort.CREATED_AT_DESC)
    assert [trip.title for trip in good(newest, HTTPStatus.OK).items] == ["Faro"]


def conflict(signed_in: AuthenticatedClient) -> None:
    key = str(uuid.uuid4())
    body = CreateTrip(title="Évora")
    once = create_trip.sync_detailed(client=signed_in, body=body, idempotency_key=key)
    again = create_trip.sync_detailed(client=signed_in, body=body, idempotency_key=key)
    made = good(once, HTTPStatus.CREATED)
    assert good(again, HTTPStatus.CREATED).id == made.id
    assert again.headers["Idempotency-Replayed"] == "true"

    tag = get_trip.sync_detailed(made.id, client=signed_in).headers["ETag"]
    whole = ReplaceTrip(title="Beja", notes="By train")
    replaced = replace_trip.sync_detailed(made.id, client=signed_in, body=whole, if_match=tag)
    assert good(replaced, HTTPStatus.OK).version == 2
    stale = replace_trip.sync_detailed(made.id, client=signed_in, body=whole, if_match=tag)
    assert problem(stale, HTTPStatus.PRECONDITION_FAILED).code == "precondition_failed"
    change = UpdateTrip(title="Tomar")
    old = update_trip.sync_detailed(made.id, client=signed_in, body=change, if_match=tag)
    assert problem(old, HTTPStatus.PRECONDITION_FAILED).status == 412
    cleared = update_trip.sync_detailed(made.id, client=signed_in, body=UpdateTrip(notes=None))
    trip = good(cleared, HTTPStatus.OK)
    assert (trip.title, trip.notes, trip.version) == ("Beja", UNSET, 3)

    dates = UpdateTrip(start_date=datetime.date(2027, 5, 8), end_date=datetime.date(2027, 5, 1))
    refused = update_trip.sync_detailed(made.id, client=signed_in, body=dates)
    invalid = problem(refused, HTTPStatus.UNPROCESSABLE_ENTITY)
    assert not isinstance(invalid.errors, Unset)
    assert [(fault.pointer, fault.code) for fault in invalid.errors] == [("/end_date", "before_start")]
    assert invalid.client_action == "fix_input"


def be_refused(stranger: AuthenticatedClient) -> None:
    unknown = problem(list_trips.sync_detailed(client=stranger), HTTPStatus.UNAUTHORIZED)
    assert (unknown.code, unknown.client_action) == ("invalid_token", "refresh")


def leave(client: Client, grant: TokenGrant) -> None:
    last = RefreshRequest(grant.refresh_token)
    assert log_out.sync_detailed(client=client, body=last).status_code is HTTPStatus.NO_CONTENT
    ended = problem(refresh_session.sync_detailed(client=client, body=last), HTTPStatus.UNAUTHORIZED)
    assert (ended.code, ended.client_action) == ("session_revoked", "reauthenticate")


def main(url: str) -> None:
    with Client(base_url=url) as client:
        grant = log_in_again(client)
        with AuthenticatedClient(base_url=url, token=grant.access_token) as signed_in:
            page_through(signed_in)
            conflict(signed_in)
        with AuthenticatedClient(base_url=url, token="bad") as stranger:
            be_refused(stranger)
        leave(client, grant)
    print("done")


if __name__ == "__main__":
    main(sys.argv[1])
