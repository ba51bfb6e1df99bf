"""All kinds of recommendations, and one run of them.

Each kind is examined in a snapshot of its own, so that one that takes too long or fails keeps no other from its advice.
"""

import logging
import time
from dataclasses import dataclass

import psycopg

from event_stream_engine.infra.database import Connection, snapshot
from event_stream_engine.insights.look import Kind, Look
from event_stream_engine.insights.recommendation import Advice, Examination, choose

KINDS: tuple[Kind, ...] = ()
_logger = logging.getLogger(__name__)
