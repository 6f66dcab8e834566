"""Admin requests to a running daemon: those about its processes, and all others passed on."""

from collections.abc import Awaitable, Callable

from rs3gwd.base.admin import (
    AdminAnswer,
    AnyAdminRequest,
    NodeStatus,
    WorkersList,
    WorkersRestart,
)
from rs3gwd.daemon.supervisor import Supervisor

AdminHandler = Callable[[AnyAdminRequest], Awaitable[AdminAnswer]]


def with_workers(supervisor: Supervisor, handle: AdminHandler) -> AdminHandler:
    """A handler that knows the workers, in front of one that knows the store."""

    async def handle_request(request: AnyAdminRequest) -> AdminAnswer:
        match request:
            case WorkersRestart():
                if not supervisor.restart():
                    return AdminAnswer(
                        error="InvalidRequest", message="the workers are being started or restarted"
                    )
                return _view(supervisor)
            case WorkersList():
                await supervisor.collector.collect()
                return _view(supervisor)
            case NodeStatus():
                await supervisor.collector.collect()
        return await handle(request)

    return handle_request


def _view(supervisor: Supervisor) -> AdminAnswer:
    return AdminAnswer(
        workers=supervisor.views(),
        figures={
            "restarting": supervisor.is_rolling,
            "restart_failure": supervisor.restart_failure,
        },
    )
