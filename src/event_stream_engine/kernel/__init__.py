"""Pure types and arithmetic: clock, errors, phone numbers, statistics, windows. Imports nothing of ours."""
