from __future__ import annotations

import subprocess
import sys

_CODE = """
import sys
from orcac.job import stay_small
stay_small()
stay_small()
import pyarrow as pa
assert pa.array([1, 2]).to_numpy().tolist() == [1, 2]
assert "pandas" not in sys.modules, "Arrow loaded it"
assert pa.default_memory_pool().backend_name == "system"
assert not any("NoPandas" in repr(finder) for finder in sys.meta_path), "others may import it"
"""


def test_a_job_loads_no_pandas_and_others_may() -> None:
    subprocess.run([sys.executable, "-c", _CODE], check=True)
