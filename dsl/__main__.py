"""`python -m tdsl` is the `tdsl` command."""

from tdsl.cli import main

raise SystemExit(main())
