"""The ledger: claims of the paper (section 4.4, introduction) against results, and the runs that feed it.

``claims`` says what the paper states, ``measures`` how it is read from artefacts, ``verdicts`` what counts as replicated,
``table`` puts the rows together and checks them, ``runs`` and ``reproduce`` make the artefacts.
"""

from hybrid_lib.replication.artefacts import Artefact, load
from hybrid_lib.replication.claim import Claim
from hybrid_lib.replication.claims import CLAIMS
from hybrid_lib.replication.render import claims_table, pending_table, readings_table, rules_table
from hybrid_lib.replication.reproduce import estimate, missing, reproduce, wanted
from hybrid_lib.replication.runs import RUNS, RunSpec
from hybrid_lib.replication.table import check, read, results_folder, rows, statements, summary, write

__all__ = [
    "CLAIMS",
    "RUNS",
    "Artefact",
    "Claim",
    "RunSpec",
    "check",
    "claims_table",
    "estimate",
    "load",
    "missing",
    "pending_table",
    "read",
    "readings_table",
    "reproduce",
    "results_folder",
    "rows",
    "rules_table",
    "statements",
    "summary",
    "wanted",
    "write",
]
