"""The values a start request may hold, as the product's form offers them."""

from __future__ import annotations

from enum import StrEnum


class AgeGroup(StrEnum):
    """`target_age_group`."""

    TEENS = "10代"
    TWENTIES = "20代"
    THIRTIES = "30代"
    FORTIES = "40代"
    FIFTIES = "50代"
    SIXTIES = "60代"
    SEVENTIES_UP = "70代以上"


class PersonaType(StrEnum):
    """`persona_type`; `その他` (other) needs `custom_persona`."""

    HOMEMAKER = "主婦"
    STUDENT = "学生"
    EMPLOYEE = "社会人"
    SELF_EMPLOYED = "自営業"
    EXECUTIVE = "経営者・役員"
    RETIRED = "退職者"
    OTHER = "その他"


class AutoStrategy(StrEnum):
    """`auto_selection_strategy`: how auto mode answers the prompts."""

    FIRST = "first"
    BEST_MATCH = "best_match"


class Transport(StrEnum):
    """Values of GENERATION_TRANSPORT: what new processes may use."""

    WEBSOCKET = "websocket"
    BOTH = "both"
    REALTIME = "realtime"
