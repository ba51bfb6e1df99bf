"""Pure types and arithmetic: clock, errors, phone numbers, statistics, windows, figures as text. Imports nothing of ours."""
