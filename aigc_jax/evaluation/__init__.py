"""The numbers of a report: an evaluated model, its judges, and the sections that measure it."""
