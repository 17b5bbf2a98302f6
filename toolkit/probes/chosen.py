"""The probes of our migration, and to which version of a folder they belong."""

from __future__ import annotations

from toolkit.migrate.folder.files import Folder
from toolkit.migrate.repair.reading import created
from toolkit.probes.probe import GenerationProbe
from toolkit.probes.races import decisions_beside_others
from toolkit.probes.roles import read_as_each_role, server_role_works, write_as_each_client
from toolkit.probes.waking import waiting_workers_are_told
from toolkit.probes.writers import TASKS, WORKERS, WRITERS, concurrent_claims, concurrent_sequences

PROBES: tuple[GenerationProbe, ...] = (
    GenerationProbe(
        "RT-50",
        f"{WRITERS} concurrent writers: no gap, no duplicate, sequence order is commit order, nobody fails",
        "The counter row must be locked by the UPDATE that allocates: compare append_process_event with the file.",
        concurrent_sequences,
    ),
    GenerationProbe(
        "RT-51",
        f"{WORKERS} concurrent workers claim {TASKS} distinct tasks",
        "The claim must lock with FOR UPDATE SKIP LOCKED: compare claim_background_task with the file.",
        concurrent_claims,
    ),
    GenerationProbe(
        "RT-52",
        "Who may see a process sees its events and tasks, nobody else, whatever the claims",
        "Compare the policies and grants with the file; claims may be unset, empty, or carry a text sub.",
        read_as_each_role,
    ),
    GenerationProbe(
        "RT-53",
        "No client writes events or tasks, by table or by function",
        "Revoke the privilege from anon, authenticated and public.",
        write_as_each_client,
    ),
    GenerationProbe(
        "RT-54",
        "The server's role updates, and the triggers and functions record it",
        "Grant execute to service_role; the trigger's function must be security definer.",
        server_role_works,
    ),
    GenerationProbe(
        "RT-55",
        "Workers that wait are told of a task that becomes ready",
        "Restore trigger_notify_background_task: without it a worker starts up to a polling interval late.",
        waiting_workers_are_told,
    ),
    GenerationProbe(
        "RT-56",
        "Beside a session that has not committed, decisions wait for it, and heartbeats and rescues pass over it",
        "Restore FOR NO KEY UPDATE, FOR SHARE and SKIP LOCKED as the migration file has them.",
        decisions_beside_others,
    ),
)


# Everything that the statements of the probes touch.
_TOUCHED = frozenset(
    {
        "generated_articles_state",
        "organizations",
        "organization_members",
        "process_events",
        "background_tasks",
        "create_process_event",
        "enqueue_background_task",
        "claim_background_task",
        "task_dependencies",
        "complete_background_task",
        "fail_background_task",
        "heartbeat_background_tasks",
        "rescue_background_tasks",
        "checkpoint_task_step",
        "mark_process_waiting_for_input",
        "resolve_user_input",
    }
)


def probes_of(folder: Folder) -> dict[str, tuple[GenerationProbe, ...]]:
    """The probes by the version that they belong to: the one with which all that they touch is there.

    A folder is known by what its files create, not by their numbers: the migration under another version, or cut into
    several, is probed, and another migration of the same version is left alone.
    """
    there: set[str] = set()
    for migration in folder.migrations:
        names = (made.name for made in created(migration.up.statements)[0])
        there |= {name.removeprefix("public.") for name in names}
        if there >= _TOUCHED:
            return {migration.version: PROBES}
    return {}
