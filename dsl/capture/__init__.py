"""Functions captured as a whole and replayed: `tdsl.compile`.

A captured call is one recording, from its arguments to what it returns and leaves behind. A replay checks that the
conditions of the recording hold, finds its inputs, runs its program and puts the results in place; no line of the
function runs.

    state.py      what the function reaches outside its arguments
    numbers.py    Python numbers that are followed through it
    record.py     a call under watch
    replay.py     the conditions as generated code, and a call done again
    compiled.py   `compile`: when to capture, confirm, replay, or leave a function alone
"""
