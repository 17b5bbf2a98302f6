"""Every SQL statement that the toolkit sends, by the room that asks."""
