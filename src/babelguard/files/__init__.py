"""Reading, writing and locking files.

Every file is read by a function of this package. What is wrong with a file is raised as a `FileFault`, whatever library found
it, and `read_record` validates the content with a pydantic model.
"""

from babelguard.files.locks import LOCK, locked
from babelguard.files.log import JsonlLog
from babelguard.files.parsing import check_value, parse_json, parse_toml, unique_keys
from babelguard.files.records import LogRow, Record, read_json_file, read_record, reason
from babelguard.files.text import LINE_END, FileFault, decode, line_after, read_bytes, read_text
from babelguard.files.writing import as_json, write_json, write_text

__all__ = [
    "LINE_END",
    "LOCK",
    "FileFault",
    "JsonlLog",
    "LogRow",
    "Record",
    "as_json",
    "check_value",
    "decode",
    "line_after",
    "locked",
    "parse_json",
    "parse_toml",
    "read_bytes",
    "read_json_file",
    "read_record",
    "read_text",
    "reason",
    "unique_keys",
    "write_json",
    "write_text",
]
