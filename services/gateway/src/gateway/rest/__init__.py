"""REST, one module per resource. `router` holds them all; each names its whole path."""

from fastapi import APIRouter, Depends

from gateway.rest import dead_letters, events, messages, revocations, say, sessions, stats
from gateway.rest.answers import problems
from gateway.rest.negotiation import json_answer, json_body, single_parameters

router = APIRouter(dependencies=[Depends(single_parameters)], responses=problems())
for resource in (sessions, messages, say, stats, revocations, dead_letters):
    router.include_router(resource.router, dependencies=[Depends(json_answer), Depends(json_body)])
router.include_router(events.router)
