"""A full disk: the lake stays as it was and the sentence says what to do. The file size limit plays the full disk."""

import resource
import subprocess
import sys

import pytest

from features.ingest import ingest_file
from features.lake import Lake
from features.shop import create_shop

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from features.errors import StorageFull
from features.ingest import ingest_file
from features.shop import open_shop
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    ingest_file(open_shop(Path(sys.argv[1]), "toy"), "events", Path(sys.argv[2]))
except StorageFull as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 20, 5_000])
def test_full_disk_leaves_the_lake_as_it_was(tmp_path, limit) -> None:
    shop = create_shop(tmp_path, "toy", "Asia/Shanghai")
    path, header = tmp_path / "events.csv", "customer_id,kind,at,item_id,quantity,price\n"
    path.write_text(header + "c1,purchase,2024-05-01T10:00:00,p1,1,2.5\n")
    ingest_file(shop, "events", path)
    rows = "".join(f"c{i},view,2024-05-01,p{i * i},,\nc,?,,,,\n" for i in range(2_000))
    path.write_text(header + rows)
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), str(path), str(limit)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "is full; make room" in done.stdout
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert Lake(shop.lake_dir).rows("events") == 1
    assert len(list(shop.lake_dir.glob("events/*"))) == len(["_log", ".ingest.lock", "part"])
    assert not list(shop.rejects_dir.glob("*"))
    assert ingest_file(shop, "events", path).accepted == 2_000
