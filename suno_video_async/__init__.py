"""Turn a catalog of finished Suno tracks into music videos, with asyncio.

Begin with `SunoVideoClient`.
"""

from typing import TYPE_CHECKING

from suno_video_async import _startup as _startup  # before all others
from suno_video_async._version import __version__ as __version__

if TYPE_CHECKING:
    from suno_video_async.api.transport import Transport
    from suno_video_async.batch.catalog import CatalogFile, CatalogRow, CatalogSource
    from suno_video_async.batch.conversion import Conversion
    from suno_video_async.batch.loading import Loaded, load
    from suno_video_async.batch.outcome import Outcome
    from suno_video_async.batch.plan import Plan
    from suno_video_async.batch.reconcile import Unknowns
    from suno_video_async.callbacks import CallbackReceiver, CallbackStatistics
    from suno_video_async.client import ClientStatistics, SunoVideoClient
    from suno_video_async.clock import Clock, SystemClock
    from suno_video_async.download.partial import Saved
    from suno_video_async.engines.keys import KeyEntry
    from suno_video_async.engines.worker import Worker, WorkerStatistics
    from suno_video_async.errors import (
        AlreadyBoughtError,
        AnotherKeyError,
        APIError,
        APITimeoutError,
        AuthenticationError,
        BoughtElsewhereError,
        BudgetExceeded,
        CallbackRejected,
        CatalogError,
        ClientClosedError,
        ConfigurationError,
        DoubtfulLedgerError,
        DownloadError,
        FeatureDisabledError,
        InsufficientCreditsError,
        InvalidRequestError,
        LedgerError,
        LedgerInUse,
        LedgerLost,
        MaintenanceError,
        MalformedResponseError,
        MissingExtraError,
        MissingKeyError,
        NotFoundError,
        RateLimitError,
        ServerError,
        ServiceUnreachable,
        SubmissionUnknown,
        SunoVideoError,
        TaskEndUnknown,
        TaskFailed,
        TransportError,
        VideoNotReady,
        WaitTimeout,
    )
    from suno_video_async.hooks import (
        Hooks,
        PauseEvent,
        PriceEvent,
        RequestEvent,
        RetryEvent,
        SpendEvent,
        Stage,
        SubmitEvent,
    )
    from suno_video_async.ledger.model import NO_LEDGER, Ledger, LedgerRow
    from suno_video_async.ledger.postgres.ledger import PostgresLedger
    from suno_video_async.ledger.sqlite import SqliteLedger
    from suno_video_async.models import (
        Estimate,
        LimitsFound,
        MusicTaskId,
        OutcomeState,
        RateLimit,
        RetryPolicy,
        SunoId,
        SunoTrack,
        TaskSnapshot,
        TaskStatus,
        TaskUpdate,
        Timeout,
        Track,
        Video,
        VideoRequest,
        VideoTaskId,
    )
    from suno_video_async.polling.forecast import Forecast
    from suno_video_async.protocol.codec import Answer, Request
    from suno_video_async.ratelimit.limiter import Limiter, LimiterStatistics, RateLimiter
    from suno_video_async.ratelimit.shared import SharedRateLimit
    from suno_video_async.task import VideoTask
