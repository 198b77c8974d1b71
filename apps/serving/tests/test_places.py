"""Places among the concurrent requests: who fills the server is refused, and not who comes next."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from conftest import Served

from serving.server.errors import ApiError
from serving.server.places import Places


def fill(places: Places, tenant: str, stack: ExitStack) -> int:
    """Takes all that the tenant is given."""
    for count in range(10_000):
        try:
            stack.enter_context(places.one(tenant))
        except ApiError as refused:
            assert (refused.status, refused.kind, refused.retry_after) == (429, "overloaded", 1)
            return count
    raise AssertionError("it was never refused")


def test_tenants_that_take_all_they_can_leave_places_for_the_next() -> None:
    places = Places(1024, shared=True)
    with ExitStack() as stack:
        assert [fill(places, f"loud-{number}", stack) for number in range(2)] == [820, 164]
        with places.one("quiet"):
            pass
    with ExitStack() as stack:
        assert fill(places, "loud-0", stack) == 820


@pytest.mark.parametrize(("most", "shared"), [(1, True), (2, True), (1, False), (24, False)])
def test_few_places_and_those_of_a_single_tenant_can_all_be_taken(most: int, shared: bool) -> None:
    assert fill(Places(most, shared), "only", ExitStack()) == most


def test_a_flood_of_one_tenant_does_not_lock_out_another(served: Served) -> None:
    with ThreadPoolExecutor(60) as pool:
        flood = [pool.submit(served.generate, f"n{i}", max_new_tokens=200, ignore_eos_token=True) for i in range(60)]
        while not any(one.done() for one in flood):  # the first of them is refused
            pass
        quiet = served.generate("me", token="pb_b", max_new_tokens=2)
        assert not all(one.done() for one in flood)
        loud = [one.result().status_code for one in flood]
    assert quiet.status_code == 200, quiet.text
    assert set(loud) == {200, 429}
