"""The behaviour proof: functions are called, triggers fire."""
