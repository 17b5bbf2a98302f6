"""A folder of migrations, read once and cut into statements."""