else:  # hidden from type checkers, to which a name that is misspelt stays an error
    #: Where each public name is defined.
    _HOMES = {
        "AlreadyBoughtError": "errors",
        "AnotherKeyError": "errors",
        "Answer": "protocol.codec",
        "APIError": "errors",
        "APITimeoutError": "errors",
        "AuthenticationError": "errors",
        "BoughtElsewhereError": "errors",
        "BudgetExceeded": "errors",
        "CallbackReceiver": "callbacks",
        "CallbackRejected": "errors",
        "CallbackStatistics": "callbacks",
        "CatalogError": "errors",
        "CatalogFile": "batch.catalog",
        "CatalogRow": "batch.catalog",
        "CatalogSource": "batch.catalog",
        "ClientClosedError": "errors",
        "ClientStatistics": "client",
        "Clock": "clock",
        "ConfigurationError": "errors",
        "Conversion": "batch.conversion",
        "DoubtfulLedgerError": "errors",
        "DownloadError": "errors",
        "Estimate": "models",
        "FeatureDisabledError": "errors",
        "Forecast": "polling.forecast",
        "Hooks": "hooks",
        "InsufficientCreditsError": "errors",
        "InvalidRequestError": "errors",
        "KeyEntry": "engines.keys",
        "Ledger": "ledger.model",
        "LedgerError": "errors",
        "LedgerInUse": "errors",
        "LedgerLost": "errors",
        "LedgerRow": "ledger.model",
        "Limiter": "ratelimit.limiter",
        "LimiterStatistics": "ratelimit.limiter",
        "LimitsFound": "models",
        "load": "batch.loading",
        "Loaded": "batch.loading",
        "MaintenanceError": "errors",
        "MalformedResponseError": "errors",
        "MissingExtraError": "errors",
        "MissingKeyError": "errors",
        "MusicTaskId": "models",
        "NO_LEDGER": "ledger.model",
        "NotFoundError": "errors",
        "Outcome": "batch.outcome",
        "OutcomeState": "models",
        "PauseEvent": "hooks",
        "Plan": "batch.plan",
        "PostgresLedger": "ledger.postgres.ledger",
        "PriceEvent": "hooks",
        "RateLimit": "models",
        "RateLimiter": "ratelimit.limiter",
        "RateLimitError": "errors",
        "Request": "protocol.codec",
        "RequestEvent": "hooks",
        "RetryEvent": "hooks",
        "RetryPolicy": "models",
        "Saved": "download.partial",
        "ServerError": "errors",
        "ServiceUnreachable": "errors",
        "SharedRateLimit": "ratelimit.shared",
        "SpendEvent": "hooks",
        "SqliteLedger": "ledger.sqlite",
        "Stage": "hooks",
        "SubmissionUnknown": "errors",
        "SubmitEvent": "hooks",
        "SunoId": "models",
        "SunoTrack": "models",
        "SunoVideoClient": "client",
        "SunoVideoError": "errors",
        "SystemClock": "clock",
        "TaskEndUnknown": "errors",
        "TaskFailed": "errors",
        "TaskSnapshot": "models",
        "TaskStatus": "models",
        "TaskUpdate": "models",
        "Timeout": "models",
        "Track": "models",
        "Transport": "api.transport",
        "TransportError": "errors",
        "Unknowns": "batch.reconcile",
        "Video": "models",
        "VideoNotReady": "errors",
        "VideoRequest": "models",
        "VideoTask": "task",
        "VideoTaskId": "models",
        "WaitTimeout": "errors",
        "Worker": "engines.worker",
        "WorkerStatistics": "engines.worker",
    }
    #: What `import suno_video_async` gives beside the names.
    _MODULES = frozenset(home.partition(".")[0] for home in _HOMES.values())

    def __getattr__(name: str) -> object:
        """Import a public name, or the module that it is in, when it is first asked for: few programs need all."""
        if name not in _HOMES and name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415  of no use to who imports submodules

        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "NO_LEDGER",
    "APIError",
    "APITimeoutError",
    "AlreadyBoughtError",
    "AnotherKeyError",
    "Answer",
    "AuthenticationError",
    "BoughtElsewhereError",
    "BudgetExceeded",
    "CallbackReceiver",
    "CallbackRejected",
    "CallbackStatistics",
    "CatalogError",
    "CatalogFile",
    "CatalogRow",
    "CatalogSource",
    "ClientClosedError",
    "ClientStatistics",
    "Clock",
    "ConfigurationError",
    "Conversion",
    "DoubtfulLedgerError",
    "DownloadError",
    "Estimate",
    "FeatureDisabledError",
    "Forecast",
    "Hooks",
    "InsufficientCreditsError",
    "InvalidRequestError",
    "KeyEntry",
    "Ledger",
    "LedgerError",
    "LedgerInUse",
    "LedgerLost",
    "LedgerRow",
    "Limiter",
    "LimiterStatistics",
    "LimitsFound",
    "Loaded",
    "MaintenanceError",
    "MalformedResponseError",
    "MissingExtraError",
    "MissingKeyError",
    "MusicTaskId",
    "NotFoundError",
    "Outcome",
    "OutcomeState",
    "PauseEvent",
    "Plan",
    "PostgresLedger",
    "PriceEvent",
    "RateLimit",
    "RateLimitError",
    "RateLimiter",
    "Request",
    "RequestEvent",
    "RetryEvent",
    "RetryPolicy",
    "Saved",
    "ServerError",
    "ServiceUnreachable",
    "SharedRateLimit",
    "SpendEvent",
    "SqliteLedger",
    "Stage",
    "SubmissionUnknown",
    "SubmitEvent",
    "SunoId",
    "SunoTrack",
    "SunoVideoClient",
    "SunoVideoError",
    "SystemClock",
    "TaskEndUnknown",
    "TaskFailed",
    "TaskSnapshot",
    "TaskStatus",
    "TaskUpdate",
    "Timeout",
    "Track",
    "Transport",
    "TransportError",
    "Unknowns",
    "Video",
    "VideoNotReady",
    "VideoRequest",
    "VideoTask",
    "VideoTaskId",
    "WaitTimeout",
    "Worker",
    "WorkerStatistics",
    "load",
]
