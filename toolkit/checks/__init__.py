"""The doctor's checks: pure functions over gathered facts. `ALL` holds every check, in the order they are shown.

`facts` — what can be known about a target. `named_check` — what a check is.
`system`, `catalog`, `work`, `service` — the checks.
"""

from __future__ import annotations

from toolkit.checks import catalog, service, system, work
from toolkit.checks.facts import Facts
from toolkit.checks.named_check import NamedCheck

ALL: tuple[NamedCheck[Facts], ...] = (
    system.settings_complete,
    system.anon_key,
    system.service_key,
    system.database_answers,
    system.wal_is_logical,
    system.replication_has_room,
    system.no_abandoned_slot,
    system.session_is_stable,
    system.role_sees_rows,
    system.connections_left,
    system.database_clock,
    system.api_clock,
    catalog.migrations_applied,
    catalog.migrations_unedited,
    catalog.tables_exist,
    catalog.publication_exists,
    catalog.tables_published,
    catalog.replica_identity,
    catalog.row_security_on,
    catalog.read_policies,
    catalog.readers_granted,
    catalog.clients_cannot_write,
    catalog.triggers_enabled,
    catalog.functions_there,
    catalog.functions_closed,
    work.sequences_gap_free,
    work.counters_ahead,
    work.log_agrees,
    work.working_processes_speak,
    work.leases_held,
    work.tasks_taken,
    work.none_failed,
    work.retries_left,
    work.no_task_of_ended,
    work.dependencies_settled,
    work.workers_there,
    work.no_orphans,
    work.prompts_there,
    work.flags_agree,
    work.prompts_expired,
    work.steps_known,
    work.articles_saved,
    work.errors_explained,
    work.context_readable,
    service.api_alive,
    service.api_ready,
    service.token_accepted,
    service.wrong_token_refused,
    service.transport_allows,
    service.queue_answers,
    service.realtime_healthy,
    service.handshake,
    service.wrong_key_refused,
    service.subscription_live,
    service.event_delivered,
    service.event_order,
    service.anon_hears_nothing,
    service.stranger_hears_nothing,
)
