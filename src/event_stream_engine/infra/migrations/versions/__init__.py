"""One revision each: `NNNN_name.py` names its predecessor, `NNNN_name.sql` beside it is the change."""
