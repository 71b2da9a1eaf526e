"""Stands for your program: writes a result, and with which Python it was made."""

import json
import platform
import sys

with open("result.json", "w") as file:
    json.dump({"python": platform.python_version(), "prefix": sys.prefix, "energy": -1.5}, file)
