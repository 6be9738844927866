"""Files in: CSV, JSONL and Parquet are read in batches, validated row by row and committed to the lake in one step."""

from features.ingest.load import IngestReport, ingest_file
from features.ingest.mapping import TableMapping, load_mapping

__all__ = ["IngestReport", "TableMapping", "ingest_file", "load_mapping"]
