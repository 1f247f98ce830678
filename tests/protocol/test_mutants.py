"""What a slip in the codec would cost: each test here holds against a change that no other test notices."""

from __future__ import annotations

import json

import pytest

from suno_video_async import MalformedResponseError, Track, VideoRequest
from suno_video_async.protocol import codec
from suno_video_async.protocol.codec import Answer, Operation
from suno_video_async.protocol.verdicts import Verdict, verdict

CREATE = codec.create_task(VideoRequest(track=Track(task_id="m1", suno_id="s1")))
BALANCE = codec.balance()


def answer(status: int, code: int, data: object) -> Answer:
    """Return an answer with a message, whatever its data are."""
    return Answer(status, {}, json.dumps({"code": code, "message": "m", "data": data}).encode())


@pytest.mark.parametrize("code", [422, 429, 455, 500])
@pytest.mark.parametrize("data", [[], [1], "busy", 7, False])
def test_a_refusal_with_foreign_data_is_no_refusal(code: int, data: object) -> None:
    """A CreateTask is not sent again on the word of a body that is no envelope of this API."""
    with pytest.raises(MalformedResponseError) as caught:
        codec.read_created(answer(200, code, data), CREATE)
    assert verdict(Operation.CREATE_TASK, caught.value) is Verdict.UNKNOWN


@pytest.mark.parametrize("status", [199, 300])
@pytest.mark.parametrize("code", [200, 429])
def test_only_2xx_speaks_for_the_api(status: int, code: int) -> None:
    """A status right beside 2xx neither accepts nor refuses a submission: its outcome is unknown."""
    with pytest.raises(MalformedResponseError) as caught:
        codec.read_created(answer(status, code, {"task_id": "v1"}), CREATE)
    assert (caught.value.http_status, caught.value.task_id) == (status, "v1")
    assert verdict(Operation.CREATE_TASK, caught.value) is Verdict.UNKNOWN


@pytest.mark.parametrize("status", [200, 299])
def test_all_of_2xx_accepts(status: int) -> None:
    """What was bought is not called unknown for an unusual success status."""
    assert codec.read_created(answer(status, 200, {"task_id": "v1"}), CREATE) == "v1"


@pytest.mark.parametrize("data", [None, {}, {"task_id": ""}, {"task_id": True}])
def test_a_broken_answer_without_an_id_has_no_candidate(data: object) -> None:
    """No id is None: any other stand-in would be one task that two rows share, which the ledger refuses."""
    with pytest.raises(MalformedResponseError) as caught:
        codec.read_created(answer(502, 200, data), CREATE)
    assert caught.value.task_id is None


def test_only_a_submission_leaves_a_candidate() -> None:
    """An id in the broken answer to another question is not taken for a task that was bought."""
    with pytest.raises(MalformedResponseError) as caught:
        codec.read_balance(answer(502, 200, {"task_id": "v1"}), BALANCE)
    assert caught.value.task_id is None


def test_an_accepted_submission_without_an_id_names_its_status() -> None:
    """The status of a broken success is kept, to tell the API's answers from a gateway's."""
    with pytest.raises(MalformedResponseError) as caught:
        codec.read_created(answer(201, 200, {}), CREATE)
    assert caught.value.http_status == 201
