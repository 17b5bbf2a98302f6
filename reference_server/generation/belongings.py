"""What a start request may name: organizations of the user, and style templates that the user may use."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from reference_server.generation.errors import OrganizationNotFound, StyleTemplateNotFound
from reference_server.store import processes, reads
from reference_server.store.pool import Connection


async def check_organization(db: Connection | asyncpg.Pool, user_id: str, organization_id: UUID) -> None:
    """Raises OrganizationNotFound unless the user is a member."""
    if not await reads.is_member(db, organization_id, user_id):
        raise OrganizationNotFound(organization_id)


async def check_template(db: Connection | asyncpg.Pool, user_id: str, template_id: UUID) -> None:
    """Raises StyleTemplateNotFound unless the template is the user's own or of an organization of theirs."""
    if not await processes.may_use_template(db, template_id, user_id):
        raise StyleTemplateNotFound(template_id)
