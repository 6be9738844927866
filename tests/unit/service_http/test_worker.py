import asyncio

from service.worker import _end


def test_a_task_that_takes_its_first_cancellation_for_a_time_out_is_ended_all_the_same():
    async def stubborn():
        missed = 0
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if missed:
                    raise
                missed += 1

    async def shut_down():
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        await asyncio.wait_for(_end(task), timeout=10)
        return task.cancelled()

    assert asyncio.run(shut_down())
