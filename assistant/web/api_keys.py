"""The API's part for keys: what each is good for, and others that may do no more than the one that asks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import url_for

from assistant import models, payloads
from assistant.desk import api_keys, idempotency
from assistant.desk.access import MachinePrincipal, Scope
from assistant.desk.api_keys import Limits
from assistant.desk.idempotency import Once
from assistant.web import auditing, schemas_admin
from assistant.web.api import blueprint
from assistant.web.context import desk
from assistant.web.operations import Operation


@blueprint.get("/keys")
@blueprint.output(schemas_admin.APIKeys)
@Operation("Keys", Scope.KEYS)
def list_keys(machine: MachinePrincipal) -> schemas_admin.APIKeys:
    """List the keys that yours may manage: itself, and those that may do no more. Revoked ones come last."""
    with desk().db.read() as session:
        found = api_keys.keys_for(session, machine)
        return schemas_admin.APIKeys(keys=tuple(_shown(session, key) for key in found))


@blueprint.post("/keys")
@blueprint.output(schemas_admin.NewlyMadeKey, status_code=201)
@Operation("Keys", Scope.KEYS, body=schemas_admin.NewKey, makes=True)
def add_key(machine: MachinePrincipal, body: schemas_admin.NewKey, once: Once | None) -> Any:
    """Make a key. Its secret is not shown again.

    It can do no more than yours, ends no later, and makes no other keys; limits that are left out are yours.
    """
    scopes = [scope.value for scope in body.scopes]
    with desk().db.begin() as session:
        key, secret = api_keys.add_for(session, machine, name=body.name, scopes=scopes, limits=_limits(body))
        if once is not None:
            idempotency.note(session, once, made=key.public_id)
        auditing.record(session, machine, body, made=key.public_id)
        answer = schemas_admin.NewlyMadeKey(**dict(_shown(session, key)), secret=secret)
    return answer, 201, {"Location": url_for(".get_managed_key", key_id=answer.id)}


@blueprint.get("/keys/<public_id:key_id>")
@blueprint.output(payloads.APIKey)
@Operation("Keys", Scope.KEYS)
def get_managed_key(machine: MachinePrincipal, key_id: str) -> payloads.APIKey:
    """Get a key."""
    with desk().db.read() as session:
        return _shown(session, api_keys.find_for(session, machine, key_id))


@blueprint.patch("/keys/<public_id:key_id>")
@blueprint.output(payloads.APIKey)
@Operation("Keys", Scope.KEYS, body=schemas_admin.KeyUpdate)
def update_key(machine: MachinePrincipal, body: schemas_admin.KeyUpdate, key_id: str) -> payloads.APIKey:
    """Change a key's name or limits. It can do no more than yours; yours can only be limited further."""
    with desk().db.begin() as session:
        key = api_keys.change_for(session, machine, key_id, name=body.name, limits=_limits(body))
        auditing.record(session, machine, body)
        return _shown(session, key)


@blueprint.post("/keys/<public_id:key_id>/rotate")
@blueprint.output(schemas_admin.NewlyMadeKey)
@Operation("Keys", Scope.KEYS, body=schemas_admin.KeyRotation, makes=True)
def rotate_key(
    machine: MachinePrincipal, body: schemas_admin.KeyRotation, once: Once | None, key_id: str
) -> schemas_admin.NewlyMadeKey:
    """Replace a key's secret. The one before stays valid for some hours, and any before that not any more.

    If you replace your own, leave it some: an answer that is lost can be asked for again with the one before.
    """
    with desk().db.begin() as session:
        key = api_keys.find_for(session, machine, key_id)
        secret = api_keys.rotate(session, key_id, grace=timedelta(hours=body.grace_hours))
        if once is not None:
            idempotency.note(session, once, made=key_id)
        auditing.record(session, machine, body)
        return schemas_admin.NewlyMadeKey(**dict(_shown(session, key)), secret=secret)


@blueprint.post("/keys/<public_id:key_id>/revoke")
@blueprint.output(payloads.APIKey)
@Operation("Keys", Scope.KEYS)
def revoke_key(machine: MachinePrincipal, key_id: str) -> payloads.APIKey:
    """Refuse a key from now on, for good.

    What other keys it has made is in the audit log.
    """
    with desk().db.begin() as session:
        api_keys.find_for(session, machine, key_id)
        key = api_keys.revoke(session, key_id)
        auditing.record(session, machine)
        return _shown(session, key)


def _limits(body: schemas_admin.NewKey | schemas_admin.KeyUpdate) -> Limits:
    """Those that are given."""
    limits: Limits = {}
    if "expires_on" in body.model_fields_set:
        limits["expires_on"] = body.expires_on
    if body.inboxes is not None:
        limits["inboxes"] = body.inboxes
    if body.networks is not None:
        limits["networks"] = body.networks
    return limits


def _shown(session: Any, key: models.APIKey) -> payloads.APIKey:
    return payloads.APIKey.of(key, inboxes=api_keys.inbox_keys(session, key), state=api_keys.state_of(key))
